"""Abdominal trauma: which structure is injured, how gravely, and whether there is active bleeding.

Grades are those of the AAST (2018 revision): I to III are low, IV and V high, as in RATIC. Without a stated grade an
injury is low, unless its words mean a high one ("shattered", "devascularised"). Where a stated grade may be low or high the
injury is certain and its grade is not: of a range ("III-IV") the column of the upper end is `uncertain`, of an open one ("at
least III") that of the stated grade.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from espalier.labels.findings import RATIC_BINARY, RATIC_COLUMNS, RATIC_GRADED
from espalier.labels.options import LabelOptions
from espalier.labels.rules import RANK, Mention
from espalier.labels.scopes import Meaning, Scopes
from espalier.labels.targets import target_of
from espalier.labels.text import SILENT_SECTIONS, Sentence, plain, sentences
from espalier.labels.trauma_grades import HIGH_FROM, Term, grades_in, respectively
from espalier.labels.trauma_words import TraumaWords, trauma_words

_ASIDE: Final = re.compile(r"[(,;:\[]\s*$")
_BESIDE: Final = re.compile(r"\s*(?:\w+\s+)?")
_SOLID: Final = RATIC_GRADED
_EVERY: Final = (*RATIC_GRADED, "bowel")
_GROUPS: Final = {"solid": _SOLID, "all": _EVERY}


@dataclass(frozen=True, slots=True)
class _Fact:
    """One statement about one structure: injured or not, and the grade where it is stated or follows from the words.

    A `sign` is no injury by name, as free gas is; the name of one in its sentence goes before it.
    """

    structure: str
    state: str
    grade: int | None
    stated: bool
    span: tuple[int, int]
    rule: str
    open: bool = False
    sign: bool = False


class TraumaReader:
    """Reads trauma reports into the 14 columns of RATIC.

    Parameters
    ----------
    words
        The trauma lexicon; the shipped one where None.
    """

    def __init__(self, words: TraumaWords | None = None) -> None:
        self.words = words or trauma_words()
        self.findings: tuple[str, ...] = RATIC_COLUMNS
        self.key = self.words.key
        self._language = self.words.language

    def read(self, report: str) -> tuple[dict[str, str], list[Mention]]:
        """Return the state of each column, and the mentions that they rest on."""
        text = plain(report)
        facts: list[tuple[_Fact, Sentence]] = []
        last: tuple[str, ...] = ()
        for sentence in sentences(report, self._language):
            if sentence.section in SILENT_SECTIONS:
                last = ()
                continue
            own, last = self._in_sentence(text, sentence, last)
            facts += [(fact, sentence) for fact in own]
        states = _columns([fact for fact, _ in facts])
        return states, [_mention(fact, sentence) for fact, sentence in facts]

    def _in_sentence(self, text: str, sentence: Sentence, last: tuple[str, ...]) -> tuple[list[_Fact], tuple[str, ...]]:
        """Return the facts of one sentence, and the structures that a following "Grade III." would speak of."""
        own = sentence.led(text)
        heading = tuple(name for _, _, name in self.words.anatomy.found(plain(sentence.heading))) or last
        facts = _weighed([*self._injuries(own, heading), *self._whole(own), *self._bleeding(own)])
        facts += self._normals(own, facts)
        located = [(fact, sentence.located(fact.span)) for fact in facts]
        moved = [replace(fact, span=place) for fact, place in located if place]
        named = tuple(f.structure for f in facts if f.structure in _EVERY and f.state != "absent")
        anatomy = self.words.anatomy.found(own)
        return moved, named or (() if anatomy else last)

    def _injuries(self, text: str, heading: tuple[str, ...]) -> Iterable[_Fact]:
        sound = [m.span() for m in self.words.sound.finditer(text)]
        terms = [Term(m.span()) for m in self.words.injury.finditer(text) if not _lies_in(m.span(), sound)]
        terms += grades_in(text, self.words.not_grade, self.words.anatomy)
        if not terms:
            return
        scopes = Scopes(text, self._language)
        several = respectively(text, terms)
        named: Meaning = "present"
        for term in sorted(terms, key=lambda term: term.span):
            clause = scopes.clause(term.span)
            if self.words.old.search(text, max(clause[0], term.span[0] - 40), min(clause[1], term.span[1] + 20)):
                continue
            meaning = scopes.meaning(term.span)
            aside = term.grade is not None and _ASIDE.search(text, 0, term.span[0])
            if (aside and meaning == "absent") or (term.open and meaning == "uncertain"):
                meaning = named  # "laceration without active bleeding (grade III)", "laceration, grade III, possibly IV"
            named = meaning if term.grade is None else named
            if meaning == "history":
                continue
            own = self.words.anatomy.of(text, term.span, clause)
            structures = self._elsewhere(text, term.span, heading, graded=term.grade is not None) if own is None else own
            if not structures and meaning == "absent":
                structures = ("all",)
            for place, structure in enumerate(_meant(structures, meaning)):
                grade = several.get((term.span, place))
                yield from self._fact(scopes, structure, replace(term, grade=grade) if grade else term, meaning)

    def _elsewhere(self, text: str, span: tuple[int, int], heading: tuple[str, ...], *, graded: bool) -> tuple[str, ...]:
        """Return the structures of a span whose clause names none.

        The last one before it ("renal laceration, 5 cm, graded AAST 5"; only a grade looks back across a semicolon), the
        first behind it ("a laceration, 2 cm, is seen in the spleen"), or the heading's, which a grade prefers.
        """
        start = 0 if graded else text.rfind(";", 0, span[0]) + 1
        before = [name for _, end, name in self.words.anatomy.found(text, start) if end <= span[0]]
        stop = text.find(";", span[1])
        behind = [name for _, _, name in self.words.anatomy.found(text, span[1], stop if stop >= 0 else None)]
        if graded:
            return tuple(before[-1:]) or heading or tuple(behind[:1])
        return tuple(before[-1:]) or tuple(behind[:1]) or heading

    def _fact(self, scopes: Scopes, structure: str, term: Term, meaning: str) -> Iterable[_Fact]:
        text, span, grade = scopes.text, term.span, term.grade
        words = text[span[0] : span[1]]
        if structure not in RATIC_GRADED:
            return
        if grade is None and self.words.around.search(text, max(0, span[0] - 16), span[0]):
            return
        hints = self.words.grave.finditer(text, max(0, span[0] - 30), span[1] + 120) if grade is None else ()
        grave = any(meaning == "absent" or scopes.meaning(hint.span()) != "absent" for hint in hints)
        known = grade or (HIGH_FROM if grave else None)
        yield _Fact(structure, meaning, known, grade is not None, span, f"{structure}: {words}", term.open)

    def _whole(self, text: str) -> Iterable[_Fact]:
        """Yield what words say of bowel and kidney."""
        scopes: Scopes | None = None
        for pattern, structure, doubtful, anchored in self.words.special:
            for match in pattern.finditer(text):
                if _lies_in(match.span(), (m.span() for m in self.words.sound.finditer(text))):
                    continue
                scopes = scopes or Scopes(text, self._language)
                clause = scopes.clause(match.span())
                if self.words.bowel_none.search(text, *clause) or self.words.old.search(text, *clause):
                    continue
                meaning = scopes.meaning(match.span())
                own = self.words.anatomy.of(text, match.span(), clause) or ()
                if anchored and structure not in _meant(own, meaning):
                    continue
                if meaning != "history":
                    state = "uncertain" if doubtful and meaning == "present" else meaning
                    grave = HIGH_FROM if self.words.grave.fullmatch(match.group()) else None
                    rule = f"{structure}: {match.group()}"
                    yield _Fact(structure, state, grave, False, match.span(), rule, sign=not (anchored or grave))

    def _bleeding(self, text: str) -> Iterable[_Fact]:
        scopes: Scopes | None = None
        for match in self.words.extravasation.finditer(text):
            scopes = scopes or Scopes(text, self._language)
            clause = scopes.clause(match.span())
            around = (max(clause[0], match.start() - 50), min(clause[1], match.end() + 50))
            if self.words.extravasation_none.search(text, *around) and not self.words.extravasation_unless.search(
                text, *around
            ):
                continue
            meaning = scopes.meaning(match.span())
            if meaning == "present" and any(
                _adjoin(text, match.span(), m.span()) for m in self.words.alternative.finditer(text)
            ):
                meaning = "uncertain"
            if meaning != "history":
                yield _Fact("extravasation", meaning, None, False, match.span(), f"extravasation: {match.group()}")

    def _normals(self, text: str, facts: list[_Fact]) -> Iterable[_Fact]:
        """Yield "Liver: normal." and "the kidneys are intact" for structures that the sentence does not call injured."""
        hurt = {f.structure for f in facts}
        scopes: Scopes | None = None
        for match in self.words.normal.finditer(text):
            negations = self._language.negation_before.finditer(text, max(0, match.start() - 30), match.start())
            if any(_BESIDE.fullmatch(text, m.end(), match.start()) for m in negations):
                continue  # "is not intact"
            scopes = scopes or Scopes(text, self._language)
            own = self.words.anatomy.of(text, match.span(), scopes.clause(match.span())) or ()
            for structure in _spread(own):
                if structure in _EVERY and structure not in hurt:
                    yield _Fact(structure, "absent", None, False, match.span(), f"{structure}: {match.group()}")


def _lies_in(span: tuple[int, int], wholes: Iterable[tuple[int, int]]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in wholes)


def _spread(structures: Iterable[str]) -> tuple[str, ...]:
    out: list[str] = []
    for structure in structures:
        out.extend(_GROUPS.get(structure, (structure,)))
    return tuple(dict.fromkeys(out))


def _meant(structures: Iterable[str], meaning: str) -> tuple[str, ...]:
    """Return the structures of a statement: what is said of a group holds for each of them only where it is denied."""
    return _spread(structures) if meaning == "absent" else tuple(dict.fromkeys(s for s in structures if s not in _GROUPS))


def _adjoin(text: str, first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Say whether at most one word stands between two spans."""
    (_, end), (start, _) = sorted((first, second))
    return start >= end and _BESIDE.fullmatch(text, end, start) is not None


