"""How a mention is meant: negated, hedged, resolved, only talked of, or plainly there.

After NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009): trigger words open scopes that reach forward or back
within a clause until a word that ends them. What is added here: post-negation that stops at an earlier full statement,
and a question mark that belongs to its bracket.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, Self

from espalier.labels.lexicon import one_of, shipped_text

Meaning = Literal["present", "absent", "uncertain", "history"]
Span = tuple[int, int]
_ALWAYS: Final = re.compile(r";|(?<!\d),(?= (?:an? )?\d+(?:[.,x]\d+)* ?(?:mm|cm)\b)")
_JOINT: Final = re.compile(r",| and\b| but\b| as well as\b")
_GOES_ON: Final = re.compile(r"\s*(?:(?:is|are|was|were|has|have|had|not|could|cannot|which|who|or|nor)\b)")
_HEADING_DENIED: Final = re.compile(
    r"\s*:\s*(?:none|nil|no|not|absent|negative|normal|without|unremarkable|clear|free|intact|n/a|0)\b"
)
_BRACKET: Final = re.compile(r"\([^()]*\)?|\[[^\[\]]*\]?")
_STATEMENT_REACH: Final = 60


@dataclass(frozen=True, slots=True)
class Triggers:
    """The compiled trigger words of one language."""

    pseudo: re.Pattern[str]
    negation_before: re.Pattern[str]
    negation_after: re.Pattern[str]
    resolved_after: re.Pattern[str]
    hedge_before: re.Pattern[str]
    hedge_after: re.Pattern[str]
    history_before: re.Pattern[str]
    stop: re.Pattern[str]
    verb: re.Pattern[str]
    existential: re.Pattern[str]

    @classmethod
    def of(cls, language: str) -> Self:
        """Compile the shipped triggers of a language."""
        tables = tomllib.loads(shipped_text(f"{language}.toml"))
        patterns = {name: one_of(words) for name, words in tables.items()}
        return cls(**{name: pattern for name, pattern in patterns.items() if pattern is not None})


@cache
def triggers(language: str = "english") -> Triggers:
    """Return the compiled triggers of a language, compiled once."""
    return Triggers.of(language)


class Scopes:
    """The triggers that stand in one plain sentence, and what they make of any span in it.

    Parameters
    ----------
    text
        Plain text (lower case) of "heading: sentence" or of a sentence alone.
    words
        Triggers of the language.
    """

    def __init__(self, text: str, words: Triggers) -> None:
        self.text = text
        self._words = words
        self._pseudo = [m.span() for m in words.pseudo.finditer(text)]
        self._known: dict[str, list[Span]] = {}
        self._negations = self._found("negation_before")
        self._stops = [m.start() for m in words.stop.finditer(text)]
        self._brackets = [m.span() for m in _BRACKET.finditer(text)]
        self._clauses = self._split()

    def _found(self, kind: str) -> list[Span]:
        """Return the spans of one kind of trigger that no pseudo-trigger covers; searched for once."""
        spans = self._known.get(kind)
        if spans is None:
            pattern: re.Pattern[str] = getattr(self._words, kind)
            spans = [m.span() for m in pattern.finditer(self.text)]
            if self._pseudo and kind.startswith("negation"):
                spans = [s for s in spans if not any(a < s[1] and s[0] < b for a, b in self._pseudo)]
            self._known[kind] = spans
        return spans

    def _split(self) -> list[int]:
        """Return where clauses begin: after semicolons, and where a full statement is followed by a comma or "and"."""
        always = [m.span() for m in _ALWAYS.finditer(self.text)]
        starts = {0} | {end for _, end in always}
        for match in self._words.verb.finditer(self.text):
            end = next((start for start, _ in always if start >= match.end()), len(self.text))
            joint = _JOINT.search(self.text, match.end(), min(end, match.end() + _STATEMENT_REACH))
            if not joint or _GOES_ON.match(self.text, joint.end()):
                continue
            if self._words.verb.search(self.text, joint.end()) or self._words.negation_before.search(self.text, joint.end()):
                starts.add(joint.end())
        return sorted(starts)

    def clause(self, span: Span) -> Span:
        """Return the clause that a span begins in."""
        start = max(s for s in self._clauses if s <= span[0])
        end = min((s for s in self._clauses if s > span[0]), default=len(self.text))
        return start, max(end, span[1])

    def meaning(self, span: Span) -> Meaning:
        """Return how the span is meant."""
        clause = self.clause(span)
        if self._before("history_before", span, clause):
            return "history"
        if self._denied(span, clause):
            return "absent"
        if self._doubted(span, clause):
            return "uncertain"
        return "present"

    def _denied(self, span: Span, clause: Span) -> bool:
        if any(span[0] <= a and b <= span[1] for a, b in self._negations):
            return True
        if any(self._reaches(s, span, clause) for s in self._negations):
            return True
        return (
            self._behind("negation_after", span, clause)
            or self._behind("resolved_after", span, clause)
            or _HEADING_DENIED.match(self.text, span[1]) is not None
        )

    def _doubted(self, span: Span, clause: Span) -> bool:
        if self.text.startswith("?", span[1]) or self.text[max(0, span[0] - 2) : span[0]].strip() == "?":
            return True
        for a, b in self._brackets:
            if a <= span[0] and span[1] <= b and "?" in self.text[span[1] : b]:
                return True
        return self._before("hedge_before", span, clause) or self._behind("hedge_after", span, clause)

    def _reaches(self, trigger: Span, span: Span, clause: Span) -> bool:
        """Say whether a forward trigger reaches the span: same clause, no word between that ends its scope."""
        if not clause[0] <= trigger[0] or trigger[1] > span[0]:
            return False
        return not any(trigger[1] <= s < span[0] for s in self._stops)

    def _before(self, kind: str, span: Span, clause: Span) -> bool:
        return any(self._reaches(trigger, span, clause) for trigger in self._found(kind))

    def _behind(self, kind: str, span: Span, clause: Span) -> bool:
        """Say whether a backward trigger stands behind the span in its clause and reaches back to it."""
        match = next((s for s in self._found(kind) if span[1] <= s[0] < clause[1]), None)
        if match is None or any(span[1] <= s < match[0] for s in self._stops):
            return False
        between = self.text[span[1] : match[0]]
        led = self._words.existential.search(self.text, clause[0], span[0])
        return not (led and ("," in between or " and " in between or " with " in between))
