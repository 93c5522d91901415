"""What a language model said, held against the report: an answer counts only with words that stand there."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from espalier.labels.language import Language
from espalier.labels.prompt import LONGEST_QUOTE, STATES
from espalier.labels.text import SILENT_SECTIONS, sentences

_QUOTES: Final = "\"'“”„«»‘’` \t\n\r"
_SHORTEST: Final = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """The state of a finding, and where the report says so; the span is (0, 0) where it says nothing."""

    state: str
    start: int = 0
    end: int = 0

    def fits(self, report: str, states: Sequence[str] = STATES) -> bool:
        """Say whether an answer that was kept can be one about this report, and one of `states`."""
        if self.state == "not_mentioned":
            return (self.start, self.end) == (0, 0)
        return self.state in states and 0 <= self.start < self.end <= len(report)


def read_answers(said: str, states: Mapping[str, Sequence[str]], report: str, *, language: Language) -> dict[str, Answer | str]:
    """Return the answer to each finding, or the fault that it has (`prompt.FAULTS`).

    Parameters
    ----------
    said
        What the model wrote: a JSON object, alone, in a code block, or behind its thoughts.
    states
        What it was asked, and what it may answer to each.
    report
        The text in which its evidence must stand, whatever the blanks and line breaks in it.
    language
        Tells the sections of the report; words of indication, history and the like are no evidence.
    """
    told = _object(said)
    if told is None:
        return dict.fromkeys(states, "no_json")
    return {finding: _answer(told.get(finding), own, report, language) for finding, own in states.items()}


def section_at(report: str, start: int, language: Language) -> str:
    """Return the section in which a place of a report lies."""
    own = sentences(report, language)
    return next((s.section for s in own if start < s.end), own[-1].section if own else "findings")


def _object(said: str) -> dict[str, Any] | None:
    """Return the first JSON object behind the model's thoughts."""
    text = said.rpartition("</think>")[2]
    start = text.find("{")
    try:
        told, _ = json.JSONDecoder().raw_decode(text, start) if start >= 0 else (None, 0)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _answer(told: object, states: Sequence[str], report: str, language: Language) -> Answer | str:
    if not isinstance(told, dict) or told.get("state") not in states:
        return "no_state"
    if told["state"] == "not_mentioned":
        return Answer("not_mentioned")
    quote = told.get("evidence")
    places = _places(quote, report) if isinstance(quote, str) else iter(())
    found = next(((a, b) for a, b in places if section_at(report, a, language) not in SILENT_SECTIONS), None)
    return Answer(told["state"], *found) if found else "no_quote"


def _places(quote: str, report: str) -> Iterator[tuple[int, int]]:
    """Yield where a quote stands in a report as whole words, any blanks standing for any others."""
    for own in dict.fromkeys((quote.strip(), quote.strip(_QUOTES))):
        if sum(c.isalpha() for c in own) < _SHORTEST or len(own) > LONGEST_QUOTE:
            continue
        pattern = r"\s+".join(re.escape(word) for word in own.split())
        for match in re.finditer(pattern, report):
            if _whole(report, match.start()) and _whole(report, match.end()):
                yield match.span()


def _whole(report: str, place: int) -> bool:
    """Say whether no word is cut at a place."""
    return not (0 < place < len(report) and report[place - 1].isalnum() and report[place].isalnum())
