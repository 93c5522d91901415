import ast
import re
from pathlib import Path

import espalier
from espalier.cohort.reasons import NOTES, REASONS, note_words, reason_words

SOURCE = Path(espalier.__file__).parent
DOCS = Path(__file__).parents[2] / "docs" / "reference" / "reasons.md"


def codes_raised() -> set[str]:
    """Return every code that is written out where a `ScanError` is raised in the cohort room."""
    codes = set()
    for path in (SOURCE / "cohort").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code":
                told = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
                codes |= {one.value for one in told if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return codes


def test_every_reason_is_said_in_words_and_stands_in_the_reference() -> None:
    assert len(codes_raised()) > 30
    assert codes_raised() - set(REASONS) == set()
    told = set(re.findall(r"`(\w+)`", DOCS.read_text(encoding="utf-8")))
    assert (set(REASONS) | set(NOTES)) - told == set()


def test_unknown_codes_are_said_in_their_own_words() -> None:
    assert reason_words("a_new_code") == note_words("a_new_code") == "a new code"
    assert reason_words("missing_slice") == "missing slices"
