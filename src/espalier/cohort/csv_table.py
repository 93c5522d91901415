"""The one reader of tables that people write: every cell stays text; encoding, separator and line ends are found."""

import csv
import difflib
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from espalier.cohort.cells import plain_id
from espalier.cohort.encodings import decode_table
from espalier.errors import InputError, SettingsError

if TYPE_CHECKING:
    import polars as pl

_SEPARATORS: Final = ",;\t|"
_NO_TABLES: Final[Mapping[bytes, str]] = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of the old kind",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a file compressed by gzip",
    b"%PDF": "a PDF file",
}
"""What files that are no text begin with."""
_SAYABLE: Final = _SEPARATORS + ":~^#"
_SAID: Final = re.compile(r'"?sep=(.)"?(?:\r\n|\r|\n|$)', re.IGNORECASE)
_USUAL: Final = frozenset((
    "accession", "accessions", "acc", "id", "ids", "uid", "mrn", "deid", "ris", "pacs", "patient", "patients", "study",
    "series", "scan", "volume", "file", "filename", "path", "name", "names", "split", "site", "age", "sex", "date", "report",
    "reports", "text", "texts", "finding", "findings", "impression", "impressions", "conclusion", "label", "labels",
    "diagnosis", "befund", "bericht", "beurteilung", "diagnose", "rapor", "metin", "hasta", "tetkik",
))  # fmt: skip
"""Words of headings: where no column is named by these alone, the first row may be somebody's data and is not said."""
_LETTERS_OF_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD: Final = re.compile(r"[^\W_]+")
_BESIDE: Final = frozenset(("no", "nr", "number", "en", "de", "tr"))
_PROBED: Final = 100  # rows that show which separator it is


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of text.

    Parameters
    ----------
    source
        The file, for messages.
    columns
        Names of the heading.
    rows
        Per row a cell for each column, as it stands in the file.
    numbers
        Per row its number as a spreadsheet shows it; the heading is row 1.
    short
        Rows (by place in `rows`) that end early, with how many cells they have.
    read_as
        The encoding, for people.
    """

    source: Path
    columns: tuple[str, ...]
    rows: list[list[str]]
    numbers: list[int]
    short: dict[int, int] = field(default_factory=dict)
    read_as: str = "UTF-8"

    def column(self, name: str, *, setting: str) -> list[str]:
        """Return the cells of a column that a setting names.

        Parameters
        ----------
        name
            The column; upper and lower case do not matter where only one column answers.
        setting
            The setting that names it, as `[labels] id_column`.

        Raises
        ------
        SettingsError
            Where there is no such column; the nearest one is named.
        InputError
            Where a row ends before that column.
        """
        place = self.place(name)
        if place is None:
            likely = nearest(name, self.columns) if has_heading(self.columns) else ""
            do = (
                f'Did you mean {setting.rpartition(" ")[2]} = "{likely}"?'
                if likely
                else f"Name one of: {said_heading(self.columns)}."
            )
            found = f"no column {name!r} in {self.source.name}"
            raise SettingsError(setting, found=found, expected="a column of the table", do=do)
        early = next((row for row, cells in self.short.items() if cells <= place), None)
        if early is not None:
            found = f"row {self.numbers[early]} ends before the column {said_columns([self.columns[place]])}"
            do = "Put texts with line breaks in double quotes, and complete that row."
            raise InputError(self.source, found=found, expected=f"{len(self.columns)} cells", do=do)
        return [row[place] for row in self.rows]

    def place(self, name: str) -> int | None:
        """Return where a column stands, or None where none, or more than one, has the name but for capitals and signs."""
        if name in self.columns:
            return self.columns.index(name)
        folded = [place for place, column in enumerate(self.columns) if _folded(column) == _folded(name)]
        return folded[0] if len(folded) == 1 and _folded(name) else None


def nearest(name: str, columns: Sequence[str]) -> str:
    """Return the column whose name is most like `name`, or "" where none is."""
    near = difflib.get_close_matches(_folded(name), [_folded(c) for c in columns if _is_name(c)], n=1, cutoff=0.4)
    return next((c for c in columns if near and _folded(c) == near[0]), "")


def has_heading(columns: Sequence[str]) -> bool:
    """Tell whether a first row is a heading for sure: one of its cells consists of words that name columns."""
    words = [set(_WORD.findall(_LETTERS_OF_WORDS.sub(" ", column).lower())) for column in columns]
    return any(own & _USUAL and own <= _USUAL | _BESIDE for own in words)


def said_heading(columns: Sequence[str]) -> str:
    """Return the names in a first row as a message may say them; only how many they are where it may be no heading."""
    return said_columns(columns) if has_heading(columns) else f"{len(columns)} columns in a first row that may be no heading"


def said_columns(columns: Sequence[str]) -> str:
    """Return names of columns as a message may say them: of a table without a heading, the first row is somebody's data."""
    named = [name for name in columns if _is_name(name)]
    others = len(columns) - len(named)
    return ", ".join([*named, *([f"{others} whose names look like data"] if others else [])])


def _is_name(column: str) -> bool:
    return len(column) <= 40 and not any(c.isdigit() or c in ".;:!?" for c in column)


