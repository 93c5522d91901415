"""Labels that come as a wide table of 0 and 1, one column per finding: a data set's own, or yours."""

from typing import Final

from espalier.errors import InputError, SettingsError
from espalier.labels.findings import FINDINGS, finding_id
from espalier.labels.tables import Table

_STATES: Final = {
    "1": "present",
    "1.0": "present",
    "true": "present",
    "yes": "present",
    "0": "absent",
    "0.0": "absent",
    "false": "absent",
    "no": "absent",
    "-1": "uncertain",
    "-1.0": "uncertain",
    "": "failed",
    "nan": "failed",
    "na": "failed",
    "none": "failed",
}


def finding_columns(table: Table, *, id_column: str, lexicon: str) -> dict[str, int]:
    """Return finding ids with the place of their columns.

    Where the table has columns of the finding set `lexicon`, those count; else every column of only 0 and 1 does.
    """
    own = {finding_id(name): place for place, name in enumerate(table.columns) if name and name != id_column}
    known = [finding for finding in FINDINGS.get(lexicon, ()) if finding in own]
    if known:
        return {finding: own[finding] for finding in known}
    binary = {finding: place for finding, place in own.items() if _is_binary([row[place] for row in table.rows])}
    if not binary:
        raise InputError(
            table.source,
            found="no column of 0 and 1",
            expected="one column per finding",
            do="Name another table in [labels] table.",
        )
    return binary


def _is_binary(cells: list[str]) -> bool:
    states = {_STATES.get(cell.strip().lower()) for cell in cells}
    return None not in states and bool(states & {"present", "absent"})


def state_of(cell: str, *, table: Table, row: int, finding: str) -> str:
    """Return the state that a cell stands for: 1, 0, -1 (uncertain) or empty (no label)."""
    state = _STATES.get(cell.strip().lower())
    if state is None:
        raise SettingsError(
            table.source,
            found=f"{cell.strip()[:20]!r} in row {row + 1} of column {finding}",
            expected="0, 1, -1 or nothing",
            do="Correct that cell.",
        )
    return state
