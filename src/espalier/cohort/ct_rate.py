"""CT-RATE as it was downloaded: who is whose by the files' names, scanner and geometry by the metadata tables.

Hamamci et al. 2024, <https://huggingface.co/datasets/ibrahimhamamci/CT-RATE>. The first upload (folders `train` and
`valid`) holds the scanner's stored values on a grid that only the tables know; the second (`train_fixed`, `valid_fixed`)
holds HU on its own grid, and slope and intercept must never be applied to it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from espalier.cohort.cells import number_of, plain_id
from espalier.cohort.files import Single, stem_of
from espalier.cohort.headers import About
from espalier.cohort.hints import Hints, hints_text
from espalier.cohort.published_cells import age_of, kernel_of, maker_of, told, vector_of
from espalier.cohort.published_layout import (
    Cells,
    Layout,
    Told,
    aside,
    find_table,
    folders_of,
    not_in_layout,
    read_rows,
    rows_without_files,
    single_file_series,
    with_size,
)
from espalier.cohort.series import Series
from espalier.errors import InputError, ScanError
from espalier.outputs import safe_id
from espalier.stage import Rows

NAME: Final = "ct-rate"
VOLUME: Final = re.compile(
    r"(?:^|_)(?P<volume>(?P<scan>(?P<patient>(?P<split>train|valid)_[1-9][0-9]*)_[a-z]+)_[1-9][0-9]*)\.nii(?:\.gz)?$", re.ASCII
)
"""Split, patient, scan and reconstruction: `valid_53_a_1.nii.gz`; folders may be flattened into the front of the name."""
SPLITS: Final[Mapping[str, str]] = {"train": "train", "valid": "test"}
"""The published results are on `valid`, so that it is a test set (Li et al. 2025, data)."""
METADATA: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("train_metadata.csv",),
    "valid": ("validation_metadata.csv", "valid_metadata.csv"),
}
NO_CHEST: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("no_chest_train.txt",),
    "valid": ("no_chest_valid.txt", "no_chest_validation.txt"),
}
COLUMNS: Final = (
    "Manufacturer", "SeriesDescription", "PatientSex", "PatientAge", "ConvolutionKernel", "ImagePositionPatient",
    "ImageOrientationPatient", "XYSpacing", "ZSpacing", "RescaleIntercept", "RescaleSlope", "NumberofSlices",
)  # fmt: skip
_FIXED: Final = re.compile(r"(?:^|_)(?:train|valid|validation)_fixed(?:_|$)")
_FIRST: Final = re.compile(r"(?:^|dataset_)(?:train|valid|validation)_(?=(?:train|valid)_\d)")
_MASKS: Final = re.compile(r"(?:^|_)(?:ts_seg|ts_total|ts_lung_nodules|ts_pleural_pericard_effusion)(?:_|$)")


@dataclass(frozen=True, slots=True)
class _Volume:
    """One file that has the name of a volume; `first` where it is of the first upload."""

    file: Single
    name: str
    split: str
    first: bool


def find_series(files: Sequence[Single], *, source: Path) -> Layout:
    """Return what is there of CT-RATE.

    Parameters
    ----------
    files
        The single files of one source; any part of the data set, in the published folders, in one folder, or with the
        folders flattened into the names.
    source
        The folder that was downloaded, or one below it; the tables are looked for in it, beside it and above it.

    Raises
    ------
    InputError
        When a metadata table cannot be read.
    """
    above = folders_of(source)
    scans = [one for one in files if not _is_mask(one, above)]
    volumes, unknown = _named(scans, above)
    kept, twice = _each_once(volumes)
    tables = {split: read_rows(find_table(source, *METADATA[split]), "VolumeName", COLUMNS, kept) for split in SPLITS}
    no_chest = {name for split in SPLITS for name in _listed(find_table(source, *NO_CHEST[split]))}
    series, notes, unusable = _series(kept, tables, no_chest)
    here = {volume.split for volume in kept.values()}  # the other split may be another source
    absent = [rows_without_files(table, kept, of=NAME) for split, table in tables.items() if split in here]
    return Layout(
        series=series,
        set_aside=[*unknown, *twice, *unusable, *(row for rows, _ in absent for row in rows)],
        notes=notes,
        others=len(files) - len(scans),
        words=tuple(word for _, words in absent for word in words),
    )


def has_its_names(files: Sequence[Single]) -> bool:
    """Tell whether the files are named as those of CT-RATE: at least nine of ten."""
    return bool(files) and sum(VOLUME.search(_last(one)) is not None for one in files) >= 0.9 * len(files)


def stored_geometry(cells: Cells, *, source: str) -> Hints:
    """Return how a file of the first upload becomes HU on its grid, from its row of the metadata.

    Parameters
    ----------
    cells
        Its row.
    source
        For the message.

    Raises
    ------
    ScanError
        With the code `metadata_incomplete` where the row lacks one of the numbers.
    """
    numbers = {
        "RescaleSlope": vector_of(cells.get("RescaleSlope", ""), 1),
        "RescaleIntercept": vector_of(cells.get("RescaleIntercept", ""), 1),
        "XYSpacing": vector_of(cells.get("XYSpacing", ""), 2),
        "ZSpacing": vector_of(cells.get("ZSpacing", ""), 1),
        "ImagePositionPatient": vector_of(cells.get("ImagePositionPatient", ""), 3),
        "ImageOrientationPatient": vector_of(cells.get("ImageOrientationPatient", ""), 6),
    }
    lacking = [name for name, value in numbers.items() if value is None]
    if lacking:
        raise _incomplete(source, f"no usable {lacking[0]} in its row of the metadata")
    (slope,), (intercept,), spacing, (distance,), position, orientation = (value or (0.0,) for value in numbers.values())
    row, column = np.reshape(orientation, (2, 3))
    upright = np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-3)
    if not upright or slope == 0 or min(*spacing, distance) <= 0:
        raise _incomplete(source, "a row of the metadata that describes no volume")
    affine = np.eye(4)
    affine[:3, 0] = np.cross(row, column) * distance
    affine[:3, 1] = column * spacing[1]
    affine[:3, 2] = row * spacing[0]
    affine[:3, 3] = position
    # Whatever the file's own header says of orientation, or not, gives way to the affine.
    return Hints(slope=slope, intercept=intercept, affine=tuple(affine.ravel().tolist()), no_orientation="LPS")


def _incomplete(source: str, found: str) -> ScanError:
    expected, do = "slope, intercept, spacing, position and orientation", "Take the volume from the *_fixed folders."
    return ScanError(source, code="metadata_incomplete", found=found, expected=expected, do=do)


def _named(files: Sequence[Single], above: Sequence[str]) -> tuple[list[_Volume], Rows]:
    volumes: list[_Volume] = []
    unknown: Rows = []
    for one in files:
        match = VOLUME.search(_last(one))
        if match is None:
            unknown.append(not_in_layout(one, of="CT-RATE", expected="a name such as train_1_a_1.nii.gz"))
        else:
            volumes.append(_Volume(one, match["volume"], match["split"], _is_first_upload(one, above)))
    return volumes, unknown


def _each_once(volumes: Sequence[_Volume]) -> tuple[dict[str, _Volume], Rows]:
    """Keep one file of each volume, that of the second upload where it is there."""
    kept: dict[str, _Volume] = {}
    rows: Rows = []
    for one in sorted(volumes, key=lambda v: (v.first, v.file.name)):
        best = kept.setdefault(one.name, one)
        if best is one:
            continue
        code, found = ("series_twice", "the same volume lies here twice")
        if one.first and not best.first:
            code, found = ("first_upload", "stored values; the same volume lies here in HU too, in a *_fixed folder")
        do = "Nothing: the other file is used."
        rows.append(aside(one.file.path.as_posix(), code, found, expected="each volume once", do=do, scan=_scan(one)))
    return kept, rows


def _series(
    kept: Mapping[str, _Volume], tables: Mapping[str, Told], no_chest: Collection[str]
) -> tuple[list[Series], dict[str, tuple[str, ...]], Rows]:
    series: list[Series] = []
    notes: dict[str, tuple[str, ...]] = {}
    rows: Rows = []
    for name, volume in kept.items():
        table = tables[volume.split]
        try:
            one = _one(volume, table.rows.get(name), listed=name in no_chest)
        except ScanError as error:
            rows.append({"source": error.source, "scan": _scan(volume), **_reason(error)})
            continue
        series.append(one)
        if table.table is not None and name not in table.rows:
            notes[one.scan] = ("not_in_metadata",)
    return series, notes, rows


def _one(volume: _Volume, cells: Cells | None, *, listed: bool) -> Series:
    """Return one volume as a series; raise `ScanError` where it cannot be one."""
    source = volume.file.path.as_posix()
    if listed:
        found, do = "named in the data set's list of volumes that show no chest", "Nothing: it is left out."
        raise ScanError(source, code="not_the_body_part", found=found, expected="the chest", do=do)
    if cells is not None and "ZSpacing" in cells and vector_of(cells["ZSpacing"], 1) is None:
        found, do = "no distance between slices in its row of the metadata", "Nothing: such volumes show no chest."
        raise ScanError(source, code="no_slice_spacing", found=found, expected="ZSpacing in mm", do=do)
    if volume.first and cells is None:
        found, do = "stored values of the first upload, and no row of the metadata", "Take it from the *_fixed folders."
        raise ScanError(source, code="not_in_metadata", found=found, expected="its slope, intercept and grid", do=do)
    one = single_file_series(volume.file, volume.name, "nifti", _about(volume, cells or {}), of=NAME)
    if cells is not None:
        one = with_size(one, number_of(cells.get("NumberofSlices", "")), number_of(cells.get("ZSpacing", "")))
    return replace(one, hints=hints_text(stored_geometry(cells, source=source))) if volume.first and cells else one


def _about(volume: _Volume, cells: Cells) -> About:
    match = VOLUME.search(f"{volume.name}.nii")
    assert match is not None
    return About(
        patient=match["patient"],
        study_uid=match["scan"],
        series_uid=volume.name,
        accession=match["scan"],
        age_years=age_of(cells.get("PatientAge", "")),
        sex=told(cells.get("PatientSex", "")).upper()[:1],
        manufacturer=maker_of(cells.get("Manufacturer", "")),
        kernel=kernel_of(cells.get("ConvolutionKernel", "")),
        description=told(cells.get("SeriesDescription", "")),
        official_split=SPLITS[volume.split],
    )


def _reason(error: ScanError) -> dict[str, Any]:
    return {"reason": error.code, "found": error.found, "expected": error.expected, "do": error.do}


def _scan(volume: _Volume) -> str:
    return safe_id(NAME, volume.name)


def _last(one: Single) -> str:
    return one.name.rpartition("/")[2]


def _is_first_upload(one: Single, above: Sequence[str]) -> bool:
    """Tell by the folders; a file in folders of other names counts as HU, so that nothing is ever rescaled twice."""
    *below, last = one.name.lower().split("/")
    parts = (*above, *below)
    if any(_FIXED.search(part) for part in (*parts, last)):
        return False
    published = not {("dataset", "train"), ("dataset", "valid")}.isdisjoint(pairwise(parts))
    return published or bool({"train", "valid", "validation"} & set(below)) or bool(_FIRST.match(last))


def _is_mask(one: Single, above: Sequence[str]) -> bool:
    return any(_MASKS.search(part) for part in (*above, *one.name.lower().split("/")))


def _listed(path: Path | None) -> set[str]:
    """Return the volumes that a list names, one a line, with or without folders."""
    if path is None:
        return set()
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(
            path, found=error.strerror or "not readable", expected="a list of volumes", do="Let it be read."
        ) from error
    return {stem_of(plain_id(line)) for line in lines if line.strip()}
