"""Where voxels lie: affines, orientation, resampling, cropping and padding.

An affine here is a 4×4 float64 matrix from index (z, y, x, 1) to world position (x, y, z, 1) in mm, LPS+ as in DICOM:
x towards the patient's left, y towards the back, z towards the head. Arrays, shapes and spacings are z, y, x.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float, Shaped

Affine = Float[np.ndarray, "4 4"]
Voxels = Shaped[np.ndarray, "z y x"]
Triple = tuple[float, float, float]
Shape = tuple[int, int, int]

SHEAR_TOLERANCE: Final = 1e-3
"""Largest cosine between two axes that still counts as a right angle."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A lattice of voxel centres: how many, and where."""

    shape: Shape
    affine: Affine

    @property
    def spacing_mm(self) -> Triple:
        """Distance between neighbouring centres along z, y, x in mm."""
        return spacing_mm(self.affine)


def affine_from(*, spacing_mm: Sequence[float], origin_mm: Sequence[float], direction: Float[np.ndarray, "3 3"]) -> Affine:
    """Return the affine of a grid.

    Parameters
    ----------
    spacing_mm
        Along z, y, x.
    origin_mm
        World position (x, y, z) of the first voxel's centre.
    direction
        Columns are the unit world vectors of the index axes z, y, x.
    """
    affine = np.eye(4)
    affine[:3, :3] = direction * np.asarray(spacing_mm, dtype=np.float64)
    affine[:3, 3] = origin_mm
    return affine


def spacing_mm(affine: Affine) -> Triple:
    """Return the spacing along z, y, x in mm."""
    z, y, x = np.linalg.norm(affine[:3, :3], axis=0)
    return float(z), float(y), float(x)


def direction_of(affine: Affine) -> Float[np.ndarray, "3 3"]:
    """Return the unit world vectors of the index axes z, y, x, as columns."""
    return np.asarray(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))


def is_sheared(affine: Affine) -> bool:
    """Tell whether two axes are not at a right angle, as after gantry tilt."""
    direction = direction_of(affine)
    return bool(np.abs(direction.T @ direction - np.eye(3)).max() > SHEAR_TOLERANCE)


def world_mm(affine: Affine, index: Sequence[float]) -> Float[np.ndarray, "3"]:
    """Return the world position (x, y, z) in mm of an index (z, y, x)."""
    return np.asarray((affine @ np.array([*index, 1.0]))[:3])


def canonical(voxels: Voxels, affine: Affine) -> tuple[Voxels, Affine]:
    """Turn and flip the array so that z runs up, y to the back and x to the patient's left, as nearly as its axes allow.

    Nothing is interpolated: voxels keep their values and their world positions. The first array axis may come out as
    any of the scan's own axes; obliquity up to 45° stays in the affine.
    """
    order, signs = _nearest_axes(direction_of(affine))
    turned = np.transpose(voxels, order)
    turned_affine = affine.copy()
    turned_affine[:3, :3] = affine[:3, list(order)]
    for axis, sign in enumerate(signs):
        if sign < 0:
            turned = np.flip(turned, axis)
            turned_affine[:3, 3] += turned_affine[:3, axis] * (turned.shape[axis] - 1)
            turned_affine[:3, axis] *= -1
    return np.ascontiguousarray(turned), turned_affine


