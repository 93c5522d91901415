"""How slices are spread along their stack: evenly, in parts of different distances, or with a gap."""

from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
from jaxtyping import Float

from espalier.errors import ScanError

POSITION_TOLERANCE_MM: Final = 0.1
"""Positions are often written with one decimal, so that neighbouring distances differ by this much."""
FEWEST_ALIKE: Final = 3
"""A part of a stack with a distance of its own has at least this many gaps; fewer are taken for missing slices."""


@dataclass(frozen=True, slots=True)
class Spread:
    """An even row of places for the slices of a stack.

    Parameters
    ----------
    step
        From one place to the next, world x, y, z in mm.
    count
        How many places.
    along_mm
        Where each slice lies along the row, from the first one, where that is not at the places; else None.
    notes
        Reason codes.
    """

    step: Float[np.ndarray, "3"]
    count: int
    along_mm: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()


def spread_of(
    positions: Float[np.ndarray, "n 3"], normal: Float[np.ndarray, "3"], *, source: str, interpolate: bool = False
) -> Spread:
    """Return the even row of places that slices in the order of their positions lie on, or can be interpolated to.

    Parameters
    ----------
    positions
        World positions of each slice's first voxel in mm.
    normal
        Unit vector across the slices.
    source
        For messages.
    interpolate
        Whether a single missing slice is interpolated from its neighbours.

    Raises
    ------
    ScanError
        With the code `too_few_slices`, `missing_slice`, `uneven_slices` or `shifted_slices`.
    """
    if len(positions) < 2:
        raise ScanError(source, code="too_few_slices", found="a single slice", expected="a volume", do="Take another series.")
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    if np.abs(gaps - usual).max() <= _tolerance(usual):
        step = (positions[-1] - positions[0]) / (len(positions) - 1)
        _refuse_shifted(positions, np.arange(len(positions)) * 1.0, step, usual, source)
        return Spread(step, len(positions))
    return _uneven(positions, gaps, usual, source=source, interpolate=interpolate)


def _uneven(
    positions: Float[np.ndarray, "n 3"], gaps: Float[np.ndarray, " g"], usual: float, *, source: str, interpolate: bool
) -> Spread:
    parts = _parts(gaps)
    odd = int(np.argmax(np.abs(gaps - usual)))
    if min(len(part) for part in parts) >= FEWEST_ALIKE:
        fine, note = min(float(np.median(part)) for part in parts), "spacing_varies"
    elif interpolate and _one_missing(gaps, usual):
        fine, note = usual, "slice_interpolated"
    else:
        missing = gaps[odd] > 1.5 * usual and abs(gaps[odd] / usual - round(gaps[odd] / usual)) < 0.1
        raise ScanError(
            source,
            code="missing_slice" if missing else "uneven_slices",
            found=f"{gaps[odd]:.2f} mm after slice {odd + 1}",
            expected=f"{usual:.2f} mm",
            do="Export the series again: slices are missing." if missing else "Take a series with one distance.",
        )
    along = np.concatenate([[0.0], np.cumsum(gaps)])
    count = round(along[-1] / fine) + 1
    unit = (positions[-1] - positions[0]) / along[-1]
    _refuse_shifted(positions, along, unit, usual, source)
    return Spread(unit * along[-1] / (count - 1), count, tuple(float(a) for a in along), (note,))


def _parts(gaps: Float[np.ndarray, " g"]) -> list[list[float]]:
    """Return runs of gaps that are alike."""
    labels, label = [], 0
    first = float(gaps[0])
    for gap in gaps:
        if abs(float(gap) - first) > _tolerance(first):
            label, first = label + 1, float(gap)
        labels.append(label)
    return [[float(gap) for _, gap in run] for _, run in groupby(zip(labels, gaps, strict=True), key=lambda pair: pair[0])]


def _one_missing(gaps: Float[np.ndarray, " g"], usual: float) -> bool:
    wide = np.abs(gaps - usual) > _tolerance(usual)
    return int(wide.sum()) == 1 and abs(float(gaps[wide][0]) - 2 * usual) <= 2 * _tolerance(usual)


def _tolerance(gap: float) -> float:
    return POSITION_TOLERANCE_MM + 0.02 * gap


def _refuse_shifted(
    positions: Float[np.ndarray, "n 3"],
    along: Float[np.ndarray, " n"],
    step: Float[np.ndarray, "3"],
    usual: float,
    source: str,
) -> None:
    worst = float(np.abs(positions - positions[0] - along[:, None] * step).max())
    if worst > 2 * POSITION_TOLERANCE_MM + 0.1 * usual:
        found = f"a slice {worst:.2f} mm beside its place"
        do = "Export the series again from the archive."
        raise ScanError(source, code="shifted_slices", found=found, expected="all on one line", do=do)
