"""Checks of masks before anyone trains on them: volume, place, form, HU, fit to the scan, and a second source."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from espalier.cohort.volume import Volume
from espalier.masks.files import Masks
from espalier.masks.fit import is_misplaced
from espalier.masks.forms import all_end_flat, form_reasons
from espalier.masks.places import misplaced_sides, out_of_order
from espalier.masks.plausible import BOTH_LUNGS, LUNGS, volume_reasons
from espalier.masks.presence import is_expected
from espalier.masks.structures import PARTS
from espalier.masks.tissue import lung_reasons, tissue_reasons
from espalier.masks.verdicts import verdict_on
from espalier.masks.view import View, view_of

MOST_OUTSIDE: Final = 0.1
LEAST_AGREEMENT: Final = 0.7
"""Dice with a second source. Thresholds lose consolidated lung, so a sound pair of sources may well stand at 0.8."""


def check_masks(
    masks: Masks, volume: Volume, *, second: Masks | None = None, least_agreement: float = LEAST_AGREEMENT
) -> list[dict[str, Any]]:
    """Return a row per structure in the order of the values: `structure`, `volume_ml`, `verdict`, `reasons`, `agreement`.

    `espalier.masks.verdicts` says what each reason means, which of them taint the whole scan, and what the rows come to.

    Parameters
    ----------
    masks
        One scan's, with names.
    volume
        The scan itself.
    second
        Masks of the same scan from another source, as `threshold_masks` gives them; lobes are held against whole lungs.
    least_agreement
        Dice below which the sources disagree.
    """
    view = view_of(masks, volume)
    volumes_ml = _volumes_ml(masks)
    everywhere = _scan_reasons(masks, view, volumes_ml)
    sides, order = misplaced_sides(view, volumes_ml), out_of_order(view, volumes_ml)
    lungs = lung_reasons(view, volumes_ml)
    agreements = {} if second is None else _agreements(view, view_of(second, volume), volumes_ml)
    rows = []
    for structure, volume_ml in volumes_ml.items():
        agreement = agreements.get(structure)
        if volume_ml == 0:
            reasons = ["empty" if is_expected(view, structure, volumes_ml) else "not_shown"]
        else:
            reasons = list(dict.fromkeys([*everywhere, *_reasons(view, structure, volume_ml)]))
            reasons += [word for word, wrong in (("sides_swapped", sides), ("out_of_order", order)) if structure in wrong]
            reasons += lungs if structure in BOTH_LUNGS else []
            reasons += ["sources_disagree"] if agreement is not None and agreement < least_agreement else []
        row = {"structure": structure, "volume_ml": round(volume_ml, 3), "verdict": verdict_on(reasons)}
        rows.append(row | {"reasons": reasons, "agreement": agreement})
    return rows


def _reasons(view: View, structure: str, volume_ml: float) -> list[str]:
    mask = view.of(structure)
    reasons = volume_reasons(structure, volume_ml, cut=not mask.any() or view.is_cut(mask))
    return reasons + tissue_reasons(view, structure) + form_reasons(view, structure)


def _scan_reasons(masks: Masks, view: View, volumes_ml: Mapping[str, float]) -> list[str]:
    """Return what is wrong with all masks of the scan together."""
    reasons = []
    inside = float((view.labels > 0).sum()) * view.block_ml
    total = sum(volumes_ml.values())
    beyond = total > 0 and inside < (1 - MOST_OUTSIDE) * total and _reaches_beyond(masks, view)
    if beyond:
        reasons.append("outside_scan")
    if total > 0 and is_misplaced(view):
        reasons.append("misplaced")
    if all_end_flat(view):
        reasons.append("cut_flat")
    return reasons


def _reaches_beyond(masks: Masks, view: View) -> bool:
    """Tell whether some labelled voxel lies more than a block outside the scan, rounding aside."""
    index = np.argwhere(masks.voxels)
    to_block = np.linalg.inv(view.affine) @ masks.affine
    ends = np.array([index.min(axis=0), index.max(axis=0)])
    corners = np.array([[ends[i, 0], ends[j, 1], ends[k, 2], 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    places = (corners @ to_block.T)[:, :3]
    return bool((places < -1.5).any() or (places > np.asarray(view.labels.shape) + 0.5).any())


def _volumes_ml(masks: Masks) -> dict[str, float]:
    counts = np.zeros(256, dtype=np.int64)
    for plane in masks.voxels:
        counts += np.bincount(plane.ravel(), minlength=256)
    voxel_ml = abs(float(np.linalg.det(masks.affine[:3, :3]))) / 1000
    return {name: float(counts[value]) * voxel_ml for value, name in sorted(masks.names.items())}


def _agreements(one: View, other: View, wanted: Mapping[str, float]) -> dict[str, float]:
    """Return Dice with the second source for each structure that it holds, or holds together with others."""
    wholes = {"lung_left": LUNGS["left"], "lung_right": LUNGS["right"]}
    found: dict[str, float] = {}
    for name in other.values:
        whole = wholes.get(name, (name, *(part for parts in PARTS.get(name, ()) for part in parts)))
        own = [part for part in whole if part in wanted]
        mine, theirs = one.of(*own), other.of(name)
        if own:
            dice = 2 * float((mine & theirs).sum()) / float(mine.sum() + theirs.sum())
            found |= dict.fromkeys(own, round(dice, 4))
    return found
