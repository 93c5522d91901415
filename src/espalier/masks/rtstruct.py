"""DICOM RT structure sets: closed planar contours, filled on the grid of the scan (PS3.3, C.8.8.5 and C.8.8.6)."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from jaxtyping import Bool, Float

from espalier.cohort.elements import BROKEN, text_of
from espalier.errors import ScanError
from espalier.geometry import Grid
from espalier.masks.given import Groups, MaskFile, Painted, painted_layers
from espalier.masks.polygons import filled_polygons

LEFT_OUT: Final = "contours_left_out"
"""Noted where points or open lines of a wanted structure were left out: they enclose nothing."""
BETWEEN: Final = "contours_between_slices"
"""Noted where contours lie on other positions than the slices, so that each slice took the nearest contours."""
CLOSED: Final = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
FLAT_VOXELS: Final = 0.2
"""Points of a contour may lie this share of a slice's distance beside its plane."""
ON_SLICE: Final = 0.1

Points = Float[np.ndarray, "n 3"]


@dataclass(frozen=True, slots=True, eq=False)
class _Roi:
    """The closed contours of one region (points x, y, z in mm), and whether others were left out."""

    contours: tuple[Points, ...]
    left_out: bool


def open_rtstruct(path: Path, grid: Grid) -> MaskFile:
    """Return a structure set, opened; only regions with closed contours have a name in it.

    Parameters
    ----------
    path
        The file.
    grid
        Of the scan, on which contours are filled.

    Raises
    ------
    ScanError
        `mask_unreadable`; reading also `contours_oblique`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of it is judged here
            dataset = pydicom.dcmread(path, force=True)
            names = {int(one.ROINumber): text_of(one, "ROIName") or "" for one in dataset.StructureSetROISequence}
            rois = _rois(dataset)
    except BROKEN as error:
        raise ScanError(
            path,
            code="mask_unreadable",
            found=f"not readable as an RT structure set ({(str(error) or type(error).__name__).splitlines()[0][:150]})",
            expected="a whole file",
            do="Copy or export it again.",
        ) from error
    drawn = {number: name for number, name in names.items() if number in rois and rois[number].contours}
    return MaskFile(path, (drawn,), lambda groups: _painted(rois, groups, grid, path))


def _rois(dataset: Any) -> dict[int, _Roi]:
    rois = {}
    for one in dataset.get("ROIContourSequence") or ():
        closed: list[Points] = []
        others = False
        for contour in one.get("ContourSequence") or ():
            kind = str(contour.get("ContourGeometricType") or "").upper()
            numbers = contour.get("ContourData")
            points = np.array(numbers if numbers is not None else [], dtype=np.float64).reshape(-1, 3)
            if kind not in CLOSED or len(points) < 3:
                others = True
            elif not np.isfinite(points).all():
                raise ValueError("a contour whose points are no numbers")
            else:
                closed.append(points)
        rois[int(one.ReferencedROINumber)] = _Roi(tuple(closed), others)
    return rois


def _painted(rois: Mapping[int, _Roi], groups: Groups, grid: Grid, path: Path) -> Painted:
    notes: dict[str, None] = {}

    def layers() -> Iterator[tuple[int, Bool[np.ndarray, "z y x"]]]:
        for value, group in enumerate(groups, start=1):
            for number in group:
                mask, between = _filled(rois[number].contours, grid, path)
                notes.update({LEFT_OUT: None} if rois[number].left_out else {})
                notes.update({BETWEEN: None} if between else {})
                yield value, mask

    painted = painted_layers(layers(), grid.shape, grid.affine)
    return Painted(painted.voxels, painted.affine, (*notes, *painted.notes))


def _filled(contours: Sequence[Points], grid: Grid, path: Path) -> tuple[Bool[np.ndarray, "z y x"], bool]:
    """Return where one region is, and whether its contours lie beside the slices."""
    to_index = np.linalg.inv(grid.affine)
    placed = [points @ to_index[:3, :3].T + to_index[:3, 3] for points in _each_once(contours)]
    axis = _slice_axis(placed, path)
    planes = _planes(placed, axis)
    heights = np.array([height for height, _ in planes])
    reach = max(1.0, float(np.diff(heights).min())) / 2 if len(heights) > 1 else 0.5
    beside = bool(np.abs(heights - np.rint(heights)).max() > ON_SLICE or reach > 0.5 + ON_SLICE)
    mask = np.zeros(grid.shape, dtype=bool)
    by_slice = np.moveaxis(mask, axis, 0)
    drawn, filled = -1, by_slice[0]
    for n in range(by_slice.shape[0]):
        nearest = int(np.argmin(np.abs(heights - n)))
        if -reach < n - heights[nearest] <= reach + 1e-6:
            if nearest != drawn:
                drawn, filled = nearest, filled_polygons(planes[nearest][1], by_slice.shape[1:])
            by_slice[n] = filled
    return mask, beside


def _planes(placed: Sequence[Points], axis: int) -> list[tuple[float, list[Float[np.ndarray, "n 2"]]]]:
    """Return the contours by plane: its height in slices, and their points within it, lowest first."""
    planes: list[tuple[float, list[Float[np.ndarray, "n 2"]]]] = []
    for points in sorted(placed, key=lambda points: float(points[:, axis].mean())):
        height = float(points[:, axis].mean())
        if not planes or height - planes[-1][0] > FLAT_VOXELS:
            planes.append((height, []))
        planes[-1][1].append(np.delete(points, axis, axis=1))
    return planes


def _each_once(contours: Sequence[Points]) -> list[Points]:
    """Leave out a contour that is there twice: it would be taken for a hole in itself."""
    return list({points.tobytes(): points for points in contours}.values())


def _slice_axis(placed: Sequence[Points], path: Path) -> int:
    """Return the axis of the grid across which all contours are flat."""
    spread = np.max([np.ptp(points, axis=0) for points in placed], axis=0)
    axis = int(np.argmin(spread))
    if spread[axis] > FLAT_VOXELS:
        raise ScanError(
            path,
            code="contours_oblique",
            found="contours that are not drawn on slices of the scan's grid",
            expected="contours in planes along its axes",
            do="Export the structures as a segmentation, or draw them on this series.",
        )
    return axis
