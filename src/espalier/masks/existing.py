"""Masks that some segmenter or reader has made already, whatever their form, turned to the wanted structures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from espalier.cohort.volume import Volume
from espalier.errors import ScanError
from espalier.geometry import Grid
from espalier.masks.dicom_refs import read_references, refuse_other_frame, scan_references
from espalier.masks.dicom_seg import open_seg
from espalier.masks.files import Masks
from espalier.masks.given import Given, MaskFile, given_masks, without_structure
from espalier.masks.matching import FOLDER
from espalier.masks.naming import values_named
from espalier.masks.placement import refuse_elsewhere
from espalier.masks.rtstruct import open_rtstruct
from espalier.masks.volumes import is_volume, open_folder, open_volume

OTHER_SERIES: Final = "mask_of_other_series"
"""Noted where a mask in DICOM was made on another series in the scan's frame of reference."""


def existing_masks(
    volume: Volume, structures: Sequence[str], *, root: Path, names: Sequence[str], row: Mapping[str, Any], folder: Path
) -> Given:
    """Return one scan's masks with values by the order of `structures`, on the grid of their file.

    Parameters
    ----------
    volume
        The scan.
    structures
        The wanted ones.
    root
        Where existing masks lie.
    names
        The scan's entry of `espalier.masks.find.found_names`.
    row
        Of the cohort.
    folder
        Of the study.

    Raises
    ------
    ScanError
        `mask_missing`, `mask_ambiguous`, `mask_without_structure`, `mask_values_unnamed`, `mask_values`, `mask_shape`,
        `mask_unreadable`, `mask_position`, `mask_mirrored`, `mask_elsewhere`, `mask_other_frame`, `mask_grids_differ`,
        `mask_frames_uneven` or `contours_oblique`.
    InputError
        When a list of names beside the masks is none.
    """
    if not names:
        do = "Make its mask, or name the file after the scan's id, series UID, path or stem."
        raise ScanError(row["scan"], code="mask_missing", found="no mask is named after it", expected="one", do=do)
    opened = [_opened(name, volume.grid, structures, root=root, row=row, folder=folder) for name in names]
    given = given_masks([file for file, _ in opened], structures)
    notes = dict.fromkeys(note for _, own in opened for note in own)
    place = refuse_elsewhere(given.masks, volume.grid, source=str(root / names[0]))
    return Given(given.masks, (*notes, *given.notes, *place))


def wanted(masks: Masks, structures: Sequence[str], *, source: Path) -> Masks:
    """Return masks that hold `structures` only, in their order, parts joined; all else becomes background.

    Names are compared without capitals, marks and the order of words.

    Raises
    ------
    ScanError
        `mask_without_structure`.
    """
    table = np.zeros(256, dtype=np.uint8)
    for value, structure in enumerate(structures, start=1):
        own = values_named(structure, masks.names)
        if not own:
            raise without_structure(structure, (masks.names,), source=source)
        table[list(own)] = value
    return replace(masks, voxels=table[masks.voxels], names=dict(enumerate(structures, start=1)))


def _opened(
    name: str, grid: Grid, structures: Sequence[str], *, root: Path, row: Mapping[str, Any], folder: Path
) -> tuple[MaskFile, tuple[str, ...]]:
    path = root / name
    if name.endswith(FOLDER):
        return open_folder(path, [one.name for one in path.iterdir() if is_volume(one.name)]), ()
    if is_volume(name):
        return open_volume(path, root, structures), ()
    references = read_references(path)
    if references is None:
        do = "Copy or make the mask again."
        raise ScanError(path, code="mask_unreadable", found="no mask in DICOM", expected="SEG or RTSTRUCT", do=do)
    series, frame = scan_references(row, folder=folder)
    refuse_other_frame(references, frame, source=path)
    other = bool(series and references.series and series not in references.series)
    opened = open_seg(path, grid) if references.kind == "seg" else open_rtstruct(path, grid)
    return opened, (OTHER_SERIES,) if other else ()
