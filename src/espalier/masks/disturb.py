"""Masks made worse on purpose: a share of their boundary voxels eroded or dilated (Li et al. 2025, mask noise ablation)."""

from typing import Final

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8, UInt64

Labels = UInt8[np.ndarray, "z y x"]
STEPS: Final = ((0, -1), (0, 1), (1, -1), (1, 1), (2, -1), (2, 1))
"""The six face neighbours, as (axis, step)."""


def disturb_boundary(masks: Labels, *, share: float, seed: int, origin: tuple[int, int, int] = (0, 0, 0)) -> Labels:
    """Return the masks with a share of their boundary voxels moved by one voxel; a pure function of its arguments.

    A boundary voxel belongs to a structure and has a face neighbour that does not. Each is drawn with probability
    `share`; a drawn one is eroded (becomes background) or, with equal chance, dilated (its background neighbours take
    its value). A larger share disturbs a superset of the voxels that a smaller one does.

    Parameters
    ----------
    masks
        uint8 of shape (z, y, x), 0 = background.
    share
        Between 0 and 1.
    seed
        One per scan; the draw depends on it and on the voxel's position, not on the order of calls.
    origin
        Index of the first voxel where `masks` is a crop: a crop is then disturbed as the whole is, but for the
        outermost voxels, whose neighbours are not seen.
    """
    if share <= 0:
        return masks.copy()
    index = np.argwhere(_boundary(masks))
    drawn = _uniform(index + np.asarray(origin), seed, stream=0) < share
    erode = _uniform(index + np.asarray(origin), seed, stream=1) < 0.5
    out = masks.copy()
    grow = index[drawn & ~erode]
    for axis, step in STEPS:
        _dilate(out, masks, grow, axis, step)
    gone = index[drawn & erode]
    out[gone[:, 0], gone[:, 1], gone[:, 2]] = 0
    return out


def _boundary(masks: Labels) -> Bool[np.ndarray, "z y x"]:
    edge = np.zeros(masks.shape, dtype=bool)
    for axis in range(3):
        lower = [slice(None)] * 3
        upper = [slice(None)] * 3
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        differs = masks[tuple(lower)] != masks[tuple(upper)]
        edge[tuple(lower)] |= differs
        edge[tuple(upper)] |= differs
    return edge & (masks > 0)


def _dilate(out: Labels, masks: Labels, grow: Int64[np.ndarray, "n 3"], axis: int, step: int) -> None:
    target = grow.copy()
    target[:, axis] += step
    inside = (target[:, axis] >= 0) & (target[:, axis] < masks.shape[axis])
    here, there = tuple(grow[inside].T), tuple(target[inside].T)
    # Only background as it was and as it is: the first neighbour to claim a voxel keeps it.
    free = (masks[there] == 0) & (out[there] == 0)
    out[there] = np.where(free, masks[here], out[there])


def _uniform(index: Int64[np.ndarray, "n 3"], seed: int, *, stream: int) -> Float64[np.ndarray, " n"]:
    """Return one number in [0, 1) per voxel position: SplitMix64 (Steele et al. 2014) on position, seed and stream."""
    place = index.astype(np.uint64) @ np.array([1 << 42, 1 << 21, 1], dtype=np.uint64)
    start = np.uint64((seed * 2 + stream) * 0xD1342543DE82EF95 & 0xFFFFFFFFFFFFFFFF)
    return _mixed(place ^ _mixed(start)) / np.float64(2**64)


def _mixed(value: UInt64[np.ndarray, "..."] | np.uint64) -> UInt64[np.ndarray, "..."]:
    with np.errstate(over="ignore"):
        mixed = np.asarray(value, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))
