"""Labels that come as a wide table of 0 and 1, one column per finding: a data set's own, or yours."""

from collections.abc import Collection
from typing import Final

from espalier.cohort.cells import is_missing, number_of
from espalier.cohort.csv_table import Table
from espalier.errors import InputError, SettingsError
from espalier.labels.findings import FINDINGS, finding_id

_WORDS: Final = {"true": "present", "yes": "present", "false": "absent", "no": "absent"}
_NUMBERS: Final = {1.0: "present", 0.0: "absent", -1.0: "uncertain"}


def finding_columns(table: Table, *, id_column: str, lexicon: str, missing: Collection[str]) -> dict[str, int]:
    """Return finding ids with the place of their columns.

    Where the table has columns of the finding set `lexicon`, those count; else every column of only 0 and 1 (and of the
    words in `missing`) does.
    """
    ids = table.place(id_column)
    own = {finding_id(name): place for place, name in enumerate(table.columns) if name and place != ids}
    known = [finding for finding in FINDINGS.get(lexicon, ()) if finding in own]
    if known:
        return {finding: own[finding] for finding in known}
    binary = {finding: place for finding, place in own.items() if _is_binary([r[place] for r in table.rows], missing)}
    if not binary:
        raise InputError(
            table.source,
            found="no column of 0 and 1",
            expected="one column per finding",
            do="Name another table in [labels] table.",
        )
    return binary


def _is_binary(cells: list[str], missing: Collection[str]) -> bool:
    states = {_state(cell, missing) for cell in cells}
    return None not in states and bool(states & {"present", "absent"})


def _state(cell: str, missing: Collection[str]) -> str | None:
    if is_missing(cell, missing):
        return "failed"
    number = number_of(cell)
    return _WORDS.get(cell.strip().lower()) if number is None else _NUMBERS.get(number)


def state_of(cell: str, *, table: Table, row: int, finding: str, missing: Collection[str]) -> str:
    """Return the state that a cell stands for: 1, 0, -1 (uncertain) or one of the words for no label.

    Parameters
    ----------
    cell
        The cell; a decimal comma is as good as a point.
    table, row, finding
        Where it stands, for the message; `row` is the place in `table.rows`.
    missing
        The words for no label.

    Raises
    ------
    SettingsError
        Where it is none of them.
    """
    state = _state(cell, missing)
    if state is None:
        raise SettingsError(
            table.source,
            found=f"{cell.strip()[:20]!r} in row {table.numbers[row]} of column {finding}",
            expected="0, 1, -1 or nothing",
            do="Correct that cell, or name its word in [labels] missing.",
        )
    return state
