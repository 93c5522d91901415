"""Whose the ids of a report table are, where a table of your own says so: `[labels] link`."""

import difflib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espalier.cohort.cells import plain_id, refuse_ruined_ids
from espalier.cohort.csv_table import Table, read_csv, said_columns, whole_table
from espalier.cohort.splits import ID_COLUMNS
from espalier.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """Per id of a report what the cohort calls its scans: one mapping of cohort columns to ids for each row."""

    source: Path
    rows: dict[str, tuple[dict[str, str], ...]]


def read_link(path: Path, *, id_column: str, encoding: str | None = None) -> Link:
    """Read a table that links ids of reports to ids of scans.

    Parameters
    ----------
    path
        A CSV with a column of report ids and one or more columns named as the cohort's ids.
    id_column
        The name of the report ids in the report table, which the link's column shares where it can.
    encoding
        The encoding, where it is known.

    Raises
    ------
    InputError
        Where its columns are not such, or its ids were ruined by a spreadsheet.
    """
    table = whole_table(read_csv(path, encoding=encoding))
    own, targets = _columns(table, id_column)
    for place in (own, *targets):
        cells = [row[place] for row in table.rows]
        refuse_ruined_ids(cells, source=path, column=table.columns[place], numbers=table.numbers)
    rows: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for row in table.rows:
        named = {column: one for place, column in targets.items() if (one := plain_id(row[place]))}
        if named and named not in rows[plain_id(row[own])]:
            rows[plain_id(row[own])].append(named)
    return Link(source=path, rows={one: tuple(named) for one, named in rows.items() if one and named})


def _columns(table: Table, id_column: str) -> tuple[int, dict[int, str]]:
    """Return where the report ids stand, and the cohort's name of each column with ids of scans."""
    known = {place: ID_COLUMNS[name.lower()] for place, name in enumerate(table.columns) if name.lower() in ID_COLUMNS}
    others = [place for place, name in enumerate(table.columns) if name and place not in known]
    own = table.place(id_column)
    if (own is None or not known.keys() - {own}) and len(others) == 1:
        own = others[0]
    targets = {place: column for place, column in known.items() if place != own}
    _refuse_misspelt(table, [table.columns[place] for place in others if place != own])
    if own is None or not targets:
        what = "the ids of the reports" if own is None else "ids of scans"
        found = f"no column with {what}; its columns are {said_columns(table.columns)}"
        expected = f"a column {id_column}, and one or more of {', '.join(ID_COLUMNS)}"
        raise InputError(table.source, found=found, expected=expected, do="Rename its columns.")
    return own, targets


def _refuse_misspelt(table: Table, columns: Sequence[str]) -> None:
    """Refuse a column that is almost named as an id; columns of other things are left alone."""
    for column in columns:
        likely = difflib.get_close_matches(column.lower(), ID_COLUMNS, n=1, cutoff=0.8)
        if likely:
            found, do = f"no id is named {column}", f"Did you mean {likely[0]}?"
            raise InputError(table.source, found=found, expected=f"one of {', '.join(ID_COLUMNS)}", do=do)
