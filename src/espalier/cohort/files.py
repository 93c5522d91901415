"""Single files of volumes below a source as series: who is whose, by folders or by the study's own table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from espalier.cohort.archives import SUFFIXES as ARCHIVE_ENDINGS
from espalier.cohort.cells import plain_id
from espalier.cohort.file_table import read_file_table
from espalier.cohort.headers import About
from espalier.cohort.hints import read_hints
from espalier.cohort.series import Series
from espalier.cohort.single import single_grid
from espalier.cohort.sources import SINGLE_SUFFIXES, format_of
from espalier.errors import InputError, ScanError
from espalier.outputs import safe_id

TEXT_COLUMNS: Final = ("patient", "study", "accession", "sex", "manufacturer", "kernel", "contrast", "site")


@dataclass(frozen=True, slots=True)
class Single:
    """One file of a volume.

    Parameters
    ----------
    path
        The file, or the archive that holds it.
    name
        Its name relative to the source, or within the archive.
    member
        The same again where it lies in an archive, else "".
    archive
        The archive's name relative to the source, else "".
    mark
        What tells whether it has changed since.
    """

    path: Path
    name: str
    member: str = ""
    archive: str = ""
    mark: str = ""


def single_series(
    files: Sequence[Single], table: Path | None, *, encoding: str | None = None
) -> tuple[list[Series], list[str]]:
    """Return each single file as a series, and the table's names that fit no file.

    Parameters
    ----------
    files
        Files of one source.
    table
        The CSV of `[cohort] table`; files that it does not name are left out then.
    encoding
        The table's encoding, where it is known.

    Raises
    ------
    InputError
        When the table cannot be used, or one of its names is that of several files.
    """
    if table is None:
        return [_series(one, {}) for one in files], []
    by_name = _by_name(files)
    series, absent = [], []
    taken: set[Single] = set()
    for told in read_file_table(table, encoding=encoding):
        named = by_name.get(told.file, [])
        if len(named) > 1 or (named and named[0] in taken):
            found = f"row {told.row}, column file: {len(named)} files have this name, or it was named above"
            raise InputError(table, found=found, expected="each file once", do="Write its path below the source.")
        taken.update(named)
        if named:
            series.append(_series(named[0], {**told.cells, "age_years": told.age_years}))
        else:
            absent.append(told.file)
    return series, absent


def _by_name(files: Sequence[Single]) -> dict[str, list[Single]]:
    """Return the files by every name a table may call them; a path below the source is one file's alone."""
    names: dict[str, list[Single]] = {}
    for one in files:
        for name in {one.path.as_posix(), PurePosixPath(one.name).name, stem_of(one.name)}:
            names.setdefault(plain_id(name), []).append(one)
    return names | {plain_id(one.name): [one] for one in files}


def stem_of(name: str) -> str:
    """Return the last part of a path without the ending of a single file of a volume."""
    last = PurePosixPath(name).name
    suffix = next((s for s in sorted(SINGLE_SUFFIXES, key=len, reverse=True) if last.lower().endswith(s)), "")
    return last[: len(last) - len(suffix)]


def _without_ending(archive: str) -> PurePosixPath:
    ending = next((e for e in sorted(ARCHIVE_ENDINGS, key=len, reverse=True) if archive.lower().endswith(e)), "")
    return PurePosixPath(archive[: len(archive) - len(ending)])


def with_geometry(series: Series, path: Path) -> Series:
    """Return a single file's series with what its header says of slices; needed only where there is something to choose."""
    try:
        grid = single_grid(path, form=series.format, member="".join(series.names), hints=read_hints(series.hints))
    except ScanError as error:
        return replace(series, problem=error.code)
    axis = int(np.argmax(np.abs(grid.affine[2, :3])))
    distance = grid.spacing_mm[axis]
    return replace(series, slices=grid.shape[axis], spacing_z_mm=distance, coverage_mm=distance * grid.shape[axis])


def _series(one: Single, cells: Mapping[str, object]) -> Series:
    stem, form = stem_of(one.name), format_of(one.name)
    assert form is not None
    # An archive stands for the folder it was made of, where its members have none.
    folders = PurePosixPath(one.name).parts[:-1] or _without_ending(one.archive).parts
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
        scan=safe_id(*([one.archive] if one.archive else []), one.name),
        source=one.path.as_posix(),
        format=form,
        names=(one.member,) if one.member else (),
        mark=one.mark,
        content=one.mark,
        about=about,
        slices=0,
        spacing_z_mm=math.nan,
        coverage_mm=math.nan,
    )
