"""The rule engine: phrases in sentences, what they mean, and what the report says in the end."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from espalier.labels.lexicon import Lexicon, Rules
from espalier.labels.scopes import Scopes, touches
from espalier.labels.text import SILENT_SECTIONS, Sentence, plain, sentences

RANK: Final[Mapping[str, int]] = {"present": 3, "uncertain": 2, "absent": 1, "not_mentioned": 0}
_MEMORY: Final = 200_000
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Mention:
    """One place that speaks of a finding: the words `report[start:end]` in the sentence `report[slice(*sentence)]`."""

    finding: str
    state: str
    section: str
    sentence: tuple[int, int]
    start: int
    end: int
    rule: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A mention inside one plain sentence."""

    finding: str
    state: str
    span: tuple[int, int]
    rule: str


class RuleReader:
    """Reads reports with one lexicon; sentences it has met before cost nothing.

    Parameters
    ----------
    lexicon
        The findings and their words.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.findings = lexicon.findings
        self.key = lexicon.key
        self._language = lexicon.language
        self._memory: dict[str, tuple[_Found, ...]] = {}
        self._words: dict[str, tuple[frozenset[int], frozenset[int]]] = {}
        self._phrases = [
            (group, phrase, kind)
            for group, rules in enumerate(lexicon.rules)
            for kind in ("phrases", "normal")
            for phrase in getattr(rules, kind)
        ]
        self._roots = _numbered(phrase.roots for _, phrase, _ in self._phrases)
        self._also = _numbered(phrase.also for _, phrase, _ in self._phrases)

    def read(self, report: str) -> tuple[dict[str, str], list[Mention]]:
        """Return the state of each finding, and the mentions that they rest on."""
        found = self.mentions(report)
        return states(found, self.findings), found

    def mentions(self, report: str) -> list[Mention]:
        """Return every mention of a finding in a report, in order."""
        text = plain(report)
        out: list[Mention] = []
        for sentence in sentences(report, self._language):
            if sentence.section not in SILENT_SECTIONS:
                out.extend(self._in_sentence(text, sentence))
        return out

    def _in_sentence(self, text: str, sentence: Sentence) -> Iterable[Mention]:
        own = self._read(sentence.led(text))
        lead = len(sentence.heading) + 2 if sentence.heading else 0
        told = {found.finding for found in own if found.span[1] > lead}
        for found in own:
            if found.span[1] <= lead and found.finding in told:
                continue  # of "Nodules: There are no nodules." the heading says nothing
            place = sentence.located(found.span)
            if place:
                whole = (min(sentence.start, place[0]), sentence.end)
                yield Mention(found.finding, found.state, sentence.section, whole, *place, found.rule)

    def _read(self, text: str) -> tuple[_Found, ...]:
        known = self._memory.get(text)
        if known is None:
            if len(self._memory) >= _MEMORY:
                self._memory.clear()
            known = self._memory[text] = tuple(self._findings(text))
        return known

    def _findings(self, text: str) -> Iterable[_Found]:
        spans: dict[tuple[int, str], list[tuple[int, int, str]]] = {}
        for number in self._likely(text):
            group, phrase, kind = self._phrases[number]
            found = phrase.spans(text)
            if found:
                spans.setdefault((group, kind), []).extend((*span, phrase.words) for span in found)
        if not spans:
            return
        scopes = Scopes(text, self._language)
        for (group, kind), own in spans.items():
            judge = _judge if kind == "phrases" else _judge_normal
            yield from judge(self.lexicon.rules[group], scopes, _longest(_plainest(own, scopes)))

    def _likely(self, text: str) -> list[int]:
        """Return the numbers of the phrases whose two rarest words begin words of the text, in order."""
        first, second = set(self._roots.get("", ())), set(self._also.get("", ()))
        for word in _WORD.findall(text):
            own = self._words.get(word)
            if own is None:
                starts = [word[:length] for length in range(1, len(word) + 1)]
                own = self._words[word] = (_begun(self._roots, starts), _begun(self._also, starts))
            if own[0] or own[1]:
                first |= own[0]
                second |= own[1]
        return sorted(first & second)


def _numbered(roots: Iterable[Iterable[str]]) -> dict[str, set[int]]:
    """Return the numbers of the phrases by what a word of them begins with."""
    out: dict[str, set[int]] = {}
    for number, own in enumerate(roots):
        for root in own:
            out.setdefault(root, set()).add(number)
    return out


def _begun(numbers: Mapping[str, set[int]], starts: Iterable[str]) -> frozenset[int]:
    return frozenset().union(*(numbers[start] for start in starts if start in numbers))


def _judge(rules: Rules, scopes: Scopes, spans: list[tuple[int, int, str]]) -> Iterable[_Found]:
    for start, end, words in spans:
        if not _belongs(rules, scopes, (start, end)):
            continue
        meaning = scopes.meaning((start, end))
        if meaning != "history":
            yield _Found(rules.finding, meaning, (start, end), f"{rules.finding}: {words}")


def _judge_normal(rules: Rules, scopes: Scopes, spans: list[tuple[int, int, str]]) -> Iterable[_Found]:
    for start, end, words in spans:
        if scopes.meaning((start, end)) == "present":
            yield _Found(rules.finding, "absent", (start, end), f"{rules.finding}: {words}")


def _belongs(rules: Rules, scopes: Scopes, span: tuple[int, int]) -> bool:
    """Say whether the words around a match allow it: nothing that rules it out, and what it needs.

    Of words that overlap the match itself a whole beats its part ("nodular consolidation"); elsewhere `unless` beats `none`.
    """
    start, end = scopes.clause(span)
    if rules.none and rules.none.search(scopes.text, start, end):
        against = [m.span() for m in rules.none.finditer(scopes.text, start, scopes.reach(span, end))]
        pardons = [m.span() for m in rules.unless.finditer(scopes.text, start, end)] if against and rules.unless else []
        if against and (not pardons or _outdone(against, pardons, span)):
            return False
    return rules.only is None or rules.only.search(scopes.text, start, end) is not None


def _outdone(against: list[tuple[int, int]], pardons: list[tuple[int, int]], span: tuple[int, int]) -> bool:
    """Say whether words against a match overlap it and no pardon does that is more than a part of them."""
    over = [s for s in against if touches(s, [span])]
    own = [s for s in pardons if touches(s, [span])]
    return any(all(a <= s[0] and s[1] <= b and s != (a, b) for s in own) for a, b in over)


def _plainest(found: list[tuple[int, int, str]], scopes: Scopes) -> list[tuple[int, int, str]]:
    """Return matches without those that reach over a comma for words that another match has within one breath.

    Of "calcification of the arch, no plaque in the aorta" the calcification is no part of a denied "arch, no plaque".
    """
    if len(found) < 2 or "," not in scopes.text:
        return found
    torn = ["," in scopes.text[start:end] for start, end, _ in found]
    whole = [(start, end) for (start, end, _), is_torn in zip(found, torn, strict=True) if not is_torn]
    return [one for one, is_torn in zip(found, torn, strict=True) if not (is_torn and touches((one[0], one[1]), whole))]


def _longest(found: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
    """Return matches in order; of two that overlap the longer one."""
    if len(found) < 2:
        return found
    out: list[tuple[int, int, str]] = []
    for start, end, words in sorted(found, key=lambda f: (f[0] - f[1], f[0], f[2])):
        if all(end <= a or b <= start for a, b, _ in out):
            out.append((start, end, words))
    return sorted(out)


def states(mentions: Iterable[Mention], findings: Iterable[str]) -> dict[str, str]:
    """Return the state of each finding in a report: present over uncertain over absent over not mentioned."""
    out = dict.fromkeys(findings, "not_mentioned")
    for mention in mentions:
        if RANK[mention.state] > RANK[out[mention.finding]]:
            out[mention.finding] = mention.state
    return out
