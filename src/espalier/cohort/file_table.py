"""The table of `[cohort] table`: what it tells of each file, one row a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from espalier.cohort.cells import is_missing, number_of, plain_id, refuse_ruined_ids
from espalier.cohort.csv_table import read_csv, whole_table
from espalier.errors import InputError

_IDS: Final = ("patient", "study", "accession")
_OLDEST: Final = 130


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What one row says: the file's name as names are compared, the row's number, its texts, the age in years."""

    file: str
    row: int
    cells: Mapping[str, str]
    age_years: float | None


def read_file_table(path: Path, *, encoding: str | None = None) -> list[Told]:
    """Return the rows of a table of files; equal rows count once.

    Parameters
    ----------
    path
        A CSV with a column `file`.
    encoding
        The encoding, where it is known.

    Raises
    ------
    InputError
        When there is no column `file`, an age is none, two rows tell different things of one file, or the ids were ruined.
    """
    table = whole_table(read_csv(path, encoding=encoding), needed=("file",))
    for place, name in enumerate(table.columns):
        if name in _IDS:
            refuse_ruined_ids([row[place] for row in table.rows], source=path, column=name, numbers=table.numbers)
    told: dict[str, Told] = {}
    for number, row in zip(table.numbers, table.rows, strict=True):
        cells = {name: plain_id(cell) if name in _IDS else cell.strip() for name, cell in zip(table.columns, row, strict=True)}
        file = plain_id(cells["file"]).replace("\\", "/")
        earlier = told.setdefault(file, Told(file=file, row=number, cells=cells, age_years=_age(path, number, cells)))
        if earlier.cells != cells:
            found = f"rows {earlier.row} and {number} tell different things of one file"
            raise InputError(path, found=found, expected="one row per file", do="Remove one of them.")
    return list(told.values())


def _age(path: Path, row: int, cells: Mapping[str, str]) -> float | None:
    cell = cells.get("age_years", "")
    age = number_of(cell)
    if age is not None and 0 <= age <= _OLDEST:
        return age
    if age is None and is_missing(cell):
        return None
    found = f"row {row}, column age_years: no number of years" if age is None else f"row {row}, column age_years: {age:g} years"
    raise InputError(path, found=found, expected=f"years, 0 to {_OLDEST}, or nothing", do="Correct the cell.")