def _nearest_axes(direction: Float[np.ndarray, "3 3"]) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Return for output axes z, y, x the input axis closest to it and whether that axis must be flipped."""
    from itertools import permutations

    world = np.abs(direction[::-1])
    order = max(permutations(range(3)), key=lambda p: world[0, p[0]] * world[1, p[1]] * world[2, p[2]])
    signs = tuple(float(np.sign(direction[::-1][row, column])) or 1.0 for row, column in enumerate(order))
    return (order[0], order[1], order[2]), (signs[0], signs[1], signs[2])


def respaced(grid: Grid, spacing: Triple) -> Grid:
    """Return a grid of another spacing over the same field: same middle, same directions, size rounded."""
    old = np.asarray(grid.spacing_mm)
    shape = np.maximum(1, np.round(np.asarray(grid.shape) * old / np.asarray(spacing))).astype(int)
    affine = grid.affine.copy()
    affine[:3, :3] = direction_of(grid.affine) * np.asarray(spacing)
    # Around the middle, or thick slices resampled finer would leave the last planes outside the scan.
    affine[:3, 3] += direction_of(grid.affine) @ (((np.asarray(grid.shape) - 1) * old - (shape - 1) * np.asarray(spacing)) / 2)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def resample(voxels: Voxels, affine: Affine, *, onto: Grid, kind: Literal["linear", "nearest"], outside: float) -> Voxels:
    """Return the voxels on another grid.

    Parameters
    ----------
    voxels
        Shape (z, y, x), any real dtype.
    affine
        Where `voxels` lie; a sheared affine is honoured (the resampling undoes the shear).
    onto
        The wanted grid.
    kind
        `linear` for HU, returned as float32, not rounded; `nearest` for masks, returned in their own dtype.
    outside
        Value where `onto` reaches beyond the scan.
    """
    if onto.shape == voxels.shape and np.allclose(onto.affine, affine, atol=1e-6):
        return voxels.astype(np.float32) if kind == "linear" else voxels
    index_map = np.linalg.inv(affine) @ onto.affine
    if kind == "linear" and np.allclose(index_map[:3, :3], np.diag(np.diag(index_map)[:3]), atol=1e-9):
        return _resampled_by_axis(voxels, np.diag(index_map)[:3], index_map[:3, 3], onto.shape, outside)
    # The sampled array is given to SimpleITK with unit geometry; the whole map from the wanted index to the
    # present index goes into the transform, so that shear and mirror images need no case of their own.
    given = sitk.GetImageFromArray(voxels)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(index_map[:3, :3][::-1, ::-1].ravel().tolist())
    transform.SetTranslation(index_map[:3, 3][::-1].tolist())
    interpolator = sitk.sitkLinear if kind == "linear" else sitk.sitkNearestNeighbor
    size = [int(n) for n in onto.shape[::-1]]
    out = sitk.Resample(
        given,
        size,
        transform,
        interpolator,
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        np.eye(3).ravel().tolist(),
        outside,
        sitk.sitkFloat32 if kind == "linear" else given.GetPixelID(),
    )
    return np.asarray(sitk.GetArrayFromImage(out))


def _resampled_by_axis(
    voxels: Voxels, scale: Float[np.ndarray, "3"], shift: Float[np.ndarray, "3"], shape: Shape, outside: float
) -> Float[np.ndarray, "z y x"]:
    """Return what SimpleITK's linear interpolation gives where the axes of both grids run alike, slice by slice.

    In half its time, and without its copy of the volume; values agree to the last digits of float32.
    """
    out = np.full(shape, outside, dtype=np.float32)
    (z, z_in), (y, y_in), (x, x_in) = (_places(scale[axis], shift[axis], shape[axis], voxels.shape[axis]) for axis in range(3))
    within = np.ix_(y_in, x_in)
    planes: dict[int, Float[np.ndarray, "y x"]] = {}
    for n in z_in:
        low, high, share = z[0][n], z[1][n], z[2][n]
        planes = {k: planes[k] if k in planes else _plane(voxels[k], y, x, y_in, x_in) for k in (low, high)}
        out[n][within] = planes[low] + (planes[high] - planes[low]) * share
    return out


_Places = tuple[Shaped[np.ndarray, " n"], Shaped[np.ndarray, " n"], Float[np.ndarray, " n"]]


def _places(scale: float, shift: float, count: int, length: int) -> tuple[_Places, Shaped[np.ndarray, " m"]]:
    """Return the neighbours below and above each of `count` places among `length`, the upper one's share, and who is inside.

    As in ITK half a voxel beyond the outermost centres still counts as inside, and has their value.
    """
    at = scale * np.arange(count) + shift
    inside = np.flatnonzero((at >= -0.5) & (at <= length - 0.5))
    at = np.clip(at, 0, length - 1)
    low = np.floor(at).astype(np.intp)
    return (low, np.minimum(low + 1, length - 1), (at - low).astype(np.float32)), inside


def _plane(
    plane: Shaped[np.ndarray, "y x"], y: _Places, x: _Places, y_in: Shaped[np.ndarray, " m"], x_in: Shaped[np.ndarray, " k"]
) -> Float[np.ndarray, "m k"]:
    above = plane[y[0][y_in]].astype(np.float32)
    above += (plane[y[1][y_in]] - above) * y[2][y_in, None]
    left = above[:, x[0][x_in]]
    return np.asarray(left + (above[:, x[1][x_in]] - left) * x[2][x_in])


def crop_or_pad(voxels: Voxels, shape: Shape, *, outside: float) -> Voxels:
    """Return the centre of `voxels` in the given shape, padded with `outside` where the scan is smaller."""
    out = np.full(shape, outside, dtype=voxels.dtype)
    source, target = [], []
    for have, want in zip(voxels.shape, shape, strict=True):
        source.append(slice(max(0, (have - want) // 2), max(0, (have - want) // 2) + min(have, want)))
        target.append(slice(max(0, (want - have) // 2), max(0, (want - have) // 2) + min(have, want)))
    out[tuple(target)] = voxels[tuple(source)]
    return out


def centred(grid: Grid, shape: Shape) -> Grid:
    """Return the grid that `crop_or_pad` leaves: `shape` voxels around the same centre."""
    shift = [max(0, (have - want) // 2) - max(0, (want - have) // 2) for have, want in zip(grid.shape, shape, strict=True)]
    affine = grid.affine.copy()
    affine[:3, 3] = world_mm(grid.affine, shift)
    return Grid(shape, affine)


def bounding_box(mask: Bool[np.ndarray, "z y x"]) -> tuple[slice, slice, slice]:
    """Return the smallest box that holds every true voxel; the empty box where there is none."""
    boxes = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        boxes.append(slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(0, 0))
    return boxes[0], boxes[1], boxes[2]