def read_csv_table(path: Path, *, needed: Sequence[str] = (), encoding: str | None = None) -> "pl.DataFrame":
    """Return a CSV with every cell as text, stripped; absent cells are "".

    Parameters
    ----------
    path
        A CSV as for `read_csv`.
    needed
        Columns that must be there.
    encoding
        The encoding, where it is known.

    Raises
    ------
    InputError
        When the file is missing or not readable, or a row has not one cell for each column, or a needed column is not
        there; the nearest column is suggested.
    """
    import polars as pl

    table = whole_table(read_csv(path, encoding=encoding), needed=needed)
    columns = [name or f"column_{place}" for place, name in enumerate(table.columns, start=1)]
    if len(set(columns)) != len(columns):
        raise InputError(path, found="two columns have one name", expected="each name once", do="Rename one of them.")
    rows = [[cell.strip() for cell in row] for row in table.rows]
    return pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")


def whole_table(table: Table, *, needed: Sequence[str] = ()) -> Table:
    """Return the table; raise `InputError` where a needed column is not there or a row ends early."""
    for name in needed:
        if name not in table.columns:
            likely = nearest(name, table.columns) if has_heading(table.columns) else ""
            do = f"Did you mean {likely}?" if likely else f"Its columns are {said_heading(table.columns)}."
            raise InputError(table.source, found=f"no column {name}", expected=f"a column {name}", do=do)
    for row, cells in table.short.items():
        found = f"row {table.numbers[row]} has another number of cells: {cells}"
        raise InputError(table.source, found=found, expected=f"{len(table.columns)} columns", do="Correct that row.")
    return table


def read_csv(path: Path, *, encoding: str | None = None) -> Table:
    """Read a CSV with a heading as spreadsheets and hospital systems write it.

    Parameters
    ----------
    path
        Cells parted by comma, semicolon, tab or bar (or what a first line `sep=` says), lines by LF, CR or both. Cells in
        double quotes may hold separators and line breaks.
    encoding
        The encoding, where it is known; else UTF-8, UTF-16 or an encoding of one byte a letter is found.

    Raises
    ------
    InputError
        Where there is no such file, it is empty or in no encoding that can be told, or where a column stands twice, a row
        has more cells than columns, or quotes are not closed.
    """
    _refuse_no_file(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(path, found=f"not readable ({error.strerror})", do="Mend its permissions.") from error
    if kind := next((kind for begin, kind in _NO_TABLES.items() if raw.startswith(begin)), ""):
        raise InputError(path, found=kind, expected="a CSV table", do="Save it as CSV, in UTF-8 where it asks.")
    text, read_as = decode_table(raw, source=path, encoding=encoding)
    said = _SAID.match(text)
    text = text[said.end() :] if said else text
    separator = said.group(1) if said and said.group(1) in _SAYABLE else _separator(text)
    lines = _lines(text, separator, path)
    number, heading = next(lines, (0, []))
    if not heading:
        do = "Export it again."
        raise InputError(path, found="an empty file: no rows", expected="a heading and one row per entry", do=do)
    columns = tuple(plain_id(name) for name in heading)
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        told = f": {said_columns(twice)}" if has_heading(columns) else ""
        found = f"row {number}: two columns have one name{told}"
        raise InputError(path, found=found, expected="each name once", do="Rename one of them.")
    rows: list[list[str]] = []
    numbers: list[int] = []
    short: dict[int, int] = {}
    for number, cells in lines:
        if len(cells) > len(columns):
            found = f"row {number} has another number of cells: {len(cells)} cells"
            do = "Put texts that hold the separator in double quotes."
            raise InputError(path, found=found, expected=f"{len(columns)}, as the heading has", do=do)
        if len(cells) < len(columns):
            short[len(rows)] = len(cells)
        rows.append(cells + [""] * (len(columns) - len(cells)))
        numbers.append(number)
    return Table(source=path, columns=columns, rows=rows, numbers=numbers, short=short, read_as=read_as)


def _refuse_no_file(path: Path) -> None:
    if path.is_dir():
        do = "Put the reports into one table with a row for each, and name that."
        raise InputError(path, found="a folder", expected="a CSV table", do=do)
    if not path.is_file():
        beside = [one.name for one in path.parent.iterdir() if one.suffix == path.suffix] if path.parent.is_dir() else []
        likely = next(iter(difflib.get_close_matches(path.name, beside, n=1)), "")
        do = f"Did you mean {likely}?" if likely else "Correct its name in the study file."
        raise InputError(path, found="no such file", expected="a CSV table", do=do)


def _lines(text: str, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield row numbers and cells of all rows that hold something; empty cells beyond the heading are cut off."""
    csv.field_size_limit(sys.maxsize)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    width, number = 0, 0
    try:
        for number, cells in enumerate(lines, start=1):
            if not any(cell.strip() for cell in cells):
                continue
            width = width or len(cells)
            while len(cells) > width and not cells[-1].strip():
                cells.pop()
            yield number, cells
    except csv.Error as error:
        found = f"row {number + 1}: quotes do not match ({error})"
        do = "Write a double quote inside a quoted text twice, and close each text's quotes."
        raise InputError(path, found=found, expected="a CSV table", do=do) from error


def _separator(text: str) -> str:
    """Return the separator that gives the first rows as many cells as the heading, more than one where possible."""
    return max(_SEPARATORS, key=lambda separator: _agreement(text, separator))


def _agreement(text: str, separator: str) -> tuple[bool, float, int]:
    rows: list[list[str]] = []
    with suppress(InputError):  # the rows before it may still agree
        rows += (cells for _, cells in islice(_lines(text, separator, Path()), _PROBED))
    if not rows:
        return False, 0.0, 0
    width = len(rows[0])
    below = rows[1:] or rows
    return width > 1, sum(len(row) == width for row in below) / len(below), width


def _folded(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
