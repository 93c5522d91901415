"""Left and right, up and down, front and back: where structures stand to each other in the world."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from espalier.masks.plausible import BOTH_LUNGS
from espalier.masks.view import View

LEFT_OF, ABOVE, BEHIND = (0, 1), (2, 1), (1, 1)
RIGHT_OF, BELOW, BEFORE = (0, -1), (2, -1), (1, -1)
Direction = tuple[int, int]
"""World axis (x, y, z) and sign."""

VESSELS: Final = frozenset({"artery", "vein", "vena"})
"""Vessels wind and cross the midline."""
LEAST_ML: Final = 5.0
"""Less of a structure has no place to speak of: an islet of a wrong label, or a tip that the field of view leaves."""

ORDER: Final[tuple[tuple[str, tuple[Direction, ...], str], ...]] = (
    ("lung_upper_lobe_left", (ABOVE, BEFORE), "lung_lower_lobe_left"),
    ("lung_upper_lobe_right", (ABOVE, BEFORE), "lung_lower_lobe_right"),
    ("lung_upper_lobe_right", (ABOVE, BEHIND), "lung_middle_lobe_right"),
    ("lung_middle_lobe_right", (BEFORE, ABOVE), "lung_lower_lobe_right"),
    ("lungs", (ABOVE,), "liver"),
    ("lungs", (ABOVE,), "spleen"),
    ("lungs", (ABOVE,), "kidney_left"),
    ("lungs", (ABOVE,), "kidney_right"),
    ("lungs", (ABOVE,), "urinary_bladder"),
    ("heart", (ABOVE,), "liver"),
    ("heart", (ABOVE,), "spleen"),
    ("heart", (ABOVE,), "kidney_left"),
    ("heart", (ABOVE,), "kidney_right"),
    ("heart", (ABOVE, BEFORE), "bowel"),
    ("heart", (BEFORE, BELOW), "trachea"),
    ("spleen", (LEFT_OF,), "liver"),
    ("stomach", (LEFT_OF,), "liver"),
    ("spleen", (LEFT_OF, BEHIND), "bowel"),
    ("spleen", (LEFT_OF,), "kidney_right"),
    ("liver", (RIGHT_OF,), "kidney_left"),
    ("liver", (RIGHT_OF, ABOVE), "bowel"),
    ("liver", (ABOVE, RIGHT_OF), "kidney_right"),
    ("liver", (BEFORE,), "kidney_right"),
    ("spleen", (ABOVE, LEFT_OF), "kidney_left"),
    ("bowel", (BEFORE,), "kidney_left"),
    ("bowel", (BEFORE,), "kidney_right"),
    ("liver", (ABOVE,), "urinary_bladder"),
    ("pancreas", (ABOVE,), "urinary_bladder"),
)
"""The first stands so to the second; where several directions are named it is wrong only when none of them holds."""


def misplaced_sides(view: View, volumes_ml: Mapping[str, float]) -> set[str]:
    """Return the structures whose left and right parts stand the wrong way round; world x runs to the patient's left.

    Parameters
    ----------
    view
        The scan with its masks.
    volumes_ml
        Of the structures; the larger parts count for more.
    """
    wrong: set[str] = set()
    for left, right in _pairs(view, volumes_ml):
        # One by one: two lobes of opposite sides that are exchanged leave the middle of each side where it is.
        wrong |= {n for one in left for other in right if view.centres[one][0] <= view.centres[other][0] for n in (one, other)}
    return wrong


def out_of_order(view: View, volumes_ml: Mapping[str, float]) -> set[str]:
    """Return the structures that stand to each other as they do in nobody."""
    wrong: set[str] = set()
    for first, directions, second in ORDER:
        one, other = (_present(view, volumes_ml, name) for name in (first, second))
        if one and other:
            apart = _middle(view, volumes_ml, one) - _middle(view, volumes_ml, other)
            if all(sign * apart[axis] <= 0 for axis, sign in directions):
                wrong |= {*one, *other}
    return wrong


def _pairs(view: View, volumes_ml: Mapping[str, float]) -> Iterator[tuple[list[str], list[str]]]:
    sides: dict[str, dict[str, list[str]]] = {}
    for name in view.values:
        words = name.split("_")
        if VESSELS & set(words):
            continue
        for side in {"left", "right"} & set(words):
            stem = "lung" if name in BOTH_LUNGS else "_".join(w for w in words if w != side)
            if volumes_ml[name] >= LEAST_ML:
                sides.setdefault(stem, {"left": [], "right": []})[side].append(name)
    yield from ((pair["left"], pair["right"]) for pair in sides.values() if pair["left"] and pair["right"])


def _present(view: View, volumes_ml: Mapping[str, float], name: str) -> list[str]:
    wanted = BOTH_LUNGS if name == "lungs" else (name,)
    return [one for one in wanted if one in view.values and volumes_ml[one] >= LEAST_ML]


def _middle(view: View, volumes_ml: Mapping[str, float], names: list[str]) -> np.ndarray:
    return np.average([view.centres[n] for n in names], axis=0, weights=[volumes_ml[n] for n in names])
