"""The anatomy by name: named sets, which parts of other vocabularies make one structure, and where findings belong."""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

STRUCTURES: Final[Mapping[str, tuple[str, ...]]] = {
    "chest": (
        "lung_upper_lobe_left",
        "lung_lower_lobe_left",
        "lung_upper_lobe_right",
        "lung_middle_lobe_right",
        "lung_lower_lobe_right",
        "heart",
    ),
    "abdomen": ("liver", "spleen", "kidney_left", "kidney_right", "bowel"),
    "threshold": ("lung_left", "lung_right", "body", "bone", "airways", "mediastinum"),
}
"""Named sets: the paper's chest and abdomen (Li et al. 2025, masks) and what thresholds find without weights."""

PARTS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "bowel": (("esophagus", "stomach", "duodenum", "small_bowel", "colon"),),
    "heart": (
        ("heart_myocardium", "heart_atrium_left", "heart_ventricle_left", "heart_atrium_right", "heart_ventricle_right"),
    ),
    "lung_left": (("lung_upper_lobe_left", "lung_lower_lobe_left"),),
    "lung_right": (("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),),
    "body": (("body_trunc", "body_extremities"),),
}
"""Structures that a segmenter may give in parts (names of TotalSegmentator 1 and 2); each tuple together is the whole."""

LARGEST_VALUE: Final = 255


def structure_names(option: str | Sequence[str]) -> tuple[str, ...]:
    """Return the structures that a setting means, in the order of their mask values (index + 1; 0 is background).

    Raises
    ------
    ValueError
        For an unknown set, an empty or repeated name, or more structures than a uint8 mask can hold.
    """
    if isinstance(option, str):
        if option not in STRUCTURES:
            raise ValueError(f"structures is {option!r}: known sets are {', '.join(STRUCTURES)}; or list the names")
        return STRUCTURES[option]
    names = tuple(option)
    if not names:
        raise ValueError("structures is empty: name at least one")
    if len(names) > LARGEST_VALUE:
        raise ValueError(f"structures holds {len(names)} names: a mask holds at most {LARGEST_VALUE}")
    if odd := [n for n in names if not n.replace("_", "a").isalnum() or n != n.strip()]:
        raise ValueError(f"structures holds {odd[0]!r}: only letters, digits and _ are allowed")
    if repeated := [n for n in names if names.count(n) > 1]:
        raise ValueError(f"structures holds {repeated[0]} twice")
    return names


def values_of(structure: str, names: Mapping[int, str]) -> tuple[int, ...]:
    """Return the mask values that together are `structure`, under its own name or as its parts; empty where it is absent.

    Parameters
    ----------
    structure
        The wanted structure.
    names
        What a segmenter calls its values.
    """
    own = tuple(value for value, name in names.items() if name == structure)
    if own:
        return own
    for parts in PARTS.get(structure, ()):
        found = tuple(value for value, name in names.items() if name in parts)
        if found:
            return found
    return ()


def finding_structures(findings: str) -> Mapping[str, tuple[str, ...]]:
    """Return for each finding of a set (`ct-rate`, `rad-chestct`, `ratic`) its structures; empty where it has no one place.

    Raises
    ------
    ValueError
        For a set that `support.toml` does not hold.
    """
    tables = _support()
    if findings == "groups" or findings not in tables:
        raise ValueError(f"findings is {findings!r}: known sets are {', '.join(k for k in tables if k != 'groups')}")
    groups: Mapping[str, Sequence[str]] = tables["groups"]
    return {finding: _spread(places, groups) for finding, places in tables[findings].items()}


def _spread(places: Sequence[str], groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for place in places for name in groups.get(place, (place,))))


@cache
def _support() -> dict[str, Any]:
    return tomllib.loads((files("espalier.masks") / "support.toml").read_text(encoding="utf-8"))
