"""The mediastinum between the lungs: heart, great vessels and all that lies there, told apart by place and not by HU."""

from typing import Final

import numpy as np
from scipy import ndimage

from espalier.geometry import Triple
from espalier.masks.shapes import Mask, grown, opened, pieces

DOME_MM: Final = 55.0
"""Soft tissue under the right lung and farther than this from the midline is liver, not heart."""

BELOW_DOME_MM: Final = 15.0
"""The heart rests on the diaphragm about this far below the right dome, at least."""

HEART_MM: Final = (30.0, 90.0)
"""Beside the domes the heart reaches this far to the right and to the left of the midline, at most."""

SPINE_MM: Final = 20.0
"""Bone nearer than this to the midline, in the dorsal half, is spine."""

BESIDE_SPINE_MM: Final = 25.0
"""The mediastinum reaches this far behind the front of the spine, where the aorta lies."""


def find_mediastinum(left: Mask, right: Mask, within: Mask, bone: Mask, middle: float, spacing_mm: Triple) -> Mask:
    """Return what lies between the lungs; empty where not both are seen.

    From the highest slice that shows both lungs to the diaphragm, whose place is taken from the dome of the liver.

    Parameters
    ----------
    left, right
        The lungs, on a canonical grid.
    within
        The body without airways.
    bone
        Is no part of it; the spine tells how far back it reaches.
    middle
        Index of the midline along x.
    spacing_mm
        Of that grid.
    """
    out = np.zeros(left.shape, dtype=bool)
    if not left.any() or not right.any():
        return out
    dome = _dome(right, within, middle, spacing_mm)
    low = max(int(np.flatnonzero(right.any(axis=(1, 2)))[0]), int(dome - BELOW_DOME_MM / spacing_mm[0]))
    for z in range(low, left.shape[0]):
        if left[z].any() and right[z].any():
            out[z] = _between(left[z], right[z])
    x_mm = (np.arange(left.shape[2]) - middle) * spacing_mm[2]
    out[: dome + 1, :, (x_mm < -HEART_MM[0]) | (x_mm > HEART_MM[1])] = False
    out[:, _behind_spine(bone, middle, spacing_mm) :] = False
    return pieces(opened(out & within & ~bone & ~left & ~right, 3.0, spacing_mm)).largest()


def _between(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the pixels of a slice with lung on both sides, right and left, in their own or a neighbouring row."""
    columns = np.arange(left.shape[1])
    inner_left = np.where(left.any(axis=1), left.argmax(axis=1), -1)
    inner_right = np.where(right.any(axis=1), left.shape[1] - 1 - right[:, ::-1].argmax(axis=1), -1)
    rows = (inner_left >= 0) & (inner_right >= 0) & (inner_right < inner_left)
    between = rows[:, None] & (columns > inner_right[:, None]) & (columns < inner_left[:, None])
    return np.asarray(ndimage.binary_closing(between, iterations=2) | between)


def _dome(right: Mask, within: Mask, middle: float, spacing_mm: Triple) -> int:
    """Return the highest slice that shows the liver under the right lung; the lowest of the lung where none does."""
    above = np.flip(np.logical_or.accumulate(np.flip(right, 0), axis=0), 0)
    far = (middle - np.arange(right.shape[2])) * spacing_mm[2] > DOME_MM
    under = opened(above & ~right & within & far, 8.0, spacing_mm) & ~grown(right, 2.0, spacing_mm)
    shown = np.flatnonzero(under.sum(axis=(1, 2)) * spacing_mm[1] * spacing_mm[2] > 400.0)
    return int(shown.max() if len(shown) else np.flatnonzero(right.any(axis=(1, 2)))[0])


def _behind_spine(bone: Mask, middle: float, spacing_mm: Triple) -> int:
    """Return the row where the mediastinum ends dorsally; that behind the last where no spine is seen."""
    near = np.abs(np.arange(bone.shape[2]) - middle) * spacing_mm[2] < SPINE_MM
    rows = np.nonzero(bone[:, bone.shape[1] // 2 :, near])[1] + bone.shape[1] // 2
    return int(np.percentile(rows, 10) + BESIDE_SPINE_MM / spacing_mm[1]) if len(rows) else bone.shape[1]
