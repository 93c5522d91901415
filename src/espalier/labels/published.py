"""Labels that come as a wide table of 0 and 1: a data set's own as it was downloaded, or yours.

CT-RATE has a column for each finding; RAD-ChestCT one for each finding and place (`nodule*left_upper`, Draelos et al. 2021),
of which a volume has the greatest; RATIC one for each grade of a structure, exactly one of them 1 (Rudie et al. 2024).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from espalier.cohort.cells import is_missing, number_of
from espalier.cohort.csv_table import Table, said_columns
from espalier.errors import InputError, SettingsError
from espalier.labels.findings import FINDINGS, RATIC_BINARY, RATIC_COLUMNS, RATIC_GRADED, finding_id
from espalier.labels.options import LabelOptions
from espalier.labels.targets import named_findings

PLACES: Final = 52
"""Places of RAD-ChestCT; a table with fewer could hide a finding that is at one of the others."""
_NAME_HERE: Final = {"opacity": "opacities"}
_WORDS: Final = {"true": "present", "yes": "present", "false": "absent", "no": "absent"}
_NUMBERS: Final = {1.0: "present", 0.0: "absent", -1.0: "uncertain"}
_OVERALL: Final = ("present", "uncertain", "failed", "absent")
"""What several places say together: the first of these that one of them says."""
_GROUPS: Final = {
    structure: tuple(column for column in RATIC_COLUMNS if column.startswith(f"{structure}_"))
    for structure in (*RATIC_GRADED, *RATIC_BINARY)
}

Columns = Mapping[str, tuple[int, ...]]
"""Findings with the places of their columns in a table."""


def finding_columns(table: Table, options: LabelOptions) -> dict[str, tuple[int, ...]]:
    """Return finding ids with the places of their columns, one each, or one for each place in the body.

    `[labels] findings` says which count. Where it is absent, those of the finding set `lexicon` do; where the table has none
    of them, every column of only 0 and 1 (and of the words for nothing) does.

    Raises
    ------
    InputError
        Where two columns mean one finding, no column is one of labels, or the columns of places are not as published.
    SettingsError
        Where a finding is asked for that the table has not.
    """
    ids = table.place(options.id_column)
    names = {place: name for place, name in enumerate(table.columns) if name and place != ids}
    own = _by_place(table, names) if any("*" in name for name in names.values()) else _one_each(table, names)
    if isinstance(options.findings, tuple):
        named = named_findings(options.findings, tuple(own), setting="[labels] findings")
        return {finding: own[finding] for findings in named.values() for finding in findings}
    known = [finding for finding in FINDINGS.get(options.lexicon, ()) if finding in own]
    if known and options.findings is None:
        return {finding: own[finding] for finding in known}
    if options.findings == "all" or any(len(places) > 1 for places in own.values()):
        return own
    binary = {f: places for f, places in own.items() if _is_binary([r[places[0]] for r in table.rows], options.missing)}
    if not binary:
        expected, do = "one column per finding", "Name another table in [labels] table."
        raise InputError(table.source, found="no column of 0 and 1", expected=expected, do=do)
    return binary


def states_of(table: Table, columns: Columns, missing: Collection[str]) -> list[dict[str, str]]:
    """Return for each row the state of each finding; where there are grades of trauma, they are checked.

    Parameters
    ----------
    table
        The table.
    columns
        As `finding_columns` returned them.
    missing
        The words for no label.

    Raises
    ------
    SettingsError
        Where a cell is no label.
    InputError
        Where grades of one structure are not one-hot, or any injury is not what the structures say.
    """
    seen: dict[str, str] = {}

    def overall(row: int, places: Sequence[int]) -> str:
        cells = {table.rows[row][place]: place for place in places}
        for cell in cells.keys() - seen.keys():
            seen[cell] = state_of(cell, table=table, row=row, column=cells[cell], missing=missing)
        own = {seen[cell] for cell in cells}
        return next(state for state in _OVERALL if state in own)

    rows = [{f: overall(row, places) for f, places in columns.items()} for row in range(len(table.rows))]
    graded = {structure: own for structure, own in _GROUPS.items() if columns.keys() >= set(own)}
    for place, states in enumerate(rows if graded else ()):
        whole = _checked_trauma(states, graded, table, place)
        if len(graded) == len(_GROUPS):
            states.setdefault("any_injury", whole)
    return rows


def state_of(cell: str, *, table: Table, row: int, column: int, missing: Collection[str]) -> str:
    """Return the state that a cell stands for: 1, 0, -1 (uncertain) or one of the words for no label.

    Parameters
    ----------
    cell
        The cell; a decimal comma is as good as a point.
    table, row, column
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
        # What else stands there may be a sentence about somebody: only numbers are said again.
        what = cell.strip()[:20] if number_of(cell) is not None else "a text"
        raise SettingsError(
            table.source,
            found=f"{what} in row {table.numbers[row]} of column {said_columns([table.columns[column]])}",
            expected="0, 1, -1 or nothing",
            do="Correct that cell, or name its word in [labels] missing.",
        )
    return state


