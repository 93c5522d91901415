"""Gas in stomach and bowel, which may look like lung and touch it through the thin dome of the diaphragm."""

from typing import Final

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from espalier.geometry import Triple
from espalier.masks.shapes import Mask, grown, opened, pieces

GAS_HU: Final = -940.0
"""Means of 3×3×3 voxels of gas lie below; those of lung above, but for emphysema."""

PURE_GAS_HU: Final = -985.0
LARGEST_ML: Final = 900.0
"""More than this is bowel only where its median is that of pure gas; else it is an emphysematous lung."""

SMALLEST_ML: Final = 0.5
WALL_HU: Final = -300.0
MOST_LUNG: Final = 0.45
"""Gas with a larger share of lung around it, between 8 and 12 mm away, is a bulla or a bronchus."""

RIM_MM: Final = 8.0
LEAST_LUNG_ML: Final = 10.0
Hu = Float32[np.ndarray, "z y x"]


def without_bowel_gas(air: Mask, hu: Hu, body: Mask, spacing_mm: Triple) -> Mask:
    """Return the air of the body less that in stomach and bowel.

    Parameters
    ----------
    air
        Lung and gas alike.
    hu
        On a canonical grid.
    body
        The patient, lungs included.
    spacing_mm
        Of that grid.
    """
    gas = find_bowel_gas(hu, body, spacing_mm)
    out = air.copy()
    if not gas.any():
        return out
    # Only a piece of air that holds both is parted: lung close to the stomach is none of its gas.
    found, around = pieces(air), grown(gas, RIM_MM, spacing_mm)
    lung = opened(air & ~around, 3.0, spacing_mm)
    boxes = ndimage.find_objects(found.labels)
    for number in np.unique(found.labels[gas & air]):
        box = boxes[number - 1]
        own = found.labels[box] == number
        out[box] &= ~_gas_of(own, gas[box] & own, lung[box] & own, around[box], spacing_mm)
    return out


def _gas_of(own: Mask, gas: Mask, lung: Mask, around: Mask, spacing_mm: Triple) -> Mask:
    """Return what of one piece of air is gas: all of it where it holds no lung, else what is nearer to the gas."""
    if lung.sum() * float(np.prod(spacing_mm)) / 1000 < LEAST_LUNG_ML:
        return own
    to_gas = ndimage.distance_transform_edt(~gas, sampling=spacing_mm)
    to_lung = ndimage.distance_transform_edt(~lung, sampling=spacing_mm)
    return np.asarray(own & around & (to_gas < to_lung))


def find_bowel_gas(hu: Hu, body: Mask, spacing_mm: Triple) -> Mask:
    """Return gas that soft tissue surrounds: stomach and bowel, and the trachea too."""
    mean = ndimage.uniform_filter(hu, 3)
    found = pieces(body & (mean < GAS_HU))
    out = np.zeros(hu.shape, dtype=bool)
    ml = found.sizes * float(np.prod(spacing_mm)) / 1000
    boxes = ndimage.find_objects(found.labels)
    for number in found.order[ml >= SMALLEST_ML]:
        box = _around(boxes[number - 1], 13.0, spacing_mm, hu.shape)
        own = found.labels[box] == number
        if _is_bowel(own, mean[box], body[box], spacing_mm):
            out[box] |= own
    return out


def _is_bowel(own: Mask, mean: Hu, body: Mask, spacing_mm: Triple) -> bool:
    large = own.sum() * float(np.prod(spacing_mm)) / 1000 > LARGEST_ML
    if large and np.median(mean[own]) > PURE_GAS_HU:
        return False
    ring = grown(own, 12.0, spacing_mm) & ~grown(own, 8.0, spacing_mm) & body
    return not ring.any() or float((mean[ring] < WALL_HU).mean()) < MOST_LUNG


def _around(
    box: tuple[slice, slice, slice], margin_mm: float, spacing_mm: Triple, shape: tuple[int, ...]
) -> tuple[slice, slice, slice]:
    margins = [int(np.ceil(margin_mm / mm)) for mm in spacing_mm]
    z, y, x = (slice(max(0, s.start - m), min(n, s.stop + m)) for s, m, n in zip(box, margins, shape, strict=True))
    return z, y, x
