"""Reading one scan: by its row of the cohort, or straight from a file or folder."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from espalier.cohort.archives import is_archive_name, unpacked
from espalier.cohort.dicom import index_folder, read_dicom
from espalier.cohort.hints import PLAIN, Hints, read_hints
from espalier.cohort.regrid import rectified
from espalier.cohort.series import best_series
from espalier.cohort.single import read_single
from espalier.cohort.sources import format_of
from espalier.cohort.volume import Format, Reading, Volume
from espalier.errors import InputError


def read_scan(row: Mapping[str, Any], *, folder: Path) -> Volume:
    """Return the volume of one row of `cohort.parquet`.

    Parameters
    ----------
    row
        `source`, `format`, `files` and `hints` are used.
    folder
        The study's folder, to which `source` is relative when it lies below it.

    Raises
    ------
    ScanError
        When the files are not what they were at ingest.
    """
    hints = read_hints(row["hints"])
    return read_files(folder / row["source"], form=row["format"], files=row["files"], hints=hints, below=folder).volume


def read_files(source: Path, *, form: Format, files: Sequence[str], hints: Hints = PLAIN, below: Path | None = None) -> Reading:
    """Return one scan with notes, on an upright grid: a single file, or DICOM `files` below a folder or in an archive.

    Parameters
    ----------
    source
        The file, folder or archive.
    form
        The scan's format.
    files
        Names below the folder or in the archive; unused for a single file.
    hints
        What the files do not say.
    below
        Where an archive's members are laid while they are read; the system's folder for such things when absent.
    """
    if source.is_file() and is_archive_name(source.name):
        with unpacked(source, files, below=below) as place:
            if form == "dicom":
                return read_files(place, form=form, files=files, hints=hints)
            return replace(read_files(place / files[0], form=form, files=(), hints=hints), files=tuple(files))
    reading = read_dicom(source, files, hints=hints) if form == "dicom" else read_single(source, form=form, hints=hints)
    return replace(reading, volume=rectified(reading.volume))


def read_path(path: Path) -> Volume:
    """Return the volume of one single file, or the best DICOM series of a folder or archive.

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
    if path.is_file() and is_archive_name(path.name):
        with unpacked(path) as place:
            return _best_below(place, path)
    if path.is_file():
        form = format_of(path.name)
        if form is None:
            do = "Name its folder."
            raise InputError(path, found="no file of a volume", expected="NIfTI, NRRD, MetaImage, .npz or a folder", do=do)
        return read_files(path, form=form, files=()).volume
    return _best_below(path, path)


def _best_below(place: Path, path: Path) -> Volume:
    series = index_folder(place)
    if not series:
        raise InputError(path, found="no CT in DICOM below it", expected="at least one CT series", do="Name another folder.")
    best = best_series(series)
    return read_files(place, form="dicom", files=best.names, hints=read_hints(best.hints)).volume
