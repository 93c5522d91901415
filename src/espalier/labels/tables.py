"""Tables of reports and labels, read as text only: no cell is ever taken for a number or a date."""

import codecs
import csv
import difflib
import io
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from espalier.errors import InputError, MissingError, SettingsError

_SEPARATORS: Final = ",;\t|"
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of text: its columns and, per row, a cell for each; `source` is the file for messages."""

    source: Path
    columns: tuple[str, ...]
    rows: list[list[str]]

    def column(self, name: str, *, setting: str) -> list[str]:
        """Return the cells of a column; raise `SettingsError` that names the nearest one where there is none.

        Parameters
        ----------
        name
            The column; upper and lower case do not matter where only one column answers.
        setting
            The setting that names it, for the message.
        """
        place = self._place(name)
        if place is None:
            near = difflib.get_close_matches(_folded(name), [_folded(c) for c in self.columns], n=1, cutoff=0.4)
            likely = next((c for c in self.columns if near and _folded(c) == near[0]), None)
            do = f'Did you mean {setting} = "{likely}"?' if likely else f"Name one of: {', '.join(self.columns)}."
            raise SettingsError(
                f"[labels] {setting}",
                found=f"no column {name!r} in {self.source.name}",
                expected="a column of the table",
                do=do,
            )
        return [row[place] for row in self.rows]

    def _place(self, name: str) -> int | None:
        if name in self.columns:
            return self.columns.index(name)
        folded = [place for place, column in enumerate(self.columns) if _folded(column) == _folded(name)]
        return folded[0] if len(folded) == 1 else None


def _folded(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def read_csv(path: Path) -> Table:
    """Read a CSV with a heading line in UTF-8, UTF-16 or Windows-1252, separated by comma, semicolon, tab or bar.

    Raises
    ------
    MissingError
        Where there is no such file.
    InputError
        Where it is empty, has a column twice, or a row with more cells than columns.
    """
    if not path.is_file():
        raise MissingError(path, found="no such file", expected="a CSV table", do="Correct its path in [labels].")
    text = _decoded(path.read_bytes(), path)
    if not text.strip():
        raise InputError(path, found="an empty file", expected="a heading line and one row per report", do="Export it again.")
    csv.field_size_limit(sys.maxsize)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text))
    columns = tuple(name.strip() for name in next(lines))
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise InputError(path, found=f"the column {twice[0]!r} twice", expected="each name once", do="Rename one of them.")
    return Table(source=path, columns=columns, rows=list(_filled(path, text, len(columns))))


def _filled(path: Path, text: str, width: int) -> Iterator[list[str]]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text))
    try:
        next(lines)
        for row in lines:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) > width and any(cell.strip() for cell in row[width:]):
                found = f"{len(row)} cells before line {lines.line_num + 1}"
                do = "Put texts that hold the separator in double quotes."
                raise InputError(path, found=found, expected=f"{width}, as the heading line has", do=do)
            yield [*row[:width], *[""] * (width - len(row))]
    except csv.Error as error:
        raise InputError(
            path, found=f"line {lines.line_num}: {error}", expected="a CSV table", do="Export it again."
        ) from error


def _decoded(raw: bytes, path: Path) -> str:
    for bom, encoding in _BOMS:
        if raw.startswith(bom):
            return _with(raw, encoding, path)
    if raw[:2000].count(0) > len(raw[:2000]) // 4:
        return _with(raw, "utf-16-le" if raw[1:2] == b"\0" else "utf-16-be", path)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def _with(raw: bytes, encoding: str, path: Path) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(path, found=f"not {encoding} all along", expected="one encoding", do="Export it as UTF-8.") from error


def _separator(text: str) -> str:
    """Return the separator that stands most often in the heading line, quoted names left out."""
    quoted, counts = False, dict.fromkeys(_SEPARATORS, 0)
    for sign in text.lstrip():
        if sign == '"':
            quoted = not quoted
        elif not quoted and sign in "\r\n":
            break
        elif not quoted and sign in counts:
            counts[sign] += 1
    return max(_SEPARATORS, key=lambda s: counts[s])
