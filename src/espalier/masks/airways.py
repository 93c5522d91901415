"""Trachea and main bronchi, followed downwards slice by slice until they meet the lungs."""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from espalier.geometry import Triple
from espalier.masks.shapes import Mask

AIRWAY_HU: Final = -800.0
AREA_MM2: Final = (40.0, 900.0)
"""Cross-section of the trachea and the main bronchi of adults, blur and obliquity included."""

FROM_MIDLINE_MM: Final = 45.0
ROUND: Final = 0.5
"""Smallest share of its bounding box that a round section fills."""

STEPS: Final = 3
Plane = Bool[np.ndarray, "y x"]


def find_airways(hu: Float32[np.ndarray, "z y x"], body: Mask, middle: float, spacing_mm: Triple) -> Mask:
    """Return the trachea and main bronchi; empty where the scan shows no trachea.

    Parameters
    ----------
    hu
        On a canonical grid.
    body
        The patient, lungs included.
    middle
        Index of the midline along x.
    spacing_mm
        Of that grid.
    """
    air = body & (hu < AIRWAY_HU)
    for top in range(hu.shape[0] - 1, max(hu.shape[0] // 2, STEPS), -1):
        for section in _round_sections(air[top], middle, spacing_mm):
            followed = _followed(air, section, top, spacing_mm)
            if followed.any(axis=(1, 2)).sum() * spacing_mm[0] >= 20.0:
                return followed
    return np.zeros(hu.shape, dtype=bool)


def _round_sections(air: Plane, middle: float, spacing_mm: Triple) -> list[Plane]:
    labels, _ = ndimage.label(air)
    pixel_mm2 = spacing_mm[1] * spacing_mm[2]
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        section = labels == number
        pixels = section.sum()
        height, width = ((s.stop - s.start) * mm for s, mm in zip(box, spacing_mm[1:], strict=True))
        off_mm = abs((box[1].start + box[1].stop - 1) / 2 - middle) * spacing_mm[2]
        is_round = pixels / section[box].size >= ROUND and max(height, width) <= 2.2 * min(height, width)
        if AREA_MM2[0] <= pixels * pixel_mm2 <= AREA_MM2[1] and is_round and off_mm <= FROM_MIDLINE_MM:
            found.append(section)
    return found


def _followed(air: Mask, section: Plane, top: int, spacing_mm: Triple) -> Mask:
    out = np.zeros(air.shape, dtype=bool)
    out[top] = section
    largest = AREA_MM2[1] / (spacing_mm[1] * spacing_mm[2])
    for z in range(top - 1, -1, -1):
        labels, count = ndimage.label(air[z])
        touched = np.unique(labels[out[z + 1]])
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        # A section wider than any airway is lung: there the branch ends.
        narrow = [n for n in touched if n and sizes[n] <= largest]
        if not narrow:
            break
        out[z] = np.isin(labels, narrow)
    return out
