"""A patient withdraws from audits too: the texts go, and the answers about the patient's reports."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from espalier.cohort.cells import plain_id
from espalier.cohort.csv_table import read_csv
from espalier.labels.audit_answers import write_for_spreadsheets
from espalier.labels.audit_draw import (
    DRAWN,
    FOLDER,
    SCORE,
    SCORE_PAGE,
    SHEET,
    hash_of_states,
    read_drawn,
    states_of_labels,
    write_drawn,
)
from espalier.labels.label import read_labels


def forget_audited(folder: Path, reports: Collection[str]) -> list[Path]:
    """Remove reports from every audit of a study; call it before they leave `labels.parquet`. Killed, it can be called again.

    A sheet is removed whole, with the score: the texts of others are still in the table of reports, and the score can be
    made again from the answers that stay.

    Parameters
    ----------
    folder
        The study's folder.
    reports
        Ids as in `labels.parquet`.

    Returns
    -------
    The files that were removed or rewritten.
    """
    changed: list[Path] = []
    for own in sorted(path for path in (folder / FOLDER).glob("*") if path.name.isdecimal()):
        if (own / DRAWN).is_file():
            changed += _forget_in(folder, own, frozenset(reports))
        else:
            # The draw was killed and counts for nothing; nobody knows whose texts it holds.
            changed += _removed([own / SHEET, *own.glob("cells*.csv")])
    return changed


def _forget_in(folder: Path, own: Path, reports: frozenset[str]) -> list[Path]:
    drawn = read_drawn(own)
    ids = {cell.id for cell in drawn.cells if cell.report in reports}
    if not ids:
        return []
    changed = _removed([own / SHEET, own / SCORE, own / SCORE_PAGE])
    for path in sorted(own.glob("cells*.csv")):
        _without_cells(path, ids)
        changed.append(path)
    states = states_of_labels(read_labels(folder))
    labels = hash_of_states(states, without=reports) if hash_of_states(states) == drawn.labels else drawn.labels
    # Last: it tells what is left to do.
    write_drawn(own / DRAWN, replace(drawn, cells=tuple(c for c in drawn.cells if c.id not in ids), labels=labels))
    return [*changed, own / DRAWN]


def _removed(paths: list[Path]) -> list[Path]:
    there = [path for path in paths if path.is_file()]
    for path in there:
        path.unlink()
    return there


def _without_cells(path: Path, ids: Collection[str]) -> None:
    table = read_csv(path)
    place = table.place("cell")
    rows = [row for row in table.rows if place is None or plain_id(row[place]) not in ids]
    write_for_spreadsheets(path, [dict(zip(table.columns, row, strict=True)) for row in rows], table.columns)
