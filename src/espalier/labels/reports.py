"""A table of reports or labels by id: one report each, repeated rows counted, rows that differ told."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espalier.cohort.cells import is_missing, plain_id, refuse_ruined_ids
from espalier.cohort.csv_table import Table
from espalier.errors import InputError
from espalier.labels.options import LabelOptions
from espalier.labels.published import finding_columns, state_of

Said = str | tuple[tuple[str, str], ...]
"""What a row says, for comparison: its text with plain blanks, or finding and state; empty where it says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reports:
    """The rows of a table by id.

    Parameters
    ----------
    source, read_as
        The name of the table and its encoding, for people.
    rows
        Per id the numbers of its rows.
    said
        Per id what it says, for comparison.
    texts, states
        Per id its report as it stands in the table, or its published labels.
    conflicting
        Ids whose rows differ.
    repeated
        How many rows say again what another row of their id says, or nothing beside one that does.
    nameless
        Numbers of rows without id.
    """

    source: str
    read_as: str
    rows: Mapping[str, tuple[int, ...]]
    said: Mapping[str, Said]
    texts: Mapping[str, str]
    states: Mapping[str, dict[str, str]]
    conflicting: frozenset[str]
    repeated: int
    nameless: tuple[int, ...]


def group_reports(table: Table, options: LabelOptions) -> Reports:
    """Return the reports of a table by id.

    Parameters
    ----------
    table
        The table of reports or of published labels.
    options
        Its columns, and the words for nothing.

    Raises
    ------
    SettingsError
        Where a named column is not there, or a cell is no label.
    InputError
        Where there are no rows, a text was cut by a line break, or the ids were ruined by a spreadsheet.
    """
    if not table.rows:
        raise InputError(table.source, found="a heading and no rows", expected="one row per report", do="Export it again.")
    cells = table.column(options.id_column, setting="[labels] id_column")
    refuse_ruined_ids(cells, source=table.source, column=options.id_column, numbers=table.numbers)
    _refuse_broken_lines(table, cells)
    texts, states = _contents(table, options)
    said = [_plain(text) for text in texts] if texts else [_labels(own) for own in states]
    places: dict[str, list[int]] = {}
    for row, cell in enumerate(cells):
        places.setdefault(plain_id(cell), []).append(row)
    nameless = places.pop("", [])
    first = {one: next((row for row in rows if said[row]), rows[0]) for one, rows in places.items()}
    differing = {one for one, rows in places.items() if len({said[row] for row in rows if said[row]}) > 1}
    return Reports(
        source=table.source.name,
        read_as=table.read_as,
        rows={one: tuple(table.numbers[row] for row in rows) for one, rows in places.items()},
        said={one: said[row] for one, row in first.items()},
        texts={one: texts[row] for one, row in first.items()} if texts else {},
        states={one: states[row] for one, row in first.items()} if states else {},
        conflicting=frozenset(differing),
        repeated=sum(len(rows) - 1 for one, rows in places.items() if one not in differing),
        nameless=tuple(table.numbers[row] for row in nameless),
    )


def _contents(table: Table, options: LabelOptions) -> tuple[list[str], list[dict[str, str]]]:
    """Return the text of each row, or its published labels."""
    if options.table is None:
        cells = table.column(options.text_column, setting="[labels] text_column")
        return ["" if is_missing(cell, options.missing) else cell for cell in cells], []
    own = finding_columns(table, id_column=options.id_column, lexicon=options.lexicon, missing=options.missing)
    return [], [
        {f: state_of(row[c], table=table, row=place, finding=f, missing=options.missing) for f, c in own.items()}
        for place, row in enumerate(table.rows)
    ]


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _labels(states: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(states.items()) if any(state != "failed" for state in states.values()) else ()


def _refuse_broken_lines(table: Table, ids: Sequence[str]) -> None:
    """Refuse a text that was cut by a line break without quotes: its rest stands where an id should."""
    blank_in_whole = any(" " in plain_id(one) for row, one in enumerate(ids) if row not in table.short)
    broken = next((row for row in table.short if " " in plain_id(ids[row]) and not blank_in_whole), None)
    if broken is not None:
        raise InputError(
            table.source,
            found=f"row {table.numbers[broken]} ends early, and words stand where its id should",
            expected="texts with line breaks in double quotes",
            do="Export it again with quotes around each text.",
        )
