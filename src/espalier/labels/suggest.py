"""Phrasings near a finding's words that no rule matched, for the lexicon's author to look at.

What comes out are short runs of words that stand in several different reports: no number, no whole sentence, nothing that
only one report says. A patient may have several reports, so words that may be names are left out too: those that are never
written small, unless many reports have them. What is left is for the screen, never for a log.
"""

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from espalier.labels.lexicon import Lexicon
from espalier.labels.reading import Reading
from espalier.labels.text import SILENT_SECTIONS, plain, sentences

FEWEST_REPORTS: Final = 3
Roots = dict[str, set[str]]
_LENGTHS: Final = (2, 3, 4)
_SHORTEST_ROOT: Final = 4
_LEAST_SHARE: Final = 0.1
_PART: Final = 0.8
_NO_NAME_FROM: Final = 20
"""Reports; fewer may be those of one patient."""
_WORD: Final = re.compile(r"(?<!\w)[^\W\d_][^\W\d_'-]*(?:['-][^\W\d_]+)*(?!\w)")
_JOINED: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Words near a finding that led to nothing, and how many different reports have them."""

    finding: str
    words: str
    reports: int


def suggest(
    texts: Sequence[str], readings: Sequence[Reading], lexicon: Lexicon, *, top: int = 50, fewest: int = FEWEST_REPORTS
) -> list[Suggestion]:
    """Return the most frequent runs of two to four words around a root word of a finding that is not mentioned.

    Parameters
    ----------
    texts, readings
        Reports, and what was read in each with `lexicon`.
    lexicon
        The lexicon whose words are looked for.
    top
        How many to return at most.
    fewest
        The least number of different reports that must have the words; below 3 it counts as 3.

    Raises
    ------
    ValueError
        Where `texts` and `readings` differ in number.
    """
    pairs = list(dict(zip(texts, readings, strict=True)).items())
    roots = _telling(pairs, _roots(lexicon))
    ordinary = _ordinary([text for text, _ in pairs])
    seen: dict[tuple[str, str], list[float]] = {}
    for text, reading in pairs:
        for key, share in _runs(text, reading, lexicon, roots).items():
            if all(word in ordinary or _in(word, roots) for word in key[1].split()):
                seen.setdefault(key, []).append(share)
    least = max(fewest, FEWEST_REPORTS)
    frequent = {key: shares for key, shares in seen.items() if len(shares) >= least}
    counts = {key: len(shares) for key, shares in frequent.items()}
    whole = [key for key in counts if not _is_part(key, counts)]
    ranked = sorted(whole, key=lambda key: (-sum(frequent[key]), -len(key[1]), key))[:top]
    return [Suggestion(*key, counts[key]) for key in ranked]


def _roots(lexicon: Lexicon) -> Roots:
    """Return the findings by the beginnings of words that their phrases turn on."""
    out: Roots = {}
    for rules in lexicon.rules:
        for phrase in rules.phrases:
            for root in phrase.roots:
                if len(root) >= _SHORTEST_ROOT:
                    out.setdefault(root, set()).add(rules.finding)
    return out


def _telling(pairs: Sequence[tuple[str, Reading]], roots: Roots) -> dict[str, dict[str, float]]:
    """Return how tightly each root is bound to its findings: of the reports that have it, the share that mention them by it.

    Roots that mostly stand in words about something else ("bronchi are open") are left out.
    """
    having: Counter[str] = Counter()
    hits: Counter[tuple[str, str]] = Counter()
    for text, reading in pairs:
        low = plain(text)
        having.update({root for word in set(_WORD.findall(low)) for root in _in(word, roots)})
        hits.update(
            {
                (root, mention.finding)
                for mention in reading.mentions
                for word in _WORD.findall(low[mention.start : mention.end])
                for root in _in(word, roots)
            }
        )
    shares = {root: {f: (hits[root, f] + 1) / (having[root] + 2) for f in findings} for root, findings in roots.items()}
    return {root: {f: share for f, share in own.items() if share >= _LEAST_SHARE} for root, own in shares.items()}


def _ordinary(texts: Sequence[str]) -> set[str]:
    """Return the words that are no name: written small somewhere, or in many reports."""
    having: Counter[str] = Counter()
    small: set[str] = set()
    for text in texts:
        found = list(_WORD.finditer(plain(text)))
        having.update({word.group() for word in found})
        small.update(word.group() for word in found if text[word.start()].islower())
    return small | {word for word, reports in having.items() if reports >= _NO_NAME_FROM}


def _in(word: str, roots: Container[str]) -> list[str]:
    return [word[:length] for length in range(_SHORTEST_ROOT, len(word) + 1) if word[:length] in roots]


def _runs(
    text: str, reading: Reading, lexicon: Lexicon, roots: Mapping[str, Mapping[str, float]]
) -> dict[tuple[str, str], float]:
    """Return (finding, words) around the roots of findings that the report does not mention, with the root's share."""
    low = plain(text)
    taken = [(mention.start, mention.end) for mention in reading.mentions]
    out: dict[tuple[str, str], float] = {}
    for sentence in sentences(text, lexicon.language):
        if sentence.section in SILENT_SECTIONS:
            continue
        words = list(_WORD.finditer(low, sentence.start, sentence.end))
        for place, word in enumerate(words):
            shares = {f: share for root in _in(word.group(), roots) for f, share in roots[root].items()}
            silent = [f for f in shares if reading.states.get(f) == "not_mentioned"]
            if silent and not any(start < word.end() and word.start() < end for start, end in taken):
                out |= {(f, run): shares[f] for f in silent for run in _around(low, words, place)}
    return out


def _around(text: str, words: Sequence[re.Match[str]], place: int) -> Iterable[str]:
    """Yield the runs of words, with only blanks between them, that hold the word at `place`."""
    for length in _LENGTHS:
        for first in range(max(0, place - length + 1), min(place, len(words) - length) + 1):
            run = words[first : first + length]
            if all(_JOINED.fullmatch(text, a.end(), b.start()) for a, b in pairwise(run)):
                yield " ".join(word.group() for word in run)


def _is_part(key: tuple[str, str], counts: Mapping[tuple[str, str], int]) -> bool:
    """Say whether a longer run that nearly as many reports have says it all."""
    finding, words = key
    return any(
        of == finding and n >= _PART * counts[key] and other != words and f" {words} " in f" {other} "
        for (of, other), n in counts.items()
    )