def _weighed(facts: list[_Fact]) -> list[_Fact]:
    """Return facts, of which a sign is uncertain where its sentence calls the injury itself so ("free gas, perforation?")."""
    unsure = {f.structure for f in facts if f.state == "uncertain" and not f.sign}
    return [replace(f, state="uncertain") if f.sign and f.state == "present" and f.structure in unsure else f for f in facts]


def _mention(fact: _Fact, sentence: Sentence) -> Mention:
    column, state = f"{fact.structure}_injury", fact.state
    if fact.state == "absent":
        column, state = f"{fact.structure}_healthy", "present"
    elif fact.structure in RATIC_GRADED:
        column = f"{fact.structure}_{'high' if (fact.grade or 0) >= HIGH_FROM else 'low'}"
        state = "uncertain" if fact.open else state
    whole = (min(sentence.start, fact.span[0]), sentence.end)
    return Mention(column, state, sentence.section, whole, *fact.span, fact.rule)


def _columns(facts: list[_Fact]) -> dict[str, str]:
    """Return the states of the 14 columns; where a structure is injured, exactly one of its columns is present.

    Or uncertain, where the grade alone is: then no other of them is.
    """
    out: dict[str, str] = {}
    summary: list[str] = []
    for structure in (*RATIC_GRADED, *RATIC_BINARY):
        own = [f for f in facts if f.structure == structure]
        state = max((f.state for f in own), key=lambda s: RANK[s], default="not_mentioned")
        summary.append(state)
        out[f"{structure}_healthy"] = {"present": "absent", "absent": "present"}.get(state, state)
        if structure in RATIC_BINARY:
            out[f"{structure}_injury"] = state
            continue
        told = [f for f in own if f.state == state]
        high = _is_high(told)
        other = "absent" if state in {"present", "uncertain"} else state
        state = "uncertain" if state == "present" and _is_open(told) else state
        out[f"{structure}_low"] = other if high else state
        out[f"{structure}_high"] = state if high else other
    out["any_injury"] = max(summary, key=lambda s: RANK[s])
    return {column: out[column] for column in RATIC_COLUMNS}


