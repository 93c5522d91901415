"""Tables of reports or labels by id: one report each, repeated rows counted, rows that differ told."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from espalier.cohort.cells import is_missing, plain_id, refuse_ruined_ids
from espalier.cohort.csv_table import Table, read_csv, said_columns
from espalier.cohort.ct_rate import VOLUME
from espalier.errors import InputError
from espalier.labels.findings import FINDINGS
from espalier.labels.options import LabelOptions, several
from espalier.labels.published import Columns, finding_columns, states_of

Said = str | tuple[tuple[str, str], ...]
"""What a row says, for comparison: its text with plain blanks, or finding and state; empty where it says nothing."""
_LANGUAGE: Final = re.compile(r"_[A-Z]{2}$")
_NEXT_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|_")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reports:
    """The rows of one or more tables by id.

    Parameters
    ----------
    source, read_as
        The names of the tables and their encodings, for people.
    rows
        Per id the numbers of its rows; behind the table's name and a colon where there are several tables.
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
    findings
        The findings of published labels; empty for reports.
    without
        Findings of the set for which there is no column.
    volumes
        Per id the volumes in whose rows it stands, where the ids are CT-RATE's: a report belongs to a scan, and its row is
        repeated for each of the scan's reconstructions.
    """

    source: str
    read_as: str
    rows: Mapping[str, tuple[str, ...]]
    said: Mapping[str, Said]
    texts: Mapping[str, str]
    states: Mapping[str, dict[str, str]]
    conflicting: frozenset[str]
    repeated: int
    nameless: tuple[str, ...]
    findings: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    volumes: Mapping[str, tuple[str, ...]]


def read_tables(options: LabelOptions, folder: Path) -> tuple[Table, ...]:
    """Read the tables that `[labels]` names, relative to the study's folder.

    Raises
    ------
    InputError
        Where one cannot be read, or tables of labels have not the same columns.
    """
    tables = tuple(read_csv(folder / name, encoding=options.encoding) for name in options.sources)
    for other in tables[1:] if options.table else ():
        differing = set(tables[0].columns) ^ set(other.columns)
        if differing:
            # A first row without the ids' column may be no heading but somebody's data: it is not said.
            has_heading = all(table.place(options.id_column) is not None for table in (tables[0], other))
            told = said_columns(sorted(differing)[:10]) if has_heading else str(len(differing))
            found = f"columns that {tables[0].source.name} has not, or lacks: {told}"
            do = "Name tables of one kind only."
            raise InputError(other.source, found=found, expected="the same columns in each table", do=do)
    return tables


def group_reports(tables: Table | Sequence[Table], options: LabelOptions) -> Reports:
    """Return the reports of one or more tables by id.

    Parameters
    ----------
    tables
        The tables of reports or of published labels, as `read_tables` returns them.
    options
        Their columns, and the words for nothing.

    Raises
    ------
    SettingsError
        Where a named column or finding is not there, or a cell is no label.
    InputError
        Where there are no rows, none says anything, a text was cut by a line break, the ids were ruined by a spreadsheet, or
        labels contradict one another.
    """
    tables = [tables] if isinstance(tables, Table) else list(tables)
    ids = [one for table in tables for one in _ids(table, options)]
    columns = finding_columns(tables[0], options) if options.table else {}
    texts = [] if options.table else [text for table in tables for text in _texts(table, options)]
    states = [own for table in tables for own in _states(table, tables[0], columns, options)] if options.table else []
    said: list[Said] = [_plain(text) for text in texts] if texts else [_labels(own) for own in states]
    if not any(said):
        what = "no row has a label" if options.table else "no row has a text"
        do = "Name the column that has them." if options.reports else "Name another table."
        raise InputError(tables[0].source, found=what, expected="at least one", do=do)
    numbers = [_number(table, n, several=len(tables) > 1) for table in tables for n in table.numbers]
    whose = _scans_of_ct_rate(ids) or ids
    places: dict[str, list[int]] = {}
    for row, one in enumerate(whose):
        places.setdefault(one, []).append(row)
    nameless = places.pop("", [])
    first = {one: next((row for row in rows if said[row]), rows[0]) for one, rows in places.items()}
    differing = {one for one, rows in places.items() if len({said[row] for row in rows if said[row]}) > 1}
    if texts and options.several_rows == "join":
        for one in differing:
            texts[first[one]], said[first[one]] = _put_together([texts[row] for row in places[one]])
        differing = set()
    named = {one: tuple(dict.fromkeys(ids[row] for row in rows)) for one, rows in places.items()}
    found = tuple(states[0]) if states else ()
    return Reports(
        source=", ".join(table.source.name for table in tables),
        read_as=", ".join(dict.fromkeys(table.read_as for table in tables)),
        rows={one: tuple(numbers[row] for row in rows) for one, rows in places.items()},
        said={one: said[row] for one, row in first.items()},
        texts={one: texts[row] for one, row in first.items()} if texts else {},
        states={one: states[row] for one, row in first.items()} if states else {},
        conflicting=frozenset(differing),
        repeated=sum(len(rows) - len(named[one]) for one, rows in places.items() if one not in differing),
        nameless=tuple(numbers[row] for row in nameless),
        findings=found,
        without=() if options.findings or not found else _without(found, options.lexicon),
        volumes=named if whose is not ids else {},
    )


def _ids(table: Table, options: LabelOptions) -> list[str]:
    """Return the ids of a table, once they and its rows are found to be whole."""
    if not table.rows:
        raise InputError(table.source, found="a heading and no rows", expected="one row per report", do="Export it again.")
    cells = table.column(options.id_column, setting="[labels] id_column")
    refuse_ruined_ids(cells, source=table.source, column=options.id_column, numbers=table.numbers)
    _refuse_broken_lines(table, cells)
    return [plain_id(cell) for cell in cells]


def _texts(table: Table, options: LabelOptions) -> list[str]:
    """Return the text of each row; what several columns say stands below their names as headings."""
    names = several(options.text_column)
    columns = [table.column(name, setting="[labels] text_column") for name in names]
    rows = [["" if is_missing(cell, options.missing) else cell for cell in row] for row in zip(*columns, strict=True)]
    if len(names) == 1:
        return [row[0] for row in rows]
    headings = [_NEXT_WORD.sub(" ", _LANGUAGE.sub("", name)) for name in names]
    return ["\n\n".join(f"{h}:\n{cell.strip()}" for h, cell in zip(headings, row, strict=True) if cell) for row in rows]


def _states(table: Table, first: Table, columns: Columns, options: LabelOptions) -> list[dict[str, str]]:
    """Return the labels of each row; the columns of the first table may stand in another order here."""
    here = {name: place for place, name in enumerate(table.columns)}
    own = {f: tuple(here[first.columns[place]] for place in places) for f, places in columns.items()}
    return states_of(table, own, options.missing)


def _number(table: Table, number: int, *, several: bool) -> str:
    return f"{table.source.name}:{number}" if several else str(number)


def _scans_of_ct_rate(ids: Sequence[str]) -> list[str]:
    """Return the scan of each volume where all ids name volumes of CT-RATE as published, else nothing."""
    found = [VOLUME.match(one) if one.endswith(".nii.gz") else None for one in ids if one]
    if not found or None in found:
        return []
    scans = iter(match["scan"] for match in found if match)
    return [next(scans) if one else "" for one in ids]


def _without(found: Sequence[str], lexicon: str) -> tuple[str, ...]:
    wanted = FINDINGS.get(lexicon, ())
    return tuple(finding for finding in wanted if finding not in found) if set(wanted) & set(found) else ()


def _put_together(texts: Sequence[str]) -> tuple[str, str]:
    """Return the texts of one id as one, each once, and what they say."""
    own: dict[str, str] = {}
    for text in texts:
        own.setdefault(_plain(text), text.strip())
    own.pop("", None)
    return "\n\n".join(own.values()), " ".join(own)


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
