"""Cells of tables that people and spreadsheets wrote: ids, numbers, and the words for nothing."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from espalier.errors import InputError

MISSING: Final = (
    "", "-", "--", "---", "–", "—", ".", "?", "na", "n/a", "n.a.", "#n/a", "<na>", "nan", "null", "none", "nil", "missing",
    "not available", "no report", "yok", "rapor yok", "keine", "keiner", "k.a.", "k. a.", "keine angabe", "kein bericht",
)  # fmt: skip
"""Words that stand for an empty cell where a text or a label is wanted; never for an id."""
SCAN_ENDINGS: Final = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".npz", ".dcm")
_NUMBER: Final = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d{1,3})?", re.IGNORECASE | re.ASCII)
_SCIENTIFIC: Final = re.compile(r"\d([.,]\d+)?E\+\d{2,3}", re.ASCII)
_DIGITS: Final = re.compile(r"\d{16,}", re.ASCII)
_EXACT_DIGITS: Final = 15  # a spreadsheet keeps this many of a number and writes zeros after them


def plain_id(cell: str) -> str:
    """Return an id as ids are compared: NFC, without marks that nobody sees, blanks around it, or a spreadsheet's `="…"`.

    Nothing else changes: leading zeros, capitals, slashes and "NA" stay.
    """
    if not (cell.isascii() and cell.isprintable()):
        cell = "".join(c for c in cell if c.isspace() or unicodedata.category(c) not in {"Cc", "Cf", "Cs"})
        cell = unicodedata.normalize("NFC", cell)
    cell = " ".join(cell.split())
    return cell[2:-1].strip() if cell.startswith('="') and cell.endswith('"') and len(cell) > 2 else cell


def bare_id(cell: str) -> str:
    """Return an id as ids are compared, without the ending of a file of a scan."""
    name = plain_id(cell)
    suffix = next((s for s in SCAN_ENDINGS if name.lower().endswith(s)), "")
    return name[: len(name) - len(suffix)]


def is_missing(cell: str, words: Collection[str] = MISSING) -> bool:
    """Return whether a text or a label stands for nothing: one of `words`, whatever its capitals."""
    cell = cell.strip()
    return not cell or (len(cell) <= 40 and cell.casefold() in {word.casefold() for word in words})


def number_of(cell: str) -> float | None:
    """Return the number in a cell, with a decimal point or a decimal comma; None where it holds none."""
    cell = cell.strip()
    return float(cell.replace(",", ".")) if _NUMBER.fullmatch(cell) else None


def refuse_ruined_ids(cells: Sequence[str], *, source: Path, column: str, numbers: Sequence[int]) -> None:
    """Refuse ids that a spreadsheet has turned into numbers: 1.23E+19, digits lost after the 15th, `.0` behind each.

    Parameters
    ----------
    cells
        The column.
    source, column
        Its file and its name, for the message.
    numbers
        The rows' numbers, for the message.

    Raises
    ------
    InputError
        Where the ids cannot be what the hospital's system wrote.
    """
    ids = [plain_id(cell) for cell in cells]
    found = _ruin(ids, column, numbers)
    if found:
        do = "Export the table again with this column as text; do not open and save it in a spreadsheet in between."
        raise InputError(source, found=found, expected="ids as text", do=do)


def _ruin(ids: Sequence[str], column: str, numbers: Sequence[int]) -> str:
    row = next((number for one, number in zip(ids, numbers, strict=True) if _SCIENTIFIC.fullmatch(one)), None)
    if row is not None:
        return f"row {row}, column {column}: a number as in 1.23E+19 stands for the id, most of its digits are lost"
    tails = [one[_EXACT_DIGITS:] for one in ids if _DIGITS.fullmatch(one)]
    # By chance one tail of n digits is all zeros once in 10**n ids; three zeros in all tails together are no chance.
    if sum(map(len, tails)) >= 3 and not "".join(tails).strip("0"):
        return f"column {column}: all long ids end in zeros after {_EXACT_DIGITS} digits, as a spreadsheet leaves them"
    filled = [one for one in ids if one]
    if filled and all(re.fullmatch(r"\d+\.0", one, re.ASCII) for one in filled):
        return f"column {column}: all {len(filled)} ids end in .0, as a program writes them that took them for numbers"
    return ""
