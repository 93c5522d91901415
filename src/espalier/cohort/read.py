"""Reading one scan: by its row of the cohort, or straight from a file or folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espalier.cohort.dicom import index_folder, read_dicom
from espalier.cohort.nifti import read_nifti
from espalier.cohort.series import best_series
from espalier.cohort.sources import is_nifti_name
from espalier.cohort.volume import Reading, Volume
from espalier.errors import InputError


def read_scan(row: Mapping[str, Any], *, folder: Path) -> Volume:
    """Return the volume of one row of `cohort.parquet`.

    Parameters
    ----------
    row
        `source`, `format` and `files` are used.
    folder
        The study's folder, to which `source` is relative when it lies below it.

    Raises
    ------
    ScanError
        When the files are not what they were at ingest.
    """
    return read_files(folder / row["source"], form=row["format"], files=row["files"]).volume


def read_files(source: Path, *, form: str, files: list[str]) -> Reading:
    """Return one scan with notes: a NIfTI file, or DICOM `files` below the folder `source`."""
    if form == "nifti":
        return read_nifti(source)
    return read_dicom(source, files)


def read_path(path: Path) -> Volume:
    """Return the volume of one NIfTI file, one DICOM file's series, or the best DICOM series of a folder.

    Raises
    ------
    InputError
        When there is nothing at `path`, or no CT in it.
    ScanError
        When the scan cannot be used.
    """
    if not path.exists():
        raise InputError(
            path, found="no such file or folder", expected="a NIfTI file or a folder of DICOM", do="Correct the path."
        )
    if path.is_file() and is_nifti_name(path.name):
        return read_nifti(path).volume
    if path.is_file():
        raise InputError(path, found="not a NIfTI file", expected="*.nii, *.nii.gz or a folder of DICOM", do="Name its folder.")
    series = index_folder(path)
    if not series:
        raise InputError(path, found="no CT in DICOM below it", expected="at least one CT series", do="Name another folder.")
    best = best_series(series)
    return read_dicom(path, list(best.names)).volume
