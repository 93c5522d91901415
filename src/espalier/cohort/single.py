"""One single file of a volume, whatever its format: its grid, or its voxels in HU."""

from pathlib import Path
from typing import Final

import numpy as np

from espalier.cohort.archives import is_archive_name, unpacked
from espalier.cohort.hints import PLAIN, Hints
from espalier.cohort.metaimage import read_metaimage, read_metaimage_header
from espalier.cohort.nifti import read_nifti, read_nifti_header
from espalier.cohort.npz import read_npz, read_npz_header
from espalier.cohort.nrrd import read_nrrd, read_nrrd_header
from espalier.cohort.stored import without_edge
from espalier.cohort.volume import Format, Reading, Volume
from espalier.geometry import Affine, Grid

OF_THE_AFFINE: Final = frozenset({"orientation_assumed", "sform_qform_differ", "sheared", "unit_converted"})
"""Notes on a file's own affine, which say nothing where a table's is taken."""


def single_grid(path: Path, *, form: Format, member: str = "", hints: Hints = PLAIN) -> Grid:
    """Return where the voxels of a single file lie, from its header; raise `ScanError` as its reader does."""
    if member and is_archive_name(path.name):
        with unpacked(path, [member]) as place:
            return single_grid(place / member, form=form, hints=hints)
    if form == "nrrd":
        return read_nrrd_header(path).grid
    if form == "metaimage":
        return read_metaimage_header(path).grid
    if form == "npz":
        return read_npz_header(path, spacing_mm=hints.spacing_mm, axes=hints.axes).grid
    grid = read_nifti_header(path, no_orientation=hints.no_orientation).grid
    return grid if hints.affine is None else Grid(grid.shape, _affine(hints.affine))


def read_single(path: Path, *, form: Format, hints: Hints = PLAIN) -> Reading:
    """Return a single file as a volume in HU; raise `ScanError` as its reader does."""
    if form == "nrrd":
        return _told(read_nrrd(path), hints)
    if form == "metaimage":
        return _told(read_metaimage(path), hints)
    if form == "npz":
        return _told(read_npz(path, spacing_mm=hints.spacing_mm, axes=hints.axes), hints)
    rescale = (hints.slope, hints.intercept)
    return _told(read_nifti(path, no_orientation=hints.no_orientation, rescale=rescale), hints)


def _told(reading: Reading, hints: Hints) -> Reading:
    """Apply what a published data set's table says of a file: its geometry, and an edge that is no scan."""
    voxels, affine, notes = reading.volume.voxels, reading.volume.affine, reading.notes
    if hints.edge_hu is not None:
        voxels = without_edge(voxels, edge_hu=hints.edge_hu)
    if hints.affine is not None:
        affine, notes = _affine(hints.affine), tuple(note for note in notes if note not in OF_THE_AFFINE)
    return Reading(Volume(voxels, affine), notes, reading.files)


def _affine(numbers: tuple[float, ...]) -> Affine:
    return np.array(numbers, dtype=np.float64).reshape(4, 4)