def _one_each(table: Table, names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    own: dict[str, tuple[int, ...]] = {}
    for place, name in names.items():
        finding = finding_id(name)
        if own.setdefault(finding, (place,)) != (place,):
            found = f"columns {own[finding][0] + 1} and {place + 1} have one name but for capitals and signs"
            raise InputError(table.source, found=found, expected="one column per finding", do="Rename one of them.")
    return own


def _by_place(table: Table, names: Mapping[int, str]) -> dict[str, tuple[int, ...]]:
    """Return the columns of each finding, its name compared whole: `nodule` is not `nodulegr1cm`."""
    own: dict[str, dict[str, int]] = {}
    for place, name in names.items():
        finding, _, where = name.partition("*")
        if not finding or not where or "*" in where:
            raise _other_form(table, f"column {place + 1} has no name such as nodule*left_upper")
        own.setdefault(_NAME_HERE.get(finding, finding), {})[where] = place
    everywhere = {where for places in own.values() for where in places}
    if len(everywhere) != PLACES:
        raise _other_form(table, f"columns of {len(everywhere)} places")
    fewer = sum(len(places) < PLACES for places in own.values())
    if fewer:
        raise _other_form(table, f"{fewer} findings without a column for each place")
    return {finding: tuple(places.values()) for finding, places in own.items()}


def _other_form(table: Table, found: str) -> InputError:
    expected = f"beside the ids only columns finding*place, of {PLACES} places for each finding, as RAD-ChestCT has them"
    return InputError(table.source, found=found, expected=expected, do="Name the table as it was downloaded.")


def _is_binary(cells: Sequence[str], missing: Collection[str]) -> bool:
    states = {_state(cell, missing) for cell in cells}
    return None not in states and bool(states & {"present", "absent"})


def _state(cell: str, missing: Collection[str]) -> str | None:
    if is_missing(cell, missing):
        return "failed"
    number = number_of(cell)
    return _WORDS.get(cell.strip().lower()) if number is None else _NUMBERS.get(number)


def _checked_trauma(states: Mapping[str, str], graded: Mapping[str, tuple[str, ...]], table: Table, row: int) -> str:
    """Return the state of any injury that follows from the structures of a row, once both are found to agree."""
    number = table.numbers[row]
    harmed: set[bool | None] = {None} if len(graded) < len(_GROUPS) else set()
    for columns in graded.values():
        own = [states[column] for column in columns]
        known = all(state in {"present", "absent"} for state in own)
        if known and own.count("present") != 1:
            found = f"row {number}: {own.count('present')} of {', '.join(columns)} are 1"
            raise InputError(table.source, found=found, expected="exactly one of them", do="Correct that row.")
        harmed.add(own[0] == "absent" if known else None)
    whole = "present" if True in harmed else "failed" if None in harmed else "absent"
    said = states.get("any_injury", whole)
    if {said, whole} == {"present", "absent"}:
        found = f"row {number}: any_injury is {int(said == 'present')}, its structures say {int(whole == 'present')}"
        expected = "1 where a structure is not healthy, else 0"
        raise InputError(table.source, found=found, expected=expected, do="Correct that row.")
    return whole
