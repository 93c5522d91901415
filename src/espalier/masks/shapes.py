"""Shapes in millimetres on grids whose voxels are no cubes: grow, shrink, open, close, pieces."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64
from scipy import ndimage

from espalier.geometry import Triple, bounding_box

Mask = Bool[np.ndarray, "z y x"]

IN_PLANE: Final = np.array([[[0, 0, 0]] * 3, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0, 0, 0]] * 3], dtype=bool)
"""Face neighbours within an axial slice only."""


def grown(mask: Mask, radius_mm: float, spacing_mm: Triple) -> Mask:
    """Return every voxel whose centre is within a radius of the mask."""
    if not mask.any():
        return mask.copy()
    box = _padded(bounding_box(mask), radius_mm, spacing_mm, mask.shape)
    out = np.zeros_like(mask)
    out[box] = ndimage.distance_transform_edt(~mask[box], sampling=spacing_mm) <= radius_mm
    return out


def shrunk(mask: Mask, radius_mm: float, spacing_mm: Triple) -> Mask:
    """Return the voxels of the mask farther than a radius from its outside; the grid's faces are no outside."""
    if not mask.any():
        return mask.copy()
    box = _padded(bounding_box(mask), radius_mm, spacing_mm, mask.shape)
    out = np.zeros_like(mask)
    inside = mask[box]
    out[box] = inside if inside.all() else ndimage.distance_transform_edt(inside, sampling=spacing_mm) > radius_mm
    return out


def opened(mask: Mask, radius_mm: float, spacing_mm: Triple) -> Mask:
    """Return the mask without its parts thinner than twice a radius."""
    return grown(shrunk(mask, radius_mm, spacing_mm), radius_mm, spacing_mm) & mask


def closed(mask: Mask, radius_mm: float, spacing_mm: Triple) -> Mask:
    """Return the mask with gaps narrower than twice a radius filled."""
    return shrunk(grown(mask, radius_mm, spacing_mm), radius_mm, spacing_mm) | mask


def filled(mask: Mask) -> Mask:
    """Return the mask with the holes of each axial slice filled."""
    out = mask.copy()
    box = bounding_box(mask)
    for plane in out[box]:
        ndimage.binary_fill_holes(plane, output=plane)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The connected pieces of a mask, largest first.

    Attributes
    ----------
    labels
        0 outside, else the piece's own number from `order`.
    order
        Piece numbers by size, largest first.
    sizes
        Voxels of each piece, in that order.
    """

    labels: Int32[np.ndarray, "z y x"]
    order: Int64[np.ndarray, " n"]
    sizes: Int64[np.ndarray, " n"]

    def largest(self) -> Mask:
        """Return the largest piece; nothing where there is none."""
        return self.labels == self.order[0] if len(self.order) else np.zeros(self.labels.shape, dtype=bool)

    def at_least(self, voxels: float) -> Mask:
        """Return all pieces of a size or more."""
        keep = np.zeros(len(self.order) + 1, dtype=bool)
        keep[self.order[self.sizes >= voxels]] = True
        return keep[self.labels]

    def centres(self) -> Float64[np.ndarray, "n 3"]:
        """Return the mean index (z, y, x) of each piece, largest first."""
        found = ndimage.center_of_mass(self.labels > 0, self.labels, self.order) if len(self.order) else []
        return np.asarray(found, dtype=np.float64).reshape(-1, 3)


def pieces(mask: Mask) -> Pieces:
    """Return the face-connected pieces of a mask."""
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    return Pieces(labels, order + 1, sizes[order])


def _padded(
    box: tuple[slice, slice, slice], radius_mm: float, spacing_mm: Triple, shape: tuple[int, ...]
) -> tuple[slice, slice, slice]:
    margins = [int(np.ceil(radius_mm / mm)) + 1 for mm in spacing_mm]
    z, y, x = (
        slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, margin, n in zip(box, margins, shape, strict=True)
    )
    return z, y, x
