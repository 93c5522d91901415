"""From the headers of a series to one grid: every slice in its place, or the reason why there is none.

Nothing is read but positions and directions; instance numbers, slice locations and the patient's position (head or feet
first) are never asked, since the direction vectors alone say where a voxel lies (DICOM PS3.3, C.7.6.2.1.1).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from espalier.cohort.headers import Instance
from espalier.errors import ScanError
from espalier.geometry import Affine, Grid

POSITION_TOLERANCE_MM: Final = 0.1
"""Positions are often written with one decimal, so that neighbouring distances differ by this much."""
SAME_PLACE_MM: Final = 0.01
DIRECTION_TOLERANCE: Final = 1e-3
LOCALIZER_SHARE: Final = 0.2
"""At most this share of a series may lie in another direction and still be taken for localizers."""
AGAIN: Final = "Export the series again from the archive."


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices in the order of their positions along the normal, on one grid.

    Parameters
    ----------
    instances
        One a slice, from the lowest position along row × column to the highest.
    twins
        Pairs at one place, of which `instances` holds the first; their pixels must be equal.
    grid
        Where the voxels lie; sheared where the gantry was tilted.
    notes
        Reason codes of what was mended.
    """

    instances: tuple[Instance, ...]
    twins: tuple[tuple[Instance, Instance], ...]
    grid: Grid
    notes: tuple[str, ...]


def stack(instances: Sequence[Instance], *, source: str) -> Stack:
    """Put slices in order and check that they make one evenly spaced volume.

    Raises
    ------
    ScanError
        With the codes `multi_frame`, `colour`, `no_position`, `bad_orientation`, `mixed_size`, `mixed_spacing`,
        `mixed_orientation`, `repeated_uid`, `missing_slice`, `uneven_slices`, `shifted_slices` or `too_few_slices`.
    """
    _refuse_other_kinds(instances, source)
    slices, notes = _without_localizers(instances, source)
    _one_value(slices, lambda i: (i.rows, i.columns), code="mixed_size", what="rows and columns", source=source)
    _one_value(slices, _rounded_spacing, code="mixed_spacing", what="distance between pixels in mm", source=source)
    directions = _directions(slices[0], source)
    single, twins = _in_order(slices, directions)
    if twins:
        notes.append("duplicates_dropped")
    if len({i.sop_uid for i in single}) < len(single):
        found = "one SOP instance UID at two places"
        raise ScanError(source, code="repeated_uid", found=found, expected="a UID for each slice", do=AGAIN)
    step = _step_mm(_positions(single), directions[2], source)
    affine = _affine(single[0], directions, step)
    if abs(float(step @ directions[2])) < np.linalg.norm(step) * (1 - DIRECTION_TOLERANCE**2):
        notes.append("gantry_tilt")
    grid = Grid((len(single), single[0].rows, single[0].columns), affine)
    return Stack(tuple(single), tuple(twins), grid, tuple(notes))


def _refuse_other_kinds(instances: Sequence[Instance], source: str) -> None:
    if any(i.frames > 1 for i in instances):
        do = "Convert it to single-frame DICOM or NIfTI."
        raise ScanError(source, code="multi_frame", found="several frames in one file", expected="one slice a file", do=do)
    if any(i.samples_per_pixel > 1 for i in instances):
        raise ScanError(source, code="colour", found="colour pixels", expected="grey values", do="Take another series.")
    placed = [i for i in instances if i.position is not None and i.orientation is not None and i.spacing is not None]
    if len(placed) < len(instances):
        found = f"{len(instances) - len(placed)} of {len(instances)} slices do not say where they lie"
        raise ScanError(source, code="no_position", found=found, expected="position, orientation and spacing", do=AGAIN)


def _without_localizers(instances: Sequence[Instance], source: str) -> tuple[list[Instance], list[str]]:
    """Leave out localizers: marked as such, or few and in another direction than the rest."""
    marked = [i for i in instances if not i.localizer] or list(instances)
    usual = Counter(_rounded_direction(i) for i in marked).most_common(1)[0][0]
    kept = [i for i in marked if np.allclose(_rounded_direction(i), usual, atol=2 * DIRECTION_TOLERANCE)]
    odd = len(marked) - len(kept)
    if odd > LOCALIZER_SHARE * len(marked):
        found = f"{odd} of {len(marked)} slices lie in another direction"
        raise ScanError(source, code="mixed_orientation", found=found, expected="one direction", do=AGAIN)
    return kept, ["localizers_dropped"] if len(kept) < len(instances) else []


