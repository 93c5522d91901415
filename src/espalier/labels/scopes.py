"""How a mention is meant: negated, hedged, resolved, only talked of, or plainly there.

After NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009): trigger words open scopes that reach forward or back
within a clause until a word that ends them. What is added here: post-negation that stops at an earlier full statement,
exceptions ("no nodule other than ...", "apart from an effusion, ..."), triggers that only reach their neighbour
("resolved", "versus"), and a question mark that belongs to its bracket.
"""

import re
from typing import Final, Literal

from espalier.labels.language import Language

Meaning = Literal["present", "absent", "uncertain", "history"]
Span = tuple[int, int]
_ALWAYS: Final = re.compile(r";|(?<!\d),(?= (?:an? )?\d+(?:[.,x]\d+)* ?(?:mm|cm)\b)")
_BRACKET: Final = re.compile(r"\([^()]*\)?|\[[^\[\]]*\]?")
_PARTED: Final = re.compile(r"[,;:()?]")
_COMMA: Final = re.compile(r",\s*")
_STATEMENT_REACH: Final = 60
_PLUS: Final = re.compile(r"(?<!\S)\+\w")
_NEAR: Final = 36
_TOPIC: Final = 48
_LISTED: Final = 3


class Scopes:
    """The triggers that stand in one plain sentence, and what they make of any span in it.

    Parameters
    ----------
    text
        Plain text (lower case) of "heading: sentence" or of a sentence alone.
    words
        The language.
    """

    def __init__(self, text: str, words: Language) -> None:
        self.text = text
        self._words = words
        self._pseudo = [m.span() for m in words.pseudo.finditer(text)]
        self._known: dict[str, list[Span]] = {}
        self._answers = [m.span() for m in words.answered.finditer(text)] if ":" in text or "=" in text else []
        self._negations = [s for s in self._found("negation_before") if not touches(s, self._answers) and not self._ends(s)]
        self._known["negation_before"] = self._negations
        self._stops = [m.start() for m in words.stop.finditer(text)]
        behind_comma = words.comma_stop.finditer(text) if self._negations and "," in text else ()
        self._forward_stops = [*self._stops, *(m.start() for m in behind_comma)]
        self._brackets = [m.span() for m in _BRACKET.finditer(text)]
        self._clauses = self._split()

    def _found(self, kind: str) -> list[Span]:
        """Return the spans of one kind of trigger that nothing covers which takes its meaning; searched for once."""
        spans = self._known.get(kind)
        if spans is None:
            pattern: re.Pattern[str] = getattr(self._words, kind)
            spans = [m.span() for m in pattern.finditer(self.text)]
            if kind == "negation_before":
                self._known["denial_within"] = spans
            if kind == "negation_after" and spans:
                forward = [m.span() for m in self._words.forward_only.finditer(self.text)]
                spans = [s for s in spans if not touches(s, forward)]
            if self._pseudo and kind.startswith(("negation", "resolved")):
                spans = [s for s in spans if not touches(s, self._pseudo)]
            elif kind == "history_before" and spans:
                spans = [s for s in spans if not touches(s, self._negations)]
            self._known[kind] = spans
        return spans

    def _split(self) -> list[int]:
        """Return where clauses begin: after semicolons, and where a full statement is followed by a comma or "and"."""
        always = [m.span() for m in _ALWAYS.finditer(self.text)]
        starts = {0} | {end for _, end in always}
        for match in self._words.verb.finditer(self.text):
            end = next((start for start, _ in always if start >= match.end()), len(self.text))
            joint = self._words.joint.search(self.text, match.end(), min(end, match.end() + _STATEMENT_REACH))
            if not joint or self._words.goes_on.match(self.text, joint.end()):
                continue
            if self._words.verb.search(self.text, joint.end()) or self._words.negation_before.search(self.text, joint.end()):
                starts.add(joint.end())
        return sorted(starts)

    def _ends(self, trigger: Span) -> bool:
        """Say whether a trigger of one word ends what it stands in, as in "weight loss no, fatigue yes"."""
        return self.text[trigger[1] : trigger[1] + 1] in {",", ".", ";"} and " " not in self.text[slice(*trigger)]

    def clause(self, span: Span) -> Span:
        """Return the clause that a span begins in."""
        start = max(s for s in self._clauses if s <= span[0])
        end = min((s for s in self._clauses if s > span[0]), default=len(self.text))
        return start, max(end, span[1])

    def reach(self, span: Span, end: int) -> int:
        """Return how far the words behind a span still speak of it: to a comma or "but" that no word such as "in" follows."""
        commas = [(m.start(), m.end()) for m in _COMMA.finditer(self.text, span[1], end)]
        breaks = commas + [(s, s) for s in self._stops if span[1] <= s < end]
        return min((start for start, after in breaks if not self._words.appended.match(self.text, after)), default=end)

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
        if self._denied_within(span):
            return True
        if self.text[max(0, span[0] - 2) : span[0]].strip() == "+":
            return False
        if self._before("negation_before", span, clause) or self._signed(span):
            return self._words.excepted.match(self.text, span[1]) is None
        return (
            self._behind("negation_after", span, clause)
            or self._answered(span, clause)
            or self._behind("resolved_after", span, clause)
            or any(self._touching(trigger, span) for trigger in self._found("resolved_near"))
            or self._words.denial.match(self.text, span[1]) is not None
        ) and not self._is_topic(span, clause)

    def _denied_within(self, span: Span) -> bool:
        """Say whether a span such as "heart is not large" holds its own negation, and its object with it."""
        own = [s for s in self._found("denial_within") if span[0] <= s[0] and s[1] <= span[1]]
        if not own:
            return False
        outside = [p for p in self._pseudo if not (span[0] <= p[0] and p[1] <= span[1])]
        return any(not touches(s, outside) for s in own)

    def _is_topic(self, span: Span, clause: Span) -> bool:
        """Say whether the sentence speaks of something about the span, such as its cause or its growth."""
        topic = self._words.topic.search(self.text, max(clause[0], span[0] - _TOPIC), span[0])
        return topic is not None and _PARTED.search(self.text, topic.end(), span[0]) is None

    def _answered(self, span: Span, clause: Span) -> bool:
        """Say whether the span stands in a list before a colon, as in "effusion, nodules: none"."""
        if not self._answers:
            return False
        answer = next((a for a in self._answers if span[1] <= a[0] < clause[1]), None)
        if answer is None or self._stopped(span[1], answer[0]):
            return False
        between = self.text[span[1] : answer[0]]
        return ":" not in between and all(len(words.split()) <= _LISTED for words in re.split("[,/]", between))

    def _doubted(self, span: Span, clause: Span) -> bool:
        if self.text.startswith("?", span[1]) or self.text[max(0, span[0] - 2) : span[0]].strip() == "?":
            return True
        for a, b in self._brackets:
            if a <= span[0] and span[1] <= b and "?" in self.text[span[1] : b]:
                return True
        return (
            self._before("hedge_before", span, clause)
            or self._behind("hedge_after", span, clause)
            or any(span[0] <= a and b <= span[1] for a, b in self._found("hedge_before"))
            or any(self._touching(span, trigger) for trigger in self._found("hedge_near"))
        )

    def _before(self, kind: str, span: Span, clause: Span) -> bool:
        """Say whether a forward trigger reaches the span: same clause, no word between that ends its scope.

        No negation reaches a span over a comma that words such as "unchanged" follow.
        """
        for trigger in self._found(kind):
            if clause[0] <= trigger[0] and trigger[1] <= span[0] and not self._barred(trigger[1], span[0]):
                denies = kind == "negation_before" and "," in self.text[trigger[1] : span[0]]
                return not (denies and self._words.affirmed.match(self.text, span[1]))
        return False

    def _signed(self, span: Span) -> bool:
        """Say whether the span has a minus where others have a plus: "+cough, -fever"."""
        return self.text[max(0, span[0] - 2) : span[0]] == " -" and _PLUS.search(self.text) is not None

    def _behind(self, kind: str, span: Span, clause: Span) -> bool:
        """Say whether a backward trigger stands behind the span in its clause and reaches back to it."""
        match = next((s for s in self._found(kind) if span[1] <= s[0] < clause[1]), None)
        if match is None or (self._stopped(span[1], match[0]) and not self._resumes(span[1], match)):
            return False
        between = self.text[span[1] : match[0]]
        if "," in between and any(self._touching(m.span(), span) for m in self._words.but_for.finditer(self.text)):
            return False
        led = self._words.existential.search(self.text, clause[0], span[0])
        return not (led and ("," in between or self._words.parts.search(between)))

    def _resumes(self, start: int, trigger: Span) -> bool:
        """Say whether all that stops a trigger is a relative clause: "the effusion, which was seen before, is not seen"."""
        relative = self._words.relative.search(self.text, start, trigger[0])
        if relative is None or self._words.finite.match(self.text, trigger[0]) is None:
            return False
        if self._words.parts.search(self.text, relative.end(), trigger[0]) or ";" in self.text[start : trigger[0]]:
            return False
        own = self._words.finite.search(self.text, relative.end(), trigger[0])
        return own is not None and all(relative.start() <= s <= own.start() for s in self._stops if start <= s < trigger[0])

    def _touching(self, first: Span, second: Span) -> bool:
        """Say whether `second` follows `first` closely, in one breath."""
        if not 0 <= second[0] - first[1] <= _NEAR:
            return False
        between = self.text[first[1] : second[0]]
        return not (_PARTED.search(between) or self._words.parts.search(between) or self._stopped(first[1], second[0]))

    def _barred(self, start: int, end: int) -> bool:
        return any(start <= s < end for s in self._forward_stops)

    def _stopped(self, start: int, end: int) -> bool:
        return any(start <= s < end for s in self._stops)


def touches(span: Span, others: list[Span]) -> bool:
    """Say whether a span overlaps any of others."""
    return any(a < span[1] and span[0] < b for a, b in others)
