"""Stated grades of injury: "AAST grade III", "grade II to III", "at least grade II", "AAST: spleen III, liver II"."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from espalier.labels.places import Anatomy

HIGH_FROM: Final = 4
_NUMBER: Final = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5} | {
    word: number for number, word in enumerate(("one", "two", "three", "four", "five"), start=1)
}
_ANY: Final = "iii|ii|iv|i|v|[1-5]|one|two|three|four|five"
_ONE: Final = rf"(?P<{{}}>{_ANY})"
_GRADE: Final = re.compile(
    r"\b(?:(?:aast|ois|wses|moore)\b[\s\-/:(]*)*(?:grade[sd]?|gr|gd|class|aast|ois)\b"
    r"(?:[\s\-/:(=.>≥]|\b(?:aast|ois|grade|injury|scale|score|of|is|organ|as|at|least|by|criteria|classification|2018)\b)*"
    + _ONE.format("first")
    + r"[ab]?(?:\s*(?P<joint>-|/|to|or|and|versus|vs\.?|,?\s*(?:possibly|perhaps|probably|maybe))\s*(?:(?:aast\s*)?grade\s*)?"
    + _ONE.format("second")
    + r"(?!\w))?(?!\w|[.,]\d|\s*(?:mm|cm|%))|\b(?P<word>high|low)[\s-]grade\b"
)
_OPEN_BEFORE: Final = re.compile(r"(?:\b(?:at least|minimum(?: of)?|no less than|not less than)\W*(?:\w+\W+){0,2}|[>≥]=?\s*)$")
_OPEN_BEHIND: Final = re.compile(
    r"\s*(?:\+|(?:or|and)\s+(?:higher|greater|more|above|worse|over)\b|at (?:the )?(?:least|minimum))"
)
_BETWEEN: Final = re.compile(r"\bbetween\W+(?:\w+\W+){0,2}$")
_SCALE: Final = re.compile(r"\b(?:aast|ois)\b.{0,30}?:")
_BARE: Final = re.compile(r"\s*[:=(]?\s*(?P<first>iii|ii|iv|i|v|[1-5])\b")


@dataclass(frozen=True, slots=True)
class Term:
    """A word of injury or a stated grade in a sentence; an `open` grade may be low or high."""

    span: tuple[int, int]
    grade: int | None = None
    open: bool = False


def grades_in(text: str, not_grade: re.Pattern[str], anatomy: Anatomy) -> list[Term]:
    """Return the grades stated in a plain text; `not_grade` is what behind a number makes it the grade of something else."""
    found = (m for m in _GRADE.finditer(text) if not not_grade.match(text, m.end()))
    out = [Term(match.span(), *_grade(match)) for match in found]
    return out + [Term(*bare) for bare in _bare_grades(text, anatomy)]


def _bare_grades(text: str, anatomy: Anatomy) -> Iterable[tuple[tuple[int, int], int]]:
    """Yield the numbers of "AAST grade: spleen III, liver II"."""
    if _SCALE.search(text):
        for _, end, _ in anatomy.found(text):
            match = _BARE.match(text, end)
            if match:
                yield match.span("first"), _NUMBER[match["first"]]


def _grade(match: re.Match[str]) -> tuple[int, bool]:
    """Return a stated grade, and whether it may be low or high: "III-IV", "at least II"; "grades III and IV" are two."""
    if match["word"]:
        return (HIGH_FROM if match["word"] == "high" else 1), False
    text, numbers = match.string, sorted(_NUMBER[g] for g in (match["first"], match["second"]) if g)
    two = match["joint"] == "and" and not _BETWEEN.search(text, 0, match.start())
    at_least = _OPEN_BEFORE.search(text, 0, match.start("first")) or _OPEN_BEHIND.match(text, match.end())
    open_up = numbers[-1] < HIGH_FROM and at_least is not None
    return numbers[-1], open_up or (numbers[0] < HIGH_FROM <= numbers[-1] and not two)


def respectively(text: str, terms: list[Term]) -> dict[tuple[tuple[int, int], int], int]:
    """Return grades by place in a list of structures where the sentence says "respectively"."""
    spans = [term.span for term in terms if term.grade]
    if "respectively" not in text or not spans:
        return {}
    numbers = re.findall(rf"\b(?:{_ANY})\b", text[spans[0][0] : text.index("respectively")])
    return {(span, place): _NUMBER[number] for span in spans for place, number in enumerate(numbers)}
