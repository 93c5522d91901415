"""A chunk's journal: whatever ends a job, the next one goes on with what is left, and blames no scan wrongly."""

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.engines.chunk import (
    PYTHON,
    TRIES,
    Chunk,
    journal_path,
    node_command,
    note_leaving,
    read_lines,
    tell,
    work,
    write_chunk,
)

ECHO = "import sys, json\nfor line in sys.stdin: print(json.dumps({'id': line.strip()}), flush=True)"
FINISHED = {"answer": {}, "death": "", "code": ""}


def lay(folder: Path, *journal: dict[str, object], resumes: bool = False, code: str = ECHO) -> None:
    write_chunk(folder, 0, Chunk(command=(PYTHON, "-c", code), ids=tuple("abcd"), resumes=resumes))
    journal_path(folder, 0).write_text("".join(json.dumps(line) + "\n" for line in journal))


def finished(folder: Path) -> dict[str, bool]:
    """Return for each id of the journal whether it was answered; each may stand there once only."""
    lines = [line for line in read_lines(journal_path(folder, 0), 0)[0] if "id" in line]
    assert len({line["id"] for line in lines}) == len(lines)
    return {line["id"]: line["answer"] is not None for line in lines}


def test_a_chunk_that_begins_anew_does_only_what_its_journal_lacks(tmp_path: Path) -> None:
    lay(tmp_path, {"started": True}, {"begun": "a"}, {"id": "a", **FINISHED}, {"begun": "b"}, {"id": "b", **FINISHED})
    assert [one.id for one in work(tmp_path, 0)] == ["c", "d"]
    assert finished(tmp_path) == dict.fromkeys("abcd", True)


def test_an_id_with_which_a_job_ended_comes_last(tmp_path: Path) -> None:
    lay(tmp_path, {"started": True}, {"begun": "a"})
    assert [one.id for one in work(tmp_path, 0)] == ["b", "c", "d", "a"]


def test_an_id_with_which_two_jobs_ended_without_a_word_is_given_up(tmp_path: Path) -> None:
    lay(tmp_path, *([{"started": True}, {"begun": "b"}] * TRIES))
    assert [one.id for one in work(tmp_path, 0)] == ["a", "c", "d"]
    assert finished(tmp_path) == {"a": True, "b": False, "c": True, "d": True}


def test_an_id_is_not_to_blame_for_jobs_that_were_told_to_leave(tmp_path: Path) -> None:
    lay(tmp_path, *([{"started": True}, {"begun": "b"}, {"told": "leave"}] * 5))
    assert tell(journal_path(tmp_path, 0)).tries["b"] == 0
    assert [one.id for one in work(tmp_path, 0)] == list("abcd")


def test_an_id_that_goes_on_where_it_stopped_is_never_given_up(tmp_path: Path) -> None:
    lay(tmp_path, *([{"started": True}, {"begun": "b"}] * 9), resumes=True)
    assert {one.id for one in work(tmp_path, 0)} == set("abcd")


def test_a_notice_stands_alone_even_after_half_a_line(tmp_path: Path) -> None:
    lay(tmp_path, {"started": True}, {"begun": "a"})
    with journal_path(tmp_path, 0).open("a") as stream:
        stream.write('{"id": "a", "ans')
    note_leaving(tmp_path, 0)
    assert not tell(journal_path(tmp_path, 0)).tries["a"]
    assert {one.id for one in work(tmp_path, 0)} == set("abcd")
    assert finished(tmp_path) == dict.fromkeys("abcd", True)


@given(st.integers(0, 400))
def test_a_journal_cut_anywhere_tells_what_was_whole_and_is_read_on_from_there(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "journal"
    lines = [{"id": id_, **FINISHED} for id_ in "abcdef"]
    whole = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(whole[:cut])
    first, offset = read_lines(path, 0)
    path.write_bytes(whole)
    rest, end = read_lines(path, offset)
    assert [*first, *rest] == lines
    assert end == len(whole)


def test_the_journal_is_for_its_owner_only(tmp_path: Path) -> None:
    write_chunk(tmp_path, 0, Chunk(command=(PYTHON, "-c", ECHO), ids=("a",)))
    assert [one.answer for one in work(tmp_path, 0)] == [{"id": "a"}]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_the_node_s_own_python_takes_the_place_of_this_one() -> None:
    assert node_command([sys.executable, "-m", "espalier.stage"]) == (PYTHON, "-m", "espalier.stage")


def test_each_worker_sees_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    code = "import sys, json, os, time\nfor line in sys.stdin:\n    time.sleep(0.3)\n"
    code += "    print(json.dumps({'id': line.strip(), 'gpu': os.environ['CUDA_VISIBLE_DEVICES']}), flush=True)"
    write_chunk(tmp_path, 0, Chunk(command=(PYTHON, "-c", code), ids=tuple("abcd"), workers=2))
    seen = {one.answer["gpu"] for one in work(tmp_path, 0) if one.answer}
    assert seen == {"3", "GPU-5"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,GPU-5"
