"""NIfTI files below a source as series: who is whose, by folders or by the study's own table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from espalier.cohort.csv_table import read_csv_table
from espalier.cohort.headers import About
from espalier.cohort.nifti import read_nifti_header
from espalier.cohort.series import Series
from espalier.cohort.sources import NIFTI_SUFFIXES, Listed
from espalier.errors import InputError, ScanError
from espalier.outputs import safe_id

TEXT_COLUMNS: Final = ("patient", "study", "accession", "sex", "manufacturer", "kernel", "contrast", "site")


def nifti_series(files: Sequence[Listed], table: Path | None) -> tuple[list[Series], list[str]]:
    """Return each NIfTI file as a series, and the table's names that fit no file.

    Parameters
    ----------
    files
        Files of one source.
    table
        The CSV of `[cohort] table`; files that it does not name are left out then.

    Raises
    ------
    InputError
        When the table has no column `file`, or a number in it is none.
    """
    if table is None:
        return [_series(one, {}) for one in files], []
    by_name: dict[str, Listed] = {}
    for one in files:
        for name in (one.name, one.path.as_posix(), one.path.name, stem_of(one.name)):
            by_name.setdefault(name, one)
    series, absent = [], []
    for row, cells in enumerate(read_csv_table(table, needed=("file",)).to_dicts(), start=2):
        if cells["file"] in by_name:
            series.append(_series(by_name[cells["file"]], {**cells, "age_years": _age(table, row, cells)}))
        else:
            absent.append(cells["file"])
    return series, absent


def stem_of(name: str) -> str:
    """Return the last part of a path without its suffixes for NIfTI."""
    last = PurePosixPath(name).name
    suffix = next((s for s in sorted(NIFTI_SUFFIXES, key=len, reverse=True) if last.lower().endswith(s)), "")
    return last[: len(last) - len(suffix)]


def with_geometry(series: Series, path: Path) -> Series:
    """Return a NIfTI series with what its header says of slices; needed only where there is something to choose."""
    try:
        grid = read_nifti_header(path).grid
    except ScanError as error:
        return replace(series, problem=error.code)
    axis = int(np.argmax(np.abs(grid.affine[2, :3])))
    distance = grid.spacing_mm[axis]
    return replace(series, slices=grid.shape[axis], spacing_z_mm=distance, coverage_mm=distance * grid.shape[axis])


def _series(one: Listed, cells: Mapping[str, object]) -> Series:
    stem = stem_of(one.name)
    folders = PurePosixPath(one.name).parts[:-1]
    told = {name: str(cells.get(name) or "") for name in TEXT_COLUMNS}
    age = cells.get("age_years")
    about = About(
        patient=told["patient"] or (folders[0] if folders else stem),
        study_uid=told["study"] or (folders[1] if len(folders) > 1 else stem),
        series_uid=stem,
        accession=told["accession"],
        age_years=age if isinstance(age, float) else None,
        sex=told["sex"],
        manufacturer=told["manufacturer"],
        kernel=told["kernel"],
        contrast=told["contrast"],
        site=told["site"],
    )
    return Series(
        scan=safe_id(one.name),
        source=one.path.as_posix(),
        format="nifti",
        about=about,
        slices=0,
        spacing_z_mm=math.nan,
        coverage_mm=math.nan,
    )


def _age(table: Path, row: int, cells: Mapping[str, str]) -> float | None:
    text = cells.get("age_years", "")
    try:
        return float(text.replace(",", ".")) if text else None
    except ValueError as error:
        raise InputError(table, found=f"row {row}: age_years is no number", expected="years", do="Correct the cell.") from error
