"""Whether a structure that no voxel carries should be there: what else the scan shows tells how far its field goes."""

from collections.abc import Collection
from typing import Final

import numpy as np

from espalier.masks.plausible import BOTH_LUNGS
from espalier.masks.tissue import holds_both_lungs, lung_left_out_ml
from espalier.masks.view import View

LUNG_MISSING_ML: Final = 60.0
CHEST_MM: Final = 140.0
"""Lungs on so long a stretch have the heart between them."""
BELOW_DOME_MM: Final = {"spleen": 110.0, "bowel": 110.0, "kidney_left": 190.0, "kidney_right": 190.0}
"""A field that goes so far below the top of the liver shows these."""
ABOVE_MM: Final = 40.0
SOME_ML: Final = 50.0
UPPER: Final = ("liver", "spleen", "kidney_left", "kidney_right")
MOST_OF_KIDNEY_ML: Final = 60.0
KIDNEY_BELOW: Final = {"liver": "kidney_right", "spleen": "kidney_left"}
"""A scan with this kidney and with lung shows what lies between."""
OTHER_KIDNEY: Final = {"kidney_left": "kidney_right", "kidney_right": "kidney_left"}


def is_expected(view: View, structure: str, wanted: Collection[str]) -> bool:
    """Tell whether a structure that the masks hold nothing of lies in the field, in a patient who was not operated on.

    Parameters
    ----------
    view
        The scan with its masks.
    structure
        The one that is not there.
    wanted
        All structures that the masks are to hold.
    """
    if not view.values:
        return True
    if structure in BOTH_LUNGS:
        return holds_both_lungs(wanted) and lung_left_out_ml(view) > LUNG_MISSING_ML
    if structure == "heart":
        return _shows_chest(view)
    if structure in KIDNEY_BELOW and _some(view, KIDNEY_BELOW[structure]) and _shows_lung(view):
        return True
    if structure == "liver":
        return any(_room_above_mm(view, name) >= ABOVE_MM for name in ("spleen", "kidney_right") if _some(view, name))
    if structure in OTHER_KIDNEY and _shows_most_of(view, OTHER_KIDNEY[structure]):
        return True
    if structure == "bowel" and sum(_some(view, name) for name in UPPER) >= 2:
        return True
    return _goes_below_dome(view, BELOW_DOME_MM.get(structure, float("inf")))


def _shows_most_of(view: View, kidney: str) -> bool:
    return _some(view, kidney) and (view.shown_ml(kidney) >= MOST_OF_KIDNEY_ML or not view.is_cut(view.of(kidney)))


def _goes_below_dome(view: View, mm: float) -> bool:
    return _some(view, "liver") and _room_above_mm(view, "liver") > 0 and _below_mm(view) >= mm


def _shows_chest(view: View) -> bool:
    labelled = view.of(*BOTH_LUNGS)
    lung = labelled if labelled.any() else view.lungs
    if not lung.any():
        return False
    low, high = view.extent_mm(lung)
    middle = round(float(np.average(np.arange(lung.shape[2]), weights=lung.sum(axis=(0, 1)))))
    both = min(float(lung[:, :, :middle].sum()), float(lung[:, :, middle:].sum())) * view.block_ml
    return high - low >= CHEST_MM and both >= SOME_ML


def _shows_lung(view: View) -> bool:
    return max(float(view.lungs.sum()), float(view.of(*BOTH_LUNGS).sum())) * view.block_ml >= SOME_ML


def _some(view: View, structure: str) -> bool:
    return view.shown_ml(structure) >= SOME_ML


def _room_above_mm(view: View, structure: str) -> float:
    return view.reach_mm[1] - view.extent_mm(view.of(structure))[1]


def _below_mm(view: View) -> float:
    return view.extent_mm(view.of("liver"))[1] - view.reach_mm[0]
