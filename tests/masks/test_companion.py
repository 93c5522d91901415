import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from espalier.masks.companion import Companion, CompanionDiedError, ask, end, is_alive, start

PROGRAM = """
import json, os, sys
print(json.dumps({"pid": os.getpid(), "group": os.getpgid(0), "seen": sorted(os.environ)}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "exit" in asked: os._exit(asked["exit"])
    if "signal" in asked: os.kill(os.getpid(), asked["signal"])
    print(asked.get("print") or json.dumps({"twice": 2 * asked["number"]}), flush=True)
"""


@pytest.fixture
def doubling(tmp_path: Path) -> Iterator[Companion]:
    (tmp_path / "doubling.py").write_text(PROGRAM)
    companion = start([sys.executable, str(tmp_path / "doubling.py")], variables={"ONLY": "this"})
    yield companion
    end(companion)


def test_one_start_answers_many_questions(doubling: Companion) -> None:
    assert [ask(doubling, {"number": n})["twice"] for n in range(3)] == [0, 2, 4]
    assert is_alive(doubling)


def test_it_stays_in_the_process_group_that_a_stage_kills(doubling: Companion) -> None:
    assert doubling.hello["group"] == os.getpgid(0)


def test_it_sees_the_variables_that_were_given_only(doubling: Companion) -> None:
    assert "ONLY" in doubling.hello["seen"]
    assert "HOME" not in doubling.hello["seen"]


@pytest.mark.parametrize(
    ("question", "words", "killed"),
    [
        ({"exit": 3}, "ended with exit code 3", False),
        ({"signal": 11}, "was killed by SIGSEGV", False),
        ({"signal": 9}, "was killed by SIGKILL", True),
        ({"print": "Downloading …"}, "was killed by SIGKILL", True),
    ],
)
def test_a_death_is_told_with_its_cause(doubling: Companion, question: dict[str, object], words: str, killed: bool) -> None:
    with pytest.raises(CompanionDiedError, match=words) as caught:
        ask(doubling, question)
    assert caught.value.killed == killed
    assert not is_alive(doubling)
    with pytest.raises(CompanionDiedError):
        ask(doubling, {"number": 1})


def test_a_program_that_ends_before_its_first_line_has_died() -> None:
    with pytest.raises(CompanionDiedError, match="exit code 5"):
        start([sys.executable, "-c", "raise SystemExit(5)"], variables={})


def test_it_leaves_when_its_input_ends(doubling: Companion) -> None:
    end(doubling)
    assert doubling.process.returncode == 0  # it was not killed
