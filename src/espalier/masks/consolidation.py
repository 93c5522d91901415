"""Lung that holds no air: what consolidations, tumours and large vessels cut out of a lung's rim is given back to it."""

from typing import Final

import numpy as np
from jaxtyping import Float32

from espalier.geometry import Triple
from espalier.masks.shapes import Mask, closed, grown, opened

BRIDGED_MM: Final = 28.0
"""Gaps in the rim up to twice this wide are bridged, slice by slice."""

THINNEST_MM: Final = 4.0
"""Filled parts thinner than twice this lie between ribs and are chest wall."""

SOFT_HU: Final = (-400.0, 150.0)
FROM_MIDLINE_MM: Final = 35.0
"""Nearer to the midline the rim borders on the mediastinum, whose vessels are no lung."""

APART: Final = 1e6
"""A distance between slices that keeps a shape in its own slice, in mm."""


def with_consolidations(
    side: Mask, hu: Float32[np.ndarray, "z y x"], within: Mask, middle: float, spacing_mm: Triple, *, outwards: int
) -> Mask:
    """Return one lung with the airless parts of its outer and its dorsal rim.

    What lies behind an effusion, or fills a whole lobe, is not found: nothing but its place tells it from fluid.

    Parameters
    ----------
    side
        One lung's air and vessels.
    hu
        On a canonical grid, smoothed.
    within
        Where lung may be: the body without bone and airways.
    middle
        Index of the midline along x.
    spacing_mm
        Of that grid.
    outwards
        1 for the left lung, whose outer side has the larger index along x, else -1.
    """
    if not side.any():
        return side
    plane = (APART, spacing_mm[1], spacing_mm[2])
    bridged = _bridged(side, plane) & ~side & within & (hu > SOFT_HU[0]) & (hu < SOFT_HU[1])
    x = (np.arange(side.shape[2]) - middle) * outwards * spacing_mm[2]
    dorsal = _none_beyond(side, axis=1, step=1) & (x > FROM_MIDLINE_MM)
    rim = bridged & (_none_beyond(side, axis=2, step=outwards) | dorsal) & (x > 0)
    thick = opened(rim | side, THINNEST_MM, plane) & rim
    return side | (grown(opened(thick, THINNEST_MM, plane), THINNEST_MM, plane) & rim)


def _bridged(side: Mask, plane: Triple) -> Mask:
    """Close the mask as if nothing but air lay around the grid, whose faces `closed` would bridge to."""
    margins = [0, *(int(np.ceil(2 * BRIDGED_MM / mm)) for mm in plane[1:])]
    wide = closed(np.pad(side, [(m, m) for m in margins]), BRIDGED_MM, plane)
    return wide[:, margins[1] : -margins[1], margins[2] : -margins[2]]


def _none_beyond(mask: Mask, *, axis: int, step: int) -> Mask:
    """Tell for each voxel that the mask has none farther along the axis, in the direction of `step`."""
    turned = np.flip(mask, axis) if step > 0 else mask
    seen = np.logical_or.accumulate(turned, axis=axis)
    return ~(np.flip(seen, axis) if step > 0 else seen)
