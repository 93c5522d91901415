"""The form of masks: cut off flat inside the scan, full of holes, in crumbs."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy import ndimage

from espalier.geometry import bounding_box
from espalier.masks.plausible import BOTH_LUNGS
from espalier.masks.shapes import Mask
from espalier.masks.view import View

COMPACT: Final = frozenset({*BOTH_LUNGS, "heart", "liver", "spleen", "kidney_left", "kidney_right", "urinary_bladder", "brain"})
"""These end rounded; vessels, muscles and bones end where an atlas says, which may be flat."""

FLAT: Final = 0.4
"""Share of the largest cross-section that ends at one plane, with the same tissue going on behind it."""
FLAT_LUNG: Final = 0.22
"""Lung ends where air ends: little of it ends beside air that no mask holds."""
FLAT_HERE: Final = {
    **dict.fromkeys(BOTH_LUNGS, FLAT_LUNG),
    "heart": 0.5,
    "bowel": 0.3,
    "spleen": 0.45,
    "kidney_left": 0.5,
    "kidney_right": 0.5,
}
"""Small ones end within few blocks; the heart lies broadly on the diaphragm, and without contrast on a liver of its own HU."""
THIN_MM, PER_MM = 4.0, 0.02
"""Slices thicker than the first add so much to the share for every mm."""
TOGETHER: Final = 3
SAME_HU: Final = 80.0
LUNG_HU: Final = -400.0
HOLES: Final = 0.15
CRUMB_ML: Final = 1.0
CRUMBS: Final = 0.3
LEAST_ML: Final = 10.0
"""Smaller masks have no form in blocks of 4 mm."""


def form_reasons(view: View, structure: str) -> list[str]:
    """Return `cut_flat`, `holes` and `fragments` as they apply to a structure that is there."""
    if view.shown_ml(structure) < LEAST_ML:
        return []
    mask = view.of(structure)
    reasons = []
    if flatness(view, structure) > FLAT_HERE.get(structure, FLAT) + _thickness(view):
        reasons.append("cut_flat")
    if structure != "bowel" and holes(view, mask) > HOLES:
        reasons.append("holes")
    if crumbs(view, mask) > CRUMBS:
        reasons.append("fragments")
    return reasons


def flatness(view: View, structure: str) -> float:
    """Return the largest share of a structure's widest cross-section that ends at one plane within unchanged tissue.

    Only the compact structures and the bowel are looked at; the edges of the field are no ends.
    """
    if structure not in COMPACT and structure != "bowel":
        return 0.0
    return _largest_end(view, view.of(structure), lung=structure in BOTH_LUNGS)


def all_end_flat(view: View) -> bool:
    """Tell whether three structures or more, taken together, end at one plane within the tissue that they are made of."""
    return len(view.values) >= TOGETHER and _largest_end(view, view.labels > 0, lung=False) > FLAT + _thickness(view)


def _thickness(view: View) -> float:
    return PER_MM * max(0.0, max(view.spacing_mm) - THIN_MM)


def _largest_end(view: View, own: Mask, *, lung: bool) -> float:
    bare = (view.labels == 0) & view.field
    soft = np.clip(view.hu, -500, 300)
    largest = 0.0
    for axis in range(3):
        areas = own.sum(axis=tuple(a for a in range(3) if a != axis))
        for inner, outer in _neighbours(axis):
            ends = own[inner] & bare[outer] & (np.abs(soft[inner] - soft[outer]) < SAME_HU)
            if lung:
                # Consolidated lung may well end flat, on the level of an effusion of the same HU.
                ends &= view.hu[outer] < LUNG_HU
            lost = ends.sum(axis=tuple(a for a in range(3) if a != axis))
            largest = max(largest, float(lost.max(initial=0) / areas.max()))
    return largest


def holes(view: View, mask: Mask) -> float:
    """Return the share of a mask's filled volume that is background shut in by it."""
    box = bounding_box(mask)
    filled = ndimage.binary_fill_holes(mask[box])
    return float((filled & (view.labels[box] == 0)).sum() / filled.sum())


def crumbs(view: View, mask: Mask) -> float:
    """Return the share of a mask in pieces below 1 ml."""
    labels, count = ndimage.label(mask[bounding_box(mask)], np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return float(sizes[sizes * view.block_ml < CRUMB_ML].sum() / sizes.sum())


def _neighbours(axis: int) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    lower, upper = [slice(None)] * 3, [slice(None)] * 3
    lower[axis], upper[axis] = slice(None, -1), slice(1, None)
    yield tuple(lower), tuple(upper)
    yield tuple(upper), tuple(lower)
