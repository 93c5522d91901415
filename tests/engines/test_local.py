"""Worker processes: every id answered once; a worker that dies, hangs or takes too much memory costs one id."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from espalier.engines.local import AGAIN_AT, Finished, run
from espalier.errors import ResourceError

ECHO = "import sys, json\nfor line in sys.stdin: print(json.dumps({'id': line.strip()}), flush=True)"


def worker(on_id: str) -> list[str]:
    """Return a worker that runs `on_id` before it answers; there `id_` is the id and `folder` its first argument."""
    lines = [
        "import sys, json, os, signal, time, pathlib, subprocess",
        "folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else '.')",
        "for line in sys.stdin:",
        "    id_ = line.strip()",
        *(f"    {one}" for one in on_id.splitlines()),
        "    print(json.dumps({'id': id_}), flush=True)",
    ]
    return [sys.executable, "-c", "\n".join(lines)]


def by_id(finished: Iterator[Finished]) -> dict[str, Finished]:
    listed = list(finished)
    assert len({one.id for one in listed}) == len(listed)
    return {one.id: one for one in listed}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (OSError, IndexError):
        return False


def test_every_id_is_answered_once() -> None:
    ids = [f"scan-{n}" for n in range(20)]
    finished = list(run([sys.executable, "-c", ECHO], ids, workers=3))
    assert sorted(one.id for one in finished) == sorted(ids)
    assert all(one.answer == {"id": one.id} for one in finished)


def test_a_worker_that_dies_twice_on_one_id_costs_that_id_alone() -> None:
    command = worker("if id_ == 'b': os.kill(os.getpid(), signal.SIGKILL)")
    finished = by_id(run(command, list("abcdef"), workers=2))
    assert finished["b"] == Finished("b", None, "killed by SIGKILL", "worker_died")
    assert all(finished[id_].answer for id_ in "acdef")


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    command = worker("flag = folder / 'flag'\nif not flag.exists(): flag.touch(); os.kill(os.getpid(), signal.SIGKILL)")
    finished = by_id(run([*command, str(tmp_path)], list("abc"), workers=1))
    assert set(finished) == set("abc")
    assert all(one.answer for one in finished.values())


def test_where_every_seventh_id_kills_its_worker_the_others_are_answered() -> None:
    ids = [str(n) for n in range(30)]
    finished = by_id(run(worker("if int(id_) % 7 == 0: os.kill(os.getpid(), signal.SIGKILL)"), ids, workers=3))
    assert set(finished) == set(ids)
    assert {id_ for id_, one in finished.items() if one.answer is None} == {"0", "7", "14", "21", "28"}


def test_the_second_try_runs_with_no_other_worker_beside_it(tmp_path: Path) -> None:
    on_id = (
        "at_work, flag = folder / f'at-work-{id_}', folder / f'tried-{id_}'\n"
        "if flag.exists(): (folder / f'beside-{id_}').write_text(json.dumps([p.name for p in folder.glob('at-work-*')]))\n"
        "if id_.startswith('dies') and not flag.exists(): flag.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "at_work.touch(); time.sleep(0.02); at_work.unlink()"
    )
    dying = [f"dies-{n}" for n in range(AGAIN_AT + 1)]
    ids = [id_ for n, one in enumerate(dying) for id_ in (one, f"a-{n}", f"b-{n}")]
    finished = by_id(run([*worker(on_id), str(tmp_path)], ids, workers=2))
    assert all(one.answer for one in finished.values())
    assert [json.loads((tmp_path / f"beside-{id_}").read_text()) for id_ in dying] == [[]] * len(dying)


def test_deaths_are_told_before_all_other_ids_are_tried(tmp_path: Path) -> None:
    ids = [str(n) for n in range(3 * AGAIN_AT)]
    finished = run([*worker("(folder / id_).touch(); os._exit(3)"), str(tmp_path)], ids, workers=1)
    first = next(finished)
    finished.close()
    assert first == Finished("0", None, "ended with exit code 3", "worker_died")
    assert len(list(tmp_path.iterdir())) == AGAIN_AT


def test_a_worker_that_hangs_costs_one_id_and_its_children_die_with_it(tmp_path: Path) -> None:
    hang = "if id_ == 'b': (folder / str(subprocess.Popen(['sleep', '600']).pid)).touch(); time.sleep(600)"
    finished = by_id(run([*worker(hang), str(tmp_path)], list("abc"), workers=2, timeout_s=1))
    assert finished["b"] == Finished("b", None, "killed after 1 s", "timed_out")
    assert all(finished[id_].answer for id_ in "ac")
    children = [int(path.name) for path in tmp_path.iterdir()]
    assert len(children) == 2
    assert not any(is_alive(pid) for pid in children)


def test_a_worker_above_its_memory_is_killed_with_what_it_started_counted() -> None:
    hog = "x = b'x' * 300_000_000; __import__('time').sleep(600)"
    in_child = f"if id_ == 'child': subprocess.run([sys.executable, '-c', {hog!r}])"
    finished = by_id(run(worker(f"if id_ == 'own': {hog}\n{in_child}"), ["own", "a", "child"], workers=1, memory_gb=0.1))
    killed = Finished("own", None, "killed at 0.2 GB of memory", "out_of_memory")
    assert finished["own"] == killed
    assert finished["child"] == Finished("child", None, killed.death, killed.code)
    assert finished["a"].answer


def test_the_second_try_may_take_twice_the_memory(tmp_path: Path) -> None:
    on_id = "(folder / f'{id_}-{os.getpid()}').touch(); x = b'x' * 150_000_000; time.sleep(0.5)"
    (one,) = run([*worker(on_id), str(tmp_path)], ["a"], workers=1, memory_gb=0.1)
    assert one.answer
    assert len(list(tmp_path.iterdir())) == 2


def test_files_mapped_into_memory_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(200_000_000))
    on_id = (
        "import mmap\nopened = open(folder / 'big', 'rb')\n"
        "mapped = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ); x = sum(mapped[::4096]); time.sleep(0.3)"
    )
    (one,) = run([*worker(on_id), str(tmp_path)], ["a"], workers=1, memory_gb=0.1)
    assert one.answer


def test_a_worker_can_say_that_it_ran_out_of_memory() -> None:
    (one,) = run(worker("os._exit(71)"), ["a"], workers=1)
    assert one.code == "out_of_memory"


@pytest.mark.parametrize("rubbish", ["print('rubbish')", "print('[1]')", "print('{}')"])
def test_an_answer_that_is_not_one_json_object_of_its_id_costs_that_id_alone(rubbish: str) -> None:
    finished = by_id(run(worker(f"if id_ == 'b': {rubbish}"), list("abcd"), workers=1))
    assert (finished["b"].answer, finished["b"].code) == (None, "worker_died")
    assert all(finished[id_].answer == {"id": id_} for id_ in "acd")


def test_an_answer_too_many_is_never_taken_for_that_of_the_next_id() -> None:
    finished = by_id(run(worker("if id_ == 'b': print(json.dumps({'id': 'b'}), flush=True)"), list("abcd"), workers=1))
    assert [finished[id_].answer for id_ in "acd"] == [{"id": id_} for id_ in "acd"]


def test_a_command_that_does_not_exist_is_told_at_once() -> None:
    with pytest.raises(ResourceError, match="could not be started"):
        list(run(["no-such-program-here"], list("abc"), workers=2))


def test_a_caller_that_leaves_early_leaves_no_worker_behind(tmp_path: Path) -> None:
    on_id = "(folder / str(os.getpid())).touch(); time.sleep(0.05 if id_ == '0' else 600)"
    answers = run([*worker(on_id), str(tmp_path)], [str(n) for n in range(20)], workers=2)
    next(answers)
    answers.close()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert pids
    assert not any(is_alive(pid) for pid in pids)