def _is_high(facts: list[_Fact]) -> bool:
    """Say whether the gravest grade is IV or V; a stated grade goes before one that only follows from the words."""
    stated = [f.grade for f in facts if f.stated and f.grade]
    grades = stated or [f.grade for f in facts if f.grade]
    return max(grades, default=0) >= HIGH_FROM


def _is_open(facts: list[_Fact]) -> bool:
    """Say whether an injury may be low or high by what is stated; a grade stated as high by another sentence settles it."""
    return any(f.open for f in facts) and not any(f.stated and not f.open and (f.grade or 0) >= HIGH_FROM for f in facts)


def trauma_target(column: str, states: dict[str, str], options: LabelOptions) -> tuple[float, float]:
    """Return target and weight of one column; the columns of a structure are trained together or not at all."""
    structure, _, kind = column.rpartition("_")
    healthy = states.get(f"{structure}_healthy", "")
    doubtful = [grade for grade in ("low", "high") if states.get(f"{structure}_{grade}") == "uncertain"]
    if structure in RATIC_GRADED and healthy == "absent" and doubtful:
        target, weight = target_of("uncertain", options)
        return {"healthy": 0.0, doubtful[0]: target}.get(kind, 1.0 - target), weight
    if kind == "healthy":
        injury = {"present": "absent", "absent": "present"}.get(healthy, healthy)
        return target_of(injury, options, healthy=True)
    target, weight = target_of(states[column], options)
    return target, weight if healthy != "uncertain" else target_of("uncertain", options)[1]
