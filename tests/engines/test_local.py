"""Worker processes: every id answered once, a killed worker costs one id."""

import sys
from pathlib import Path

from espalier.engines.local import run

ECHO = "import sys, json\nfor line in sys.stdin: print(json.dumps({'id': line.strip()}), flush=True)"
DIES_ON_B = (
    "import sys, json, os, signal\n"
    "for line in sys.stdin:\n"
    "    if line.strip() == 'b': os.kill(os.getpid(), signal.SIGKILL)\n"
    "    print(json.dumps({'id': line.strip()}), flush=True)"
)


def dies_once(flag: Path) -> str:
    return (
        "import sys, json, os, signal, pathlib\n"
        f"flag = pathlib.Path({str(flag)!r})\n"
        "for line in sys.stdin:\n"
        "    if not flag.exists(): flag.touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "    print(json.dumps({'id': line.strip()}), flush=True)"
    )


def test_every_id_is_answered_once() -> None:
    ids = [f"scan-{n}" for n in range(20)]
    finished = list(run([sys.executable, "-c", ECHO], ids, workers=3))
    assert sorted(one.id for one in finished) == sorted(ids)
    assert all(one.answer == {"id": one.id} for one in finished)


def test_a_worker_that_dies_twice_on_one_id_costs_that_id_alone() -> None:
    finished = {one.id: one for one in run([sys.executable, "-c", DIES_ON_B], list("abcdef"), workers=2)}
    assert set(finished) == set("abcdef")
    assert finished["b"].answer is None
    assert finished["b"].death == "killed by SIGKILL"
    assert all(finished[id_].answer for id_ in "acdef")


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    finished = list(run([sys.executable, "-c", dies_once(tmp_path / "flag")], list("abc"), workers=1))
    assert sorted(one.id for one in finished) == list("abc")
    assert all(one.answer for one in finished)


def test_a_caller_that_leaves_early_leaves_no_worker_behind() -> None:
    slow = "import sys, time, json\nfor line in sys.stdin: print(json.dumps({}), flush=True); time.sleep(0.2)"
    answers = run([sys.executable, "-c", slow], [str(n) for n in range(200)], workers=2)
    next(answers)
    answers.close()
    children = Path(f"/proc/self/task/{__import__('threading').get_native_id()}/children")
    if children.exists():
        left = [p for p in children.read_text().split() if "time.sleep" in Path(f"/proc/{p}/cmdline").read_text()]
        assert left == []
