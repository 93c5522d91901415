"""From the headers of a series to one grid: every slice in its place, or the reason why there is none.

Nothing is asked but positions and directions; instance numbers, slice locations and the patient's position (head or feet
first) are never asked, since the direction vectors alone say where a voxel lies (DICOM PS3.3, C.7.6.2.1.1).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float

from espalier.cohort.headers import Instance
from espalier.cohort.hints import PLAIN, Hints
from espalier.cohort.spread import spread_of
from espalier.errors import ScanError
from espalier.geometry import Affine, Grid, is_sheared

SAME_PLACE_MM: Final = 0.01
DIRECTION_TOLERANCE: Final = 1e-3
STEEPEST_COSINE: Final = 0.7
"""Gantries tilt by 30° at most; a steeper step between slices is no tilt."""
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
    along_mm
        Where the distance changes inside: each slice's place along the stack from the first one. `grid` is even then,
        and the voxels must be interpolated onto it.
    """

    instances: tuple[Instance, ...]
    twins: tuple[tuple[Instance, Instance], ...]
    grid: Grid
    notes: tuple[str, ...]
    along_mm: tuple[float, ...] | None = None

    @property
    def widest_gap_mm(self) -> float:
        """The largest distance between neighbouring slices as they were scanned."""
        return self.grid.spacing_mm[0] if self.along_mm is None else float(np.diff(self.along_mm).max())


def stack(instances: Sequence[Instance], *, source: str, hints: Hints = PLAIN) -> Stack:
    """Put slices in order and check that they make one evenly spaced volume.

    Raises
    ------
    ScanError
        With the codes `multi_frame`, `colour`, `no_position`, `bad_orientation`, `mixed_size`, `mixed_spacing`,
        `mixed_orientation`, `repeated_uid`, or one of `espalier.cohort.spread.spread_of`.
    """
    if hints.acquisition is not None:
        instances = [i for i in instances if i.acquisition == hints.acquisition]
    instances, assumed = _located(instances, hints)
    _refuse_other_kinds(instances, source)
    slices, notes = _without_localizers(instances, source)
    notes += assumed
    _one_value(slices, lambda i: (i.rows, i.columns), code="mixed_size", what="rows and columns", source=source)
    _one_value(slices, _rounded_spacing, code="mixed_spacing", what="distance between pixels in mm", source=source)
    directions = _directions(slices[0], source)
    single, twins = _in_order(slices, directions)
    if twins:
        notes.append("duplicates_dropped")
    named = [i.sop_uid for i in single if i.sop_uid]
    if len(named) < len(single):
        notes.append("uids_missing")
    if len(set(named)) < len(named):
        found = "one SOP instance UID at two places"
        raise ScanError(source, code="repeated_uid", found=found, expected="a UID for each slice", do=AGAIN)
    spread = spread_of(_positions(single), directions[2], source=source, interpolate=hints.missing_slice == "interpolate")
    affine = _affine(single[0], directions, spread.step)
    if abs(float(spread.step @ directions[2])) < STEEPEST_COSINE * np.linalg.norm(spread.step):
        found = "slices that lie farther beside than above each other"
        raise ScanError(source, code="shifted_slices", found=found, expected="a gantry tilt below 45°", do=AGAIN)
    if is_sheared(affine):
        notes.append("gantry_tilt")
    grid = Grid((spread.count, single[0].rows, single[0].columns), affine)
    return Stack(tuple(single), tuple(twins), grid, (*notes, *spread.notes), spread.along_mm)


def _located(instances: Sequence[Instance], hints: Hints) -> tuple[Sequence[Instance], list[str]]:
    """Place slices by SliceLocation where the study's settings allow it; axial then, with the patient's middle unknown."""
    if hints.no_position != "slice_location" or all(i.position is not None for i in instances):
        return instances, []
    located = [
        replace(i, position=(0.0, 0.0, i.location_mm), orientation=i.orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        if i.location_mm is not None
        else i
        for i in instances
    ]
    return located, ["position_assumed"]


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
    usual = Counter(map(_direction, marked)).most_common(1)[0][0]
    alike = {given: np.allclose(given, usual, atol=2 * DIRECTION_TOLERANCE) for given in set(map(_direction, marked))}
    kept = [i for i in marked if alike[_direction(i)]]
    odd = len(marked) - len(kept)
    turned = any(not same and abs(float(_normal(given) @ _normal(usual))) > 0.99 for given, same in alike.items())
    if turned or odd > LOCALIZER_SHARE * len(marked):  # slices of the same stack, turned, are no localizers
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


def _direction(instance: Instance) -> tuple[float, ...]:
    return tuple(instance.orientation or ())


def _normal(direction: Sequence[float]) -> Float[np.ndarray, " 3"]:
    row, column = np.reshape(direction, (2, 3))
    return np.cross(row, column)


def _rounded_spacing(instance: Instance) -> tuple[float, ...]:
    return tuple(round(v, 4) for v in instance.spacing or ())


def _plain(value: object) -> str:
    return " × ".join(str(v) for v in value) if isinstance(value, tuple) else str(value)
