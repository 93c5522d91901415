"""Small CSV tables that users write: everything read as text, the separator found, wrong columns named."""

import csv
import difflib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from espalier.errors import InputError

SEPARATORS = (",", ";", "\t")


def read_csv_table(path: Path, *, needed: Sequence[str] = ()) -> pl.DataFrame:
    """Return a CSV with every cell as text, stripped; absent cells are "".

    Parameters
    ----------
    path
        A CSV in UTF-8, with or without byte order mark, separated by comma, semicolon or tab.
    needed
        Columns that must be there.

    Raises
    ------
    InputError
        When the file is missing or not readable, or a needed column is not there; the nearest column is suggested.
    """
    if not path.is_file():
        raise InputError(path, found="no such file", expected="a CSV table", do="Correct the name in the study file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        row = path.read_bytes()[: error.start].count(b"\n") + 1
        raise InputError(path, found=f"row {row} is not UTF-8", expected="UTF-8", do="Save it again as UTF-8.") from error
    first = text.partition("\n")[0]
    separator = max(SEPARATORS, key=first.count)
    lines = [
        [cell.strip() for cell in line] for line in csv.reader(text.splitlines(keepends=True), delimiter=separator) if line
    ]
    if not lines:
        raise InputError(path, found="no rows", expected="a first row with column names", do="Fill the table.")
    columns, rows = lines[0], lines[1:]
    for column in needed:
        _must_hold(path, columns, column)
    ragged = next((n for n, row in enumerate(rows, start=2) if len(row) != len(columns)), None)
    if ragged is not None or len(set(columns)) != len(columns):
        found = f"row {ragged} has another number of cells" if ragged else "two columns have one name"
        raise InputError(path, found=found, expected=f"{len(columns)} columns", do="Correct that row.")
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def _must_hold(path: Path, columns: Sequence[str], column: str) -> None:
    if column in columns:
        return
    near = difflib.get_close_matches(column.lower(), [c.lower() for c in columns], n=1, cutoff=0.5)
    named = next((c for c in columns if near and c.lower() == near[0]), "")
    do = f"Did you mean {named}?" if named else f"Its columns are {', '.join(columns)}."
    raise InputError(path, found=f"no column {column}", expected=f"a column {column}", do=do)
