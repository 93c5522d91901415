"""Masks against HU: lung is air, the heart is not, bone is dense, and nothing lies in the air around the patient."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from scipy import ndimage

from espalier.masks.plausible import BOTH_LUNGS
from espalier.masks.view import View

AIR_HU: Final = -300.0
LEAST_AIR: Final = 0.2
"""Of all lung together; even in severe consolidation of both lungs more of it is aerated."""
MOST_AIR: Final = 0.15
"""Of a solid structure: breathing and blocks on its edge, not more."""
MOST_OUTSIDE: Final = 0.2
MOST_LEFT_OUT: Final = 0.025
MOST_LEFT_OUT_ML: Final = 100.0
"""The airways, which are no lung, may be left out, and more in thick slices."""
LEAST_ML: Final = 10.0
SOLID: Final = frozenset({"heart", "liver", "spleen", "kidney_left", "kidney_right", "pancreas", "aorta", "prostate", "brain"})
SOLID_HU: Final = (-80.0, 900.0)
"""Of the median: a fatty liver may lie below water, blood with contrast far above."""
BONE_HU: Final = 90.0
"""Of the 90th percentile: marrow may be fat, the bone around it is dense at any age."""
BONES: Final = ("bone", "vertebrae", "rib", "hip", "sacrum", "skull", "sternum")
GAS_HU: Final = -970.0
LUNG_PIECE_ML: Final = 150.0
"""A piece of lung that no mask holds and that touches none must have this size: less may be gas in the bowel."""


def tissue_reasons(view: View, structure: str) -> list[str]:
    """Return `air_inside`, `wrong_hu` and `outside_body` as they apply to a structure that is there."""
    if view.shown_ml(structure) < LEAST_ML:
        return []
    mask = view.of(structure)
    hu = view.hu[mask]
    reasons = []
    if structure in SOLID and np.mean(hu < AIR_HU) > MOST_AIR:
        reasons.append("air_inside")
    if structure in SOLID and not SOLID_HU[0] <= np.median(hu) <= SOLID_HU[1]:
        reasons.append("wrong_hu")
    if structure.startswith(BONES) and np.percentile(hu, 90) < BONE_HU:
        reasons.append("wrong_hu")
    if structure not in BOTH_LUNGS and np.mean(~view.body[mask] & (hu < AIR_HU)) > MOST_OUTSIDE:
        reasons.append("outside_body")
    return reasons


def lung_reasons(view: View, wanted: Iterable[str]) -> list[str]:
    """Return what is wrong with all lung together: `not_air`, or `lung_left_out` where the scan shows lung beside it.

    Parameters
    ----------
    view
        The scan with its masks.
    wanted
        All structures that the masks are to hold; `lung_left_out` needs both lungs, whole or in all their lobes.
    """
    lung = view.of(*BOTH_LUNGS)
    if lung.sum() * view.block_ml < LEAST_ML:
        return []
    reasons = ["not_air"] if np.mean(view.hu[lung] < AIR_HU) < LEAST_AIR else []
    if holds_both_lungs(wanted):
        left_out = lung_left_out_ml(view)
        if left_out > max(MOST_LEFT_OUT_ML, MOST_LEFT_OUT * lung.sum() * view.block_ml):
            reasons.append("lung_left_out")
    return reasons


def lung_left_out_ml(view: View) -> float:
    """Return how much of what thresholds take for lung no mask holds, but for slivers along the masks' edges.

    What lies below the lowest lung of the masks, or apart from them and small, may be gas in the bowel and does not count.
    """
    # A pneumothorax, as gas in the bowel, is darker than any lung that blood still reaches.
    shown = view.lungs & (view.labels == 0) & (view.hu > GAS_HU)
    lung = view.of(*BOTH_LUNGS)
    if lung.any():
        shown[: int(np.flatnonzero(lung.any(axis=(1, 2)))[0])] = False
    labels, count = ndimage.label(ndimage.binary_opening(shown))
    sizes_ml = np.bincount(labels.ravel(), minlength=count + 1) * view.block_ml
    counted = sizes_ml >= LUNG_PIECE_ML
    counted[np.unique(labels[ndimage.binary_dilation(lung)])] = True
    return float(sizes_ml[1:][counted[1:]].sum())


def holds_both_lungs(structures: Iterable[str]) -> bool:
    """Tell whether structures name both lungs, each whole or in all its lobes."""
    names = set(structures)
    left = {"lung_left"} <= names or {"lung_upper_lobe_left", "lung_lower_lobe_left"} <= names
    lobes = {"lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"}
    return left and ({"lung_right"} <= names or lobes <= names)
