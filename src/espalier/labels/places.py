"""Which structures a word such as "laceration" or "grade III" belongs to in a sentence."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from espalier.labels.phrases import one_of

Span = tuple[int, int]
OTHER: Final = "other"
_CLOSE: Final = re.compile(r"[\s\w%-]{0,32}")
_PARTED: Final = re.compile(
    r"\b(?:and|or|nor|with|without|no|of|in|is|are|was|were|has|have|shows?|from|to|involving|plus|but|there|demonstrates?)\b"
)
_STRETCH: Final = re.compile(r"[,;:()]|\b(?:with|but|while|whereas|without)\b|\band (?:an? )?(?:\w+ )?grade\b")
_COORDINATED: Final = re.compile(r"\s*(?:[,/&]|\b(?:and|or|nor|both|as well as|the|left|right|bilateral|either|of|in)\b|\s)+")


@dataclass(frozen=True)
class Anatomy:
    """The words for structures, and for anatomy that is none of them.

    Parameters
    ----------
    words
        Phrases per structure; `other` holds the rest.
    away
        Words after which a structure is only a landmark ("abutting", "adjacent to").
    """

    words: Mapping[str, tuple[str, ...]]
    away: tuple[str, ...]

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return _needed([phrase for phrases in self.words.values() for phrase in phrases])

    @cached_property
    def _each(self) -> dict[str, re.Pattern[str]]:
        return {name: _needed(phrases) for name, phrases in self.words.items()}

    @cached_property
    def _away(self) -> re.Pattern[str]:
        return _needed(self.away)

    def found(self, text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int, str]]:
        """Return (start, end, structure) of all anatomy between two places of a plain text."""
        stop = len(text) if end is None else end
        return [(*m.span(), self._named(m.group())) for m in self._any.finditer(text, start, stop)]

    def _named(self, words: str) -> str:
        return next((name for name, pattern in self._each.items() if pattern.fullmatch(words)), OTHER)

    def of(self, text: str, term: Span, clause: Span) -> tuple[str, ...] | None:
        """Return the structures that the term belongs to; None where its clause names no anatomy at all.

        A structure right before it wins ("splenic laceration"), then the stretch behind it ("laceration of the spleen"),
        then the nearest before it, then the nearest behind. Structures joined by commas and "and" go together.
        """
        places = self.found(text, *clause)
        if not places:
            return None
        inside = [p for p in places if p[0] < term[1] and term[0] < p[1]]
        before = [p for p in places if p[1] <= term[0]]
        behind = [p for p in places if p[0] >= term[1]]
        if inside:
            return self._joined(text, places, inside[0])
        if before and self._close(text[before[-1][1] : term[0]]):
            return self._joined(text, places, before[-1])
        stretch = _STRETCH.search(text, term[1], clause[1])
        reach = stretch.start() if stretch else clause[1]
        near = [p for p in behind if p[0] < reach and not self._away.search(text, term[1], p[0])]
        if near:
            return self._joined(text, places, near[0])
        if before:
            return self._joined(text, places, before[-1])
        if self._away.search(text, term[1], behind[0][0]):
            return (OTHER,)
        return self._joined(text, places, behind[0])

    @staticmethod
    def _close(between: str) -> bool:
        return _CLOSE.fullmatch(between) is not None and not _PARTED.search(between)

    @staticmethod
    def _joined(text: str, places: Sequence[tuple[int, int, str]], one: tuple[int, int, str]) -> tuple[str, ...]:
        index = places.index(one)
        first = last = index
        while first > 0 and _COORDINATED.fullmatch(text, places[first - 1][1], places[first][0]):
            first -= 1
        while last + 1 < len(places) and _COORDINATED.fullmatch(text, places[last][1], places[last + 1][0]):
            last += 1
        return tuple(dict.fromkeys(name for _, _, name in places[first : last + 1]))


def _needed(phrases: Sequence[str]) -> re.Pattern[str]:
    return one_of(phrases) or re.compile(r"(?!)")