def _one_value(slices: Sequence[Instance], value: Callable[[Instance], Hashable], *, code: str, what: str, source: str) -> None:
    counts = Counter(value(i) for i in slices)
    if len(counts) > 1:
        (usual, _), (odd, count) = counts.most_common(2)
        found = f"{count} slices with {what} {_plain(odd)}"
        raise ScanError(source, code=code, found=found, expected=f"{_plain(usual)} as in the rest", do=AGAIN)


def _in_order(
    slices: Sequence[Instance], directions: Float[np.ndarray, "3 3"]
) -> tuple[list[Instance], list[tuple[Instance, Instance]]]:
    """Sort along the normal; of slices at one place keep the first by UID and name, and return the others as twins."""
    along = _positions(slices) @ directions[2]
    order = sorted(range(len(slices)), key=lambda n: (round(float(along[n]), 3), slices[n].sop_uid, slices[n].name))
    single: list[int] = []
    twins = []
    for n in order:
        if single and along[n] - along[single[-1]] < SAME_PLACE_MM:
            twins.append((slices[single[-1]], slices[n]))
        else:
            single.append(n)
    return [slices[n] for n in single], twins


def _step_mm(positions: Float[np.ndarray, "n 3"], normal: Float[np.ndarray, "3"], source: str) -> Float[np.ndarray, "3"]:
    """Return the vector from one slice to the next in mm; raise `ScanError` where it is not the same all along."""
    if len(positions) < 2:
        raise ScanError(source, code="too_few_slices", found="a single slice", expected="a volume", do="Take another series.")
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    odd = int(np.argmax(np.abs(gaps - usual)))
    if abs(gaps[odd] - usual) > POSITION_TOLERANCE_MM + 0.02 * usual:
        ratio = gaps[odd] / usual
        missing = np.sum(np.abs(gaps - usual) > POSITION_TOLERANCE_MM + 0.02 * usual) <= 3 and abs(ratio - round(ratio)) < 0.1
        raise ScanError(
            source,
            code="missing_slice" if missing and ratio > 1.5 else "uneven_slices",
            found=f"{gaps[odd]:.2f} mm after slice {odd + 1}",
            expected=f"{usual:.2f} mm",
            do="Export the series again: slices are missing." if missing else "Take a series with one distance.",
        )
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    off = positions - positions[0] - np.arange(len(positions))[:, None] * step
    worst = float(np.abs(off).max())
    if worst > 2 * POSITION_TOLERANCE_MM + 0.1 * usual:
        found = f"a slice {worst:.2f} mm beside its place"
        raise ScanError(source, code="shifted_slices", found=found, expected="all on one line", do=AGAIN)
    return np.asarray(step)


def _affine(first: Instance, directions: Float[np.ndarray, "3 3"], step: Float[np.ndarray, "3"]) -> Affine:
    assert first.spacing is not None
    assert first.position is not None
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = directions[1] * first.spacing[0]
    affine[:3, 2] = directions[0] * first.spacing[1]
    affine[:3, 3] = first.position
    return affine


def _directions(instance: Instance, source: str) -> Float[np.ndarray, "3 3"]:
    """Return the unit vectors along a row, along a column, and their normal, as rows."""
    vectors = np.asarray(instance.orientation, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm(vectors, axis=1)
    spacing = np.asarray(instance.spacing)
    if np.abs(lengths - 1).max() > 0.01 or abs(float(vectors[0] @ vectors[1])) > 0.01 or (spacing <= 0).any():
        found = "directions that are not unit vectors at a right angle, or no spacing"
        raise ScanError(source, code="bad_orientation", found=found, expected="two unit vectors", do=AGAIN)
    row, column = vectors / lengths[:, None]
    return np.stack([row, column, np.cross(row, column)])


def _positions(slices: Sequence[Instance]) -> Float[np.ndarray, "n 3"]:
    return np.asarray([i.position for i in slices], dtype=np.float64)


def _rounded_direction(instance: Instance) -> tuple[float, ...]:
    return tuple(round(v, 3) + 0.0 for v in instance.orientation or ())


def _rounded_spacing(instance: Instance) -> tuple[float, ...]:
    return tuple(round(v, 4) for v in instance.spacing or ())


def _plain(value: object) -> str:
    return " × ".join(str(v) for v in value) if isinstance(value, tuple) else str(value)
