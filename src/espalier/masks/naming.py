"""Names of structures as people and programs write them, compared without capitals, marks and the order of words."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from espalier.masks.structures import PARTS, values_of

SIDES: Final[Mapping[str, str]] = {"l": "left", "lt": "left", "r": "right", "rt": "right"}
"""Sides as planning systems write them (AAPM TG-263: `Lung_L`)."""
FILLERS: Final = frozenset({"of", "the", "and", "structure"})
"""Words that codes hold and names do not: "Upper lobe of left lung"."""
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MARKS: Final = re.compile(r"[\W_]+")


def plain_name(name: str) -> str:
    """Return a name in lower case with `_` between its words: `Left Kidney` and `left-kidney` become `left_kidney`."""
    return _MARKS.sub("_", _CAMEL.sub("_", name)).strip("_").lower()


def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name in one order, sides written out: those of `Kidney_L` are those of `kidney_left`."""
    return tuple(sorted(SIDES.get(word, word) for word in plain_name(name).split("_") if word and word not in FILLERS))


def parts_of(structure: str) -> tuple[str, ...]:
    """Return every name under which a structure, or a part of it, may stand in a file."""
    return (structure, *(name for parts in PARTS.get(structure, ()) for name in parts))


def values_named(structure: str, names: Mapping[int, str]) -> tuple[int, ...]:
    """Return the mask values that together are `structure`, as itself or as its parts; empty where it is absent.

    Parameters
    ----------
    structure
        The wanted structure.
    names
        What each value is called, by whomever. A name that is equal but for capitals and marks goes before one that has
        its words in another order.
    """
    plain = plain_name(structure)
    found = values_of(plain, {value: plain_name(name) for value, name in names.items()})
    if found:
        return found
    known = {words_of(name): name for name in reversed(parts_of(plain))}
    return values_of(plain, {value: known.get(words_of(name), "") for value, name in names.items()})


def closest(structure: str, names: Sequence[str]) -> str:
    """Return the names that look most like the wanted one, for a message: `heart, aorta`; "" where none does."""
    plain = {plain_name(name): name for name in names}
    found = get_close_matches(plain_name(structure), plain, n=3, cutoff=0.6)
    own = set(words_of(structure))
    shared = sorted((n for n in plain if n not in found), key=lambda n: -len(own & set(words_of(n))))
    return ", ".join(plain[n] for n in [*found, *(n for n in shared if own & set(words_of(n)))][:3])
