"""Masks made worse on purpose.

A share of the boundary voxels eroded or dilated is the published ablation of mask noise (Li et al. 2025); gross faults of
a share of the scans are the one it lacks: sides swapped, a structure missing, all masks shifted by 20 mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8, UInt64

from espalier.geometry import Triple
from espalier.outputs import safe_id

GrossKind = Literal["swap", "missing", "shift"]
SHIFT_MM: Final = 20.0
OTHER_SIDE: Final = {"lung_middle_lobe_right": "lung_upper_lobe_left"}
"""Whose side has no structure of the same name: the middle lobe's counterpart, the lingula, is part of the upper lobe."""

Labels = UInt8[np.ndarray, "z y x"]
STEPS: Final = ((0, -1), (0, 1), (1, -1), (1, 1), (2, -1), (2, 1))
"""The six face neighbours, as (axis, step)."""


@dataclass(frozen=True, slots=True, eq=False)
class GrossFault:
    """What is wrong with all masks of one scan.

    Attributes
    ----------
    values
        What each structure's number becomes; 0 makes it background.
    step
        Voxels along z, y, x by which the masks are moved.
    """

    values: UInt8[np.ndarray, " 256"]
    step: tuple[int, int, int] = (0, 0, 0)


def draw_fault(
    kind: GrossKind, structures: Sequence[str], spacing_mm: Triple, *, share: float, seed: int, scan: str
) -> GrossFault | None:
    """Return the gross fault of a scan, or None where it has none; a pure function of its arguments.

    A larger share takes in every scan that a smaller one does, with the same fault.

    Parameters
    ----------
    kind
        `swap` gives each structure of a side the number of its counterpart, `missing` makes one structure background,
        `shift` moves all masks by 20 mm along one of the axes, up or down.
    structures
        Names of the numbers 1, 2, … of the masks.
    spacing_mm
        Of the masks along z, y, x.
    share
        Of all scans that are to have the fault, between 0 and 1.
    seed, scan
        Of the run, and the scan's id.

    Raises
    ------
    ValueError
        For `swap` where no structure has a counterpart on the other side.
    """
    draws = np.random.default_rng([seed, int(safe_id("gross fault", scan), 16)])
    if draws.random() >= share:
        return None
    values = np.arange(256, dtype=np.uint8)
    if kind == "swap":
        return GrossFault(swapped_sides(structures))
    if kind == "missing":
        values[1 + int(draws.integers(len(structures)))] = 0
        return GrossFault(values)
    axis, sign = int(draws.integers(3)), int(draws.choice((-1, 1)))
    step = [0, 0, 0]
    step[axis] = sign * max(1, round(SHIFT_MM / spacing_mm[axis]))
    return GrossFault(values, (step[0], step[1], step[2]))


def swapped_sides(structures: Sequence[str]) -> UInt8[np.ndarray, " 256"]:
    """Return for each number that of the structure's counterpart on the other side, its own where there is none.

    Raises
    ------
    ValueError
        When no structure has one.
    """
    values = np.arange(256, dtype=np.uint8)
    for number, name in enumerate(structures, start=1):
        other = OTHER_SIDE.get(name) or _other_side(name)
        if other != name and other in structures:
            values[number] = structures.index(other) + 1
    if (values == np.arange(256)).all():
        raise ValueError(f"none of {', '.join(structures)} has a counterpart on the other side")
    return values


def _other_side(name: str) -> str:
    exchanged = {"left": "right", "right": "left"}
    return "_".join(exchanged.get(word, word) for word in name.split("_"))


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
