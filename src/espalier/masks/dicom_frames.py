"""Where the frames of a DICOM mask lie, and the grid that they make together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from espalier.cohort.elements import text_of
from espalier.cohort.stored import MAX_VOXELS
from espalier.errors import ScanError
from espalier.geometry import Grid, direction_of

OFF_STEP: Final = 0.05
"""A frame may lie this share of the distance between slices beside its slice; positions carry the noise of text."""
OFF_LINE_MM: Final = 0.5
PARALLEL: Final = 0.999
MOST_SLICES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where one frame lies: its first voxel (x, y, z in mm, LPS+), its directions, and distances in mm (0: not told)."""

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    between_mm: float


def place_of(frame: Any, shared: Any, *, source: Path) -> Place:
    """Return where a frame lies, by its own functional groups before the shared ones; raise `ScanError` `mask_position`."""
    measures = _group(frame, shared, "PixelMeasuresSequence")
    position = _numbers(_group(frame, shared, "PlanePositionSequence"), "ImagePositionPatient", 3)
    orientation = _numbers(_group(frame, shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    spacing = _numbers(measures, "PixelSpacing", 2)
    between = _numbers(measures, "SpacingBetweenSlices", 1) or _numbers(measures, "SliceThickness", 1) or (0.0,)
    if position is None or orientation is None or spacing is None or min(spacing) <= 0:
        raise _no_place(source, "a frame that does not say where it lies")
    row, column = np.reshape(orientation, (2, 3))
    if np.abs([row @ row - 1, column @ column - 1, row @ column]).max() > 0.01:
        raise _no_place(source, "directions that are not unit vectors at a right angle")
    return Place(position, orientation, spacing, abs(between[0]))


def lattice(places: Sequence[Place], shape: tuple[int, int], *, like: Grid, source: Path) -> tuple[Grid, list[int]]:
    """Return the grid that frames make, and the slice of each frame in it.

    Slices without a frame are part of the grid: writers leave empty frames out.

    Parameters
    ----------
    places
        Of every frame.
    shape
        Rows and columns.
    like
        The scan's grid, which tells of the distance between slices where the frames alone do not.
    source
        For messages.

    Raises
    ------
    ScanError
        `mask_frames_uneven`, when they do not make one.
    """
    first = places[0]
    if any(
        not np.allclose([*one.orientation, *one.spacing], [*first.orientation, *first.spacing], atol=1e-3) for one in places
    ):
        raise _uneven(source, "frames of several directions or spacings")
    row, column = np.reshape(first.orientation, (2, 3))
    normal = np.cross(row, column)
    positions = np.array([one.position for one in places])
    along = positions @ normal
    low, high = int(np.argmin(along)), int(np.argmax(along))
    depth = along[high] - along[low]
    line = (positions[high] - positions[low]) / depth if depth > 0 else normal
    beside = positions - positions[low] - (along - along[low])[:, None] * line
    if np.linalg.norm(beside, axis=1).max() > OFF_LINE_MM:
        raise _uneven(source, "frames that do not lie above each other")
    step_mm = _step_mm(along - along[low], normal, first.between_mm, like, source)
    slices = np.rint((along - along[low]) / step_mm).astype(int)
    count = int(slices.max()) + 1
    if count > MOST_SLICES or count * shape[0] * shape[1] > MAX_VOXELS:
        raise _uneven(source, f"frames over {depth:.0f} mm, {step_mm:g} mm apart")
    affine = np.eye(4)
    affine[:3, 0] = line * step_mm
    affine[:3, 1] = column * first.spacing[0]
    affine[:3, 2] = row * first.spacing[1]
    affine[:3, 3] = positions[low]
    return Grid((count, *shape), affine), slices.tolist()


def _step_mm(along: Float[np.ndarray, " n"], normal: Float[np.ndarray, " 3"], told: float, like: Grid, source: Path) -> float:
    """Return the distance between slices.

    Of three frames or more two are neighbours, since structures are in one piece: the smallest gap tells. Fewer may be lone
    slices, of which the file or the scan must tell.
    """
    cosines = np.abs(direction_of(like.affine).T @ normal)
    scan_mm = like.spacing_mm[int(np.argmax(cosines))] if cosines.max() > PARALLEL else 0.0
    places = np.unique(np.round(along, 3))
    gaps = np.diff(places)
    smallest = float(gaps.min()) if len(gaps) else 0.0
    tries = [smallest, told, scan_mm] if len(places) > 2 else [told, scan_mm, smallest, 1.0]
    for step_mm in (scan_mm if abs(one - scan_mm) < OFF_STEP * scan_mm else one for one in tries if one > 0):
        count = np.rint(along.max() / step_mm)
        even_mm = float(along.max() / count) if count else step_mm
        if abs(along.max() - count * step_mm) <= OFF_STEP * step_mm and _fits(along / even_mm):
            return even_mm
    raise _uneven(source, f"frames at uneven distances, {smallest:g} to {gaps.max(initial=0.0):g} mm")


def _fits(steps: Float[np.ndarray, " n"]) -> bool:
    return bool(np.abs(steps - np.rint(steps)).max() <= OFF_STEP)


def _group(frame: Any, shared: Any, keyword: str) -> Any:
    found = frame.get(keyword) or shared.get(keyword)
    return found[0] if found else {}


def _numbers(dataset: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return exactly `count` finite numbers of an element, or None where it does not hold them."""
    try:
        numbers = tuple(map(float, (text_of(dataset, keyword) or "").split("\\")))
    except ValueError:
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def _no_place(source: Path, found: str) -> ScanError:
    expected = "position, orientation and spacing of every frame"
    return ScanError(source, code="mask_position", found=found, expected=expected, do="Export the mask again.")


def _uneven(source: Path, found: str) -> ScanError:
    expected = "frames of one direction, evenly spaced"
    return ScanError(
        source, code="mask_frames_uneven", found=found, expected=expected, do="Export it on the slices of the scan."
    )
