"""The same acquisition twice in one cohort: under two ids, re-exported, mirrored, or with other noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float32, Int16

from espalier.cohort.volume import Volume
from espalier.geometry import canonical

SIDE: Final = 16
CLIP_HU: Final = (-1000.0, 500.0)
"""Outside this range scans differ by their reconstruction more than by the patient: padding, metal, clipped bone."""


def thumbnail(volume: Volume) -> Int16[np.ndarray, "16 16 16"]:
    """Return the scan in 16 blocks along each axis of its whole field: mean HU of each block, from -1000 to 500.

    Axes are turned as by `espalier.geometry.canonical`: up, to the back, to the patient's left. Two exports of one
    acquisition agree within a few HU whatever their kernel, noise, spacing or order of slices.
    """
    z, y, x = (_weights(count) for count in volume.shape)
    planes = np.empty((volume.shape[0], SIDE, SIDE), dtype=np.float32)
    for n, plane in enumerate(volume.voxels):
        planes[n] = y @ np.clip(plane, *CLIP_HU).astype(np.float32, copy=False) @ x.T
    blocks = np.tensordot(z, planes, axes=1)
    return canonical(np.round(blocks).astype(np.int16), volume.affine)[0]


def _weights(count: int) -> Float32[np.ndarray, "16 count"]:
    """Return the share of every voxel in every block along an axis; voxels on a border belong to both."""
    edges = np.linspace(0, count, SIDE + 1)
    low, high = edges[:-1, None], edges[1:, None]
    voxels = np.arange(count)
    shared = np.clip(np.minimum(high, voxels + 1) - np.maximum(low, voxels), 0, None)
    return (shared / shared.sum(axis=1, keepdims=True)).astype(np.float32)


Kind = Literal["equal", "same", "mirrored", "near"]
NEAR_HU: Final = 45.0
"""Root mean square difference of two thumbnails. Exports of one acquisition differ by less, two patients by over 90."""
ONE_PATIENT_HU: Final = 15.0
"""Within one patient two phases of one study may differ by no more than two exports elsewhere do."""
NEAR_SHARE: Final = 0.12
"""And at most this share of the thumbnail's own spread, for scans that show little."""
CANDIDATE_HU: Final = 26.0
BLOCK: Final = 2048
MOST: Final = 4
"""So many candidates a scan and block, the most alike first."""
SAME_HU: Final = 1.0
SHIFTS: Final = np.linspace(-0.08, 0.08, 9)
FLIPS: Final = tuple(flip for count in range(4) for flip in combinations(range(3), count))
Thumbnails = Int16[np.ndarray, "n 16 16 16"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Twins:
    """Two scans that show one acquisition.

    Parameters
    ----------
    first, second
        Their ids, in the order in which the scans were given.
    kind
        `equal`: same voxels at the same place. `same`: voxels that agree within 1 HU, at another place or turned by half a
        turn. `mirrored`: the one is the other's mirror image. `near`: the same acquisition with another kernel, noise,
        spacing, compression or HU range, or with a few slices more or less.
    one_patient
        Whether both belong to one patient.
    differ_hu
        Root mean square difference of their thumbnails in HU, after slices more or less are allowed for.
    """

    first: str
    second: str
    kind: Kind
    one_patient: bool
    differ_hu: float


def find_twins(scans: Sequence[str], patients: Sequence[str], thumbnails: Thumbnails, hashes: Sequence[str]) -> list[Twins]:
    """Return the pairs of scans that show one acquisition, in the order of the scans.

    Of scans with one hash each is paired with the first, and only the first is compared with others. Acquisitions of one
    patient that differ by more than 15 HU are no twins, nor is a scan cut to another field in the plane of its slices.

    Parameters
    ----------
    scans, patients, hashes
        Id of each scan, its patient, and the hash of its voxels and affine; "" where that is not known.
    thumbnails
        As `thumbnail` makes them, in the same order; memory beyond them is flat.
    """
    first_with: dict[str, int] = {}
    pairs: list[tuple[int, int, Kind, float]] = []
    for n, digest in enumerate(hashes):
        first = first_with.setdefault(digest or f"scan {n}", n)
        if first != n:
            pairs.append((first, n, "equal", 0.0))
    single = np.array(sorted(first_with.values()), dtype=np.int64)
    for one, other in _candidates(thumbnails[single]):
        first, second = int(single[one]), int(single[other])
        limit = ONE_PATIENT_HU if patients[first] == patients[second] else NEAR_HU
        alike = _compare(thumbnails[first].astype(np.float32), thumbnails[second].astype(np.float32), limit)
        if alike is not None:
            pairs.append((first, second, *alike))
    return [
        Twins(
            first=scans[first],
            second=scans[second],
            kind=kind,
            one_patient=patients[first] == patients[second],
            differ_hu=round(differ, 2),
        )
        for first, second, kind, differ in sorted(pairs)
    ]


def _candidates(thumbnails: Thumbnails) -> Iterator[tuple[int, int]]:
    """Yield pairs whose reduced thumbnails are alike, block by block."""
    reduced = _reduced(thumbnails)
    lengths = np.square(reduced).sum(axis=1)
    limit = np.float32(CANDIDATE_HU**2 * reduced.shape[1])
    for row in range(0, len(reduced), BLOCK):
        for column in range(0, row + 1, BLOCK):
            ones, others = slice(row, row + BLOCK), slice(column, column + BLOCK)
            apart = reduced[ones] @ (-2 * reduced[others].T)
            apart += lengths[ones, None]
            apart += lengths[None, others]
            if row == column:
                apart[np.triu_indices(len(apart))] = np.inf
            for one in np.flatnonzero((apart < limit).any(axis=1)):
                near = np.argsort(apart[one], kind="stable")[:MOST]
                yield from ((column + int(other), row + int(one)) for other in near if apart[one, other] < limit)


def _reduced(thumbnails: Thumbnails) -> Float32[np.ndarray, "n 64"]:
    """Return 64 numbers of each thumbnail that no flip along any axis changes: even part, in 4 blocks along half an axis."""
    reduced = np.empty((len(thumbnails), 64), dtype=np.float32)
    for start in range(0, len(thumbnails), BLOCK):
        even: Float32[np.ndarray, "n z y x"] = thumbnails[start : start + BLOCK].astype(np.float32)
        for axis in (1, 2, 3):
            half, other_half = np.split(even, 2, axis=axis)
            even = (half + np.flip(other_half, axis)) * np.float32(0.5)
        blocks = even.reshape(-1, 4, 2, 4, 2, 4, 2).mean(axis=(2, 4, 6))
        reduced[start : start + BLOCK] = blocks.reshape(len(blocks), 64)
    return reduced - reduced.mean(axis=0) if len(reduced) else reduced


def _compare(
    one: Float32[np.ndarray, "16 16 16"], other: Float32[np.ndarray, "16 16 16"], most_hu: float
) -> tuple[Kind, float] | None:
    """Return how two thumbnails show one acquisition, and their difference in HU; None where they do not."""
    limit = min(most_hu, NEAR_SHARE * float(one.std()))
    flips = [(_differ(one, np.flip(other, flip)), flip) for flip in FLIPS]
    differ, flip = min(flips)
    mirrored = len(flip) % 2 == 1
    if differ <= SAME_HU:
        return ("mirrored" if mirrored else "same"), differ
    if differ > 3 * NEAR_HU:
        return None
    turned = np.flip(other, flip)
    if differ > limit:
        cut, inside = _stretches()
        coarse, target = (part.reshape(SIDE, 4, 4, 4, 4).mean(axis=(2, 4)).reshape(SIDE, SIDE) for part in (one, turned))
        apart = np.square(cut @ coarse - target).mean(axis=2)
        best = int(np.argmin((apart * inside).sum(axis=1) / inside.sum(axis=1)))
        stretched = (cut[best] @ one.reshape(SIDE, -1)).reshape(one.shape)
        differ = min(differ, _differ(stretched[inside[best]], turned[inside[best]]))
    return None if differ > limit else ("mirrored" if mirrored else "near", differ)


@cache
def _stretches() -> tuple[Float32[np.ndarray, "n 16 16"], Bool[np.ndarray, "n 16"]]:
    """Return how blocks along z become those of a scan with slices more or less at its ends, and which of them exist."""
    cut, inside = [], []
    for low in SHIFTS:
        for high in 1 + SHIFTS:
            edges = np.linspace(low, high, SIDE + 1) * SIDE
            shared = np.minimum(edges[1:, None], np.arange(1, SIDE + 1)) - np.maximum(edges[:-1, None], np.arange(SIDE))
            cut.append(np.clip(shared, 0, None) / np.diff(edges)[:, None])
            inside.append((edges[:-1] >= -0.01) & (edges[1:] <= SIDE + 0.01))
    return np.stack(cut).astype(np.float32), np.stack(inside)


def _differ(one: Float32[np.ndarray, "z 16 16"], other: Float32[np.ndarray, "z 16 16"]) -> float:
    return float(np.sqrt(np.mean(np.square(one - other))))
