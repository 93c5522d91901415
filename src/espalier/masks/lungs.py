"""The lungs of a canonical volume by HU and shape, left and right told apart in world space."""

from typing import Final

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from espalier.geometry import Triple
from espalier.masks.consolidation import with_consolidations
from espalier.masks.gas import GAS_HU, without_bowel_gas
from espalier.masks.shapes import Mask, Pieces, closed, filled, grown, pieces, shrunk

LUNG_HU: Final = -400.0
MOST_GAS: Final = 0.2
"""A piece of which more lies deep in gas is gas in the bowel, unless it is of a lung's size."""

LUNG_ML: Final = 300.0
PIECE_ML: Final = 10.0
BOTH_SIDES: Final = 0.15
VESSELS_MM: Final = 6.0
"""Vessels and bronchi up to twice this wide are given to the lung around them."""

MAIN_SHARE: Final = 0.2
APART_MM: Final = 40.0
Hu = Float32[np.ndarray, "z y x"]


def find_lungs(hu: Hu, body: Mask, bone: Mask, airways: Mask, spacing_mm: Triple) -> tuple[Mask, Mask]:
    """Return the left and the right lung; both empty where the scan shows none.

    Parameters
    ----------
    hu
        On a canonical grid: the last axis runs to the patient's left, the first to the head.
    body
        The patient, lungs included.
    bone
        Gives the midline.
    airways
        Trachea and main bronchi, which are no lung.
    spacing_mm
        Of that grid.
    """
    middle = midline(body, bone)
    air = body & (hu < LUNG_HU) & ~grown(airways, 3.0, spacing_mm)
    lungs = without_bowel_gas(_without_gas(pieces(air), hu, spacing_mm), hu, body, spacing_mm)
    left, right = _sides(lungs, middle, spacing_mm)
    within = body & ~grown(airways, 1.0, spacing_mm)
    left, right = (_with_vessels(side, within, spacing_mm) for side in (left, right))
    solid, smooth = within & ~grown(bone, 2.0, spacing_mm), ndimage.uniform_filter(hu, 3)
    left, right = (
        with_consolidations(side, smooth, solid, middle, spacing_mm, outwards=outwards)
        for side, outwards in ((left, 1), (right, -1))
    )
    both = left & right
    return left & ~both, right & ~both


def midline(body: Mask, bone: Mask) -> float:
    """Return the index along x of the patient's midline: half the bone lies on either side, or half the body."""
    along = (bone if bone.sum() > 1000 else body).sum(axis=(0, 1)).cumsum()
    return float(np.searchsorted(along, along[-1] / 2))


def _without_gas(found: Pieces, hu: Hu, spacing_mm: Triple) -> Mask:
    """Return the pieces that are lung: of a lung's size, or cut by the upper face, or beside a lung; never mere gas."""
    ml = found.sizes * float(np.prod(spacing_mm)) / 1000
    large = found.order[ml >= PIECE_ML]
    if not len(large):
        return np.zeros(hu.shape, dtype=bool)
    ml = ml[: len(large)]
    gas = ndimage.mean(ndimage.uniform_filter(hu, 3) < GAS_HU, found.labels, large)
    at_top = np.isin(large, np.unique(found.labels[-2:]))
    low = [s[0].start for s in ndimage.find_objects(found.labels)]
    main = (ml >= LUNG_ML) & ((gas < MOST_GAS) | (ml > 3 * LUNG_ML))
    floor = min((low[n - 1] for n in large[main]), default=hu.shape[0])
    reach = floor + (hu.shape[0] - floor) / 3
    beside = (found.centres()[: len(large), 0] > reach) & (gas < MOST_GAS)
    keep = np.zeros(len(found.order) + 1, dtype=bool)
    keep[large[main | (at_top & (gas < MOST_GAS)) | beside]] = True
    return keep[found.labels]


def _sides(lungs: Mask, middle: float, spacing_mm: Triple) -> tuple[Mask, Mask]:
    parted = pieces(_parted(lungs, middle, spacing_mm))
    centres = parted.centres()[:, 2]
    main = parted.sizes >= MAIN_SHARE * parted.sizes.sum()
    if main.sum() == 2 and abs(centres[0] - centres[1]) * spacing_mm[2] > APART_MM:
        middle = float(centres[:2].mean())
    on_left = np.zeros(len(parted.order) + 1, dtype=bool)
    on_left[parted.order[centres > middle]] = True
    left = on_left[parted.labels]
    right = ~left & (parted.labels > 0)
    return _given_back(lungs, left, right, spacing_mm)


def _parted(lungs: Mask, middle: float, spacing_mm: Triple) -> Mask:
    """Return the lungs with pieces that span the midline cut in two where they are thinnest."""
    found = pieces(lungs)
    out = lungs.copy()
    for number in found.order:
        own = found.labels == number
        share = own[:, :, : round(middle)].sum() / own.sum()
        if min(share, 1 - share) > BOTH_SIDES:
            out[own] = _cut(own, middle, spacing_mm)[own]
    return out


def _cut(own: Mask, middle: float, spacing_mm: Triple) -> Mask:
    for radius_mm in (1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0):
        smaller = pieces(shrunk(own, radius_mm, spacing_mm))
        centres = smaller.centres()[:2, 2]
        if len(centres) == 2 and smaller.sizes[1] > BOTH_SIDES / 2 * own.sum() and np.ptp(np.sign(centres - middle)) == 2:
            return smaller.at_least(smaller.sizes[1])
    out = own.copy()
    out[:, :, round(middle)] = False
    return out


def _given_back(lungs: Mask, left: Mask, right: Mask, spacing_mm: Triple) -> tuple[Mask, Mask]:
    """Return both sides with what the cut took off, each voxel to the nearer side."""
    rest = lungs & ~left & ~right
    if not rest.any() or not left.any() or not right.any():
        return left | (rest if left.any() else False), right | (rest if not left.any() else False)
    nearer = ndimage.distance_transform_edt(~left, sampling=spacing_mm) < ndimage.distance_transform_edt(
        ~right, sampling=spacing_mm
    )
    return left | (rest & nearer), right | (rest & ~nearer)


def _with_vessels(side: Mask, within: Mask, spacing_mm: Triple) -> Mask:
    return filled(closed(side, max(VESSELS_MM, 1.5 * spacing_mm[2]), spacing_mm)) & within
