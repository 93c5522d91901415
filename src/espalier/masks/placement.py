"""Whether a mask belongs to its scan, by where both lie."""

from typing import Final

import numpy as np
from jaxtyping import Float

from espalier.errors import ScanError
from espalier.geometry import Affine, Grid, bounding_box, world_mm
from espalier.masks.files import Masks

OTHER_GRID: Final = "mask_other_grid"
"""Noted where the mask lies on another grid than the scan; `prepare` resamples it, nearest."""
SAME_VOXELS: Final = 0.1
"""Voxel centres that lie this share of a voxel apart, or less, are the same."""


def refuse_elsewhere(masks: Masks, grid: Grid, *, source: str) -> tuple[str, ...]:
    """Return a note where the mask lies on another grid than the scan.

    Raises
    ------
    ScanError
        `mask_position` for a mask whose place was lost, `mask_mirrored` for one whose axes were taken for those of
        another convention, and `mask_elsewhere` for one that lies wholly outside the scan.
    """
    own = Grid(shape_of(masks), masks.affine)
    if same_voxels(own, grid):
        return ()
    if own.shape in {grid.shape, grid.shape[::-1]} and _is_no_place(masks.affine):
        raise ScanError(
            source,
            code="mask_position",
            found="voxels of 1 mm from the point 0, 0, 0 on, as programs write that know no place",
            expected="the affine of its scan",
            do="Write the mask with the affine of its scan.",
        )
    if flipped := _mirrored(own, grid):
        raise ScanError(
            source,
            code="mask_mirrored",
            found=f"the scan's grid with {flipped} mirrored in space",
            expected="the affine of its scan",
            do="Write the mask again; RAS (NIfTI) and LPS (DICOM) were mixed up.",
        )
    if share_inside(own, grid) == 0 or _content_outside(masks, grid):
        raise ScanError(
            source,
            code="mask_elsewhere",
            found="its mask lies wholly outside the scan",
            expected="a mask of the same patient in the same place",
            do="Write the mask with the affine of its scan.",
        )
    return (OTHER_GRID,)


def share_inside(one: Grid, other: Grid) -> float:
    """Return which share of the smaller world box lies inside the other: 0 when they are apart, 1 at best."""
    low, high = zip(*(_world_box(grid) for grid in (one, other)), strict=True)
    shared = np.prod(np.clip(np.minimum(*high) - np.maximum(*low), 0, None))
    return float(shared / min(np.prod(h - b) for b, h in zip(low, high, strict=True)))


def same_voxels(one: Grid, other: Grid) -> bool:
    """Tell whether two grids are one set of voxel centres, whichever way their axes are numbered."""
    offset = aligned(one, other)
    if offset is None:
        return False
    axes, signs, start = offset
    ends = start + signs * (np.array(one.shape)[axes] - 1)
    return bool((np.minimum(start, ends) == 0).all() and (np.maximum(start, ends) == np.array(other.shape) - 1).all())


def aligned(one: Grid, other: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return how the voxels of `one` are numbered in `other`, or None where they are not centred on voxels of it.

    Returns
    -------
    For each axis of `other` the axis of `one` that runs along it, with which sign, and where index 0 of `one` lies.
    """
    index_map = np.linalg.inv(other.affine) @ one.affine
    turn = np.rint(index_map[:3, :3])
    if not np.array_equal(np.abs(turn) @ np.ones(3), np.ones(3)) or not np.array_equal(np.ones(3) @ np.abs(turn), np.ones(3)):
        return None
    start = np.rint(index_map[:3, 3])
    drift = np.abs(index_map[:3, :3] - turn) @ (np.array(one.shape) - 1) + np.abs(index_map[:3, 3] - start)
    if not np.isfinite(drift).all() or drift.max() > SAME_VOXELS:
        return None
    axes = np.argmax(np.abs(turn), axis=1)
    return axes, turn[np.arange(3), axes].astype(int), start.astype(int)


def embedded(masks: Masks, grid: Grid) -> Masks:
    """Return masks on the grid of the scan where every voxel of theirs is one of its own; else as they are."""
    offset = aligned(Grid(shape_of(masks), masks.affine), grid)
    if offset is None:
        return masks
    axes, signs, start = offset
    turned = np.transpose(masks.voxels, axes)
    out = np.zeros(grid.shape, dtype=np.uint8)
    source, target = [], []
    for axis, (sign, first) in enumerate(zip(signs, start, strict=True)):
        count = turned.shape[axis]
        if sign < 0:
            turned = np.flip(turned, axis)
        low = int(first) if sign > 0 else int(first) - count + 1
        begin, end = max(0, low), min(grid.shape[axis], low + count)
        if begin >= end:
            return masks
        source.append(slice(begin - low, end - low))
        target.append(slice(begin, end))
    out[tuple(target)] = turned[tuple(source)]
    return Masks(out, grid.affine, masks.names)


def shape_of(masks: Masks) -> tuple[int, int, int]:
    """Return the shape of masks (z, y, x)."""
    z, y, x = masks.voxels.shape
    return z, y, x


def _is_no_place(affine: Affine) -> bool:
    return bool(np.array_equal(np.sort(np.abs(affine[:3, :3]).ravel()), [0] * 6 + [1] * 3) and not affine[:3, 3].any())


def _mirrored(own: Grid, grid: Grid) -> str:
    """Return the world axes whose signs alone tell the two grids apart, as "x and y"; "" where there are none."""
    for signs in ((-1, -1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)):
        if same_voxels(Grid(own.shape, np.diag([*signs, 1.0]) @ own.affine), grid):
            return " and ".join(axis for axis, sign in zip("xyz", signs, strict=True) if sign < 0)
    return ""


def _content_outside(masks: Masks, grid: Grid) -> bool:
    box = bounding_box(masks.voxels > 0)
    if box[0].start == box[0].stop:
        return False
    affine = masks.affine.copy()
    affine[:3, 3] = world_mm(masks.affine, [part.start for part in box])
    z, y, x = (part.stop - part.start for part in box)
    return share_inside(Grid((z, y, x), affine), grid) == 0


def _world_box(grid: Grid) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    ends = [(-0.5, n - 0.5) for n in grid.shape]
    corners = np.array([world_mm(grid.affine, (z, y, x)) for z in ends[0] for y in ends[1] for x in ends[2]])
    return corners.min(axis=0), corners.max(axis=0)
