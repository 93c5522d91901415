"""What the published data sets share: series told by names and tables, and what to do where the two do not fit."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from espalier.cohort.cells import plain_id
from espalier.cohort.csv_table import read_csv, whole_table
from espalier.cohort.files import Single, stem_of
from espalier.cohort.headers import About
from espalier.cohort.series import Series
from espalier.cohort.volume import Format
from espalier.errors import InputError
from espalier.outputs import hash_of, safe_id
from espalier.stage import Rows

NAMED_ROWS: Final = 100
"""Where a table has more rows without a file, the download is a part of the data set: they are counted, not named."""
PLACES: Final = ("", "metadata", "dataset", "dataset/metadata")
"""Where the tables of the data sets lie, below the folder that was downloaded."""
LEVELS_UP: Final = 2
"""A source may be a folder of the download; its tables then lie beside it, or one folder further up."""

Cells = Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A published data set below one source.

    Parameters
    ----------
    series
        What can be read; `about.official_split` is the split that the data set itself gives.
    set_aside
        Rows of `set_aside.csv` for files that are not used, and for rows of tables whose file is missing.
    notes
        Per scan the reason codes of what is unusual about it.
    others
        How many files are no scans, such as masks.
    words
        Sentences for people; they name tables and counts only.
    """

    series: Sequence[Series]
    set_aside: Rows = field(default_factory=list)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    others: int = 0
    words: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, str]:
        """The official split of each patient that has one."""
        return {one.about.patient: one.about.official_split for one in self.series if one.about.official_split}


@dataclass(frozen=True, slots=True)
class Told:
    """What a table says: the cells of the wanted rows, and the names in all rows, in their order.

    `table` is None where there is no such table.
    """

    table: Path | None = None
    rows: Mapping[str, Cells] = field(default_factory=dict)
    names: Sequence[str] = ()


def find_table(source: Path, *names: str) -> Path | None:
    """Return the first table that has one of these names, by itself or behind a flattened path, or None.

    Parameters
    ----------
    source
        A folder of the download, or a file in it.
    names
        File names, the first being the published one.
    """
    start = source.parent if source.is_file() else source
    for root in (start, *start.parents[:LEVELS_UP]):
        for place in PLACES:
            listed = _files_in(root / place)
            for name in names:
                ours = [path for path in listed if path.name.lower() == name or path.name.lower().endswith(f"_{name}")]
                if ours:
                    return ours[0]
    return None


def read_rows(path: Path | None, key: str, columns: Sequence[str], wanted: Collection[str] | None) -> Told:
    """Return what a table says of the wanted names.

    Parameters
    ----------
    path
        A CSV, or None.
    key
        The column of names; they are compared without path and ending.
    columns
        The columns that are read, where they are there.
    wanted
        The names whose cells are kept, all when None; of two rows for one name the first counts.

    Raises
    ------
    InputError
        When the table cannot be read or has no such column.
    """
    if path is None:
        return Told()
    table = whole_table(read_csv(path))
    place = table.place(key)
    if place is None:
        raise InputError(path, found=f"no column {key}", expected=f"a column {key}", do="Download the table again.")
    places = {name: at for name in columns if (at := table.place(name)) is not None}
    names = list(dict.fromkeys(stem_of(plain_id(row[place])) for row in table.rows))
    rows: dict[str, Cells] = {}
    for row in table.rows:
        name = stem_of(plain_id(row[place]))
        if (wanted is None or name in wanted) and name not in rows:
            rows[name] = {column: row[at] for column, at in places.items()}
    return Told(path, rows, names)


def rows_without_files(told: Told, present: Collection[str], *, of: str) -> tuple[Rows, tuple[str, ...]]:
    """Return rows that name each file that a table promises and the source lacks, or a sentence where they are many."""
    absent = [name for name in told.names if name and name not in present]
    if told.table is None or not absent:
        return [], ()
    if len(absent) > NAMED_ROWS:
        return [], (f"{len(absent):,} of {len(told.names):,} rows of {told.table.name} have no file here",)
    found, do = f"named in {told.table.name}, but in no source", "Download it, or leave it out."
    rows = [
        aside(name, "missing_file", found, expected="a file of that name", do=do, scan=safe_id(of, name)) for name in absent
    ]
    return rows, ()


def single_file_series(one: Single, name: str, form: Format, about: About, *, of: str) -> Series:
    """Return the series of one file; its id is that of the published name, wherever the file lies.

    Parameters
    ----------
    one
        The file.
    name
        What the data set calls the volume.
    form, about
        Format, and what name and tables say.
    of
        The data set.
    """
    return Series(
        scan=safe_id(of, name),
        source=one.path.as_posix(),
        format=form,
        names=(one.member,) if one.member else (),
        mark=one.mark,
        content=hash_of(of, name),
        about=about,
        slices=0,
        spacing_z_mm=math.nan,
        coverage_mm=math.nan,
    )


def with_size(series: Series, slices: float | None, spacing_z_mm: float | None) -> Series:
    """Return a series with the number of its slices and their distance, where the tables know both."""
    if not slices or not spacing_z_mm:
        return series
    return replace(series, slices=int(slices), spacing_z_mm=spacing_z_mm, coverage_mm=slices * spacing_z_mm)


def aside(source: str, code: str, found: str, *, expected: str, do: str, scan: str = "") -> dict[str, Any]:
    """Return a row of `set_aside.csv`."""
    return {"source": source, "scan": scan, "reason": code, "found": found, "expected": expected, "do": do}


def not_in_layout(one: Single, *, of: str, expected: str) -> dict[str, Any]:
    """Return a row for a file whose name no volume of the data set has."""
    found, do = f"a name that no volume of {of} has", "Give it its published name, or move it to a source of its own."
    return aside(one.path.as_posix(), "not_in_layout", found, expected=expected, do=do)


def without_torn_patients(series: Sequence[Series]) -> tuple[list[Series], Rows]:
    """Set aside the training scans of patients who also test, so that nobody stands in two official splits."""
    splits: dict[str, set[str]] = {}
    for one in series:
        splits.setdefault(one.about.patient, set()).add(one.about.official_split)
    torn = [one for one in series if one.about.official_split != "test" and "test" in splits[one.about.patient]]
    found, do = "its patient is in the official test set too", "Nothing: the scans in the test set are used."
    rows = [
        aside(one.source, "patient_in_two_splits", found, expected="each patient in one split", do=do, scan=one.scan)
        for one in torn
    ]
    left = {one.scan for one in torn}
    return [one for one in series if one.scan not in left], rows


def folders_of(source: Path) -> tuple[str, ...]:
    """Return the names of a source's folder and of those above it, in small letters."""
    return tuple(part.lower() for part in (source.parent if source.is_file() else source).parts)


def _files_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix.lower() in {".csv", ".txt"} and path.is_file())
    except OSError:
        return []
