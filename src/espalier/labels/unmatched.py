"""Both sides of every mismatch between reports and scans, whole, in one private table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from espalier.labels.join import Joined
from espalier.outputs import write_csv
from espalier.stage import write_set_aside

UNMATCHED: Final = "unmatched.csv"
COLUMNS: Final = ("side", "id", "scan", "reason", "do", "row")
_DO: Final = {
    "no_id": "Give the row its id.",
    "no_scan": "Add the scan, or leave the report out.",
    "not_in_link": "Add the id to the link table.",
    "link_disagrees": "Correct the id's row in the link table: its ids name different scans.",
    "conflicting_reports": 'Keep one report for this scan, or put [labels] several_rows = "join".',
    "no_report": "Add the report, or leave the scan out.",
}


def write_unmatched(
    folder: Path,
    joined: Joined,
    cohort: pl.DataFrame | None,
    *,
    rows: Mapping[str, Sequence[str]],
    nameless: Sequence[str],
    names: Mapping[str, str],
) -> None:
    """Write `unmatched.csv`, and the scans without a report into `set_aside.csv`.

    Parameters
    ----------
    folder
        The study's folder.
    joined
        Who belongs to whom.
    cohort
        The table of scans; None where there is none.
    rows
        Per id the numbers of its rows in the table of reports; behind the table's name where there are several.
    nameless
        Numbers of rows without id.
    names
        Per id what it is called in what is written: itself, or its pseudonym.
    """
    listed = [_line("report", names[one], "", reason, rows[one]) for one, reason in joined.lone_ids.items()]
    listed += [_line("report", "", "", "no_id", (number,)) for number in nameless]
    listed += [_line("scan", "", scan, reason, ()) for scan, reason in joined.lone_scans.items()]
    write_csv(folder / UNMATCHED, listed, COLUMNS, private=True)
    if cohort is not None:
        sources = dict(zip(cohort["scan"], cohort["source"], strict=True)) if "source" in cohort.columns else {}
        aside = [_aside(scan, sources.get(scan) or "", reason, joined.column) for scan, reason in joined.lone_scans.items()]
        write_set_aside(folder, "label", aside)


def _line(side: str, one: str, scan: str, reason: str, numbers: Sequence[str]) -> dict[str, str]:
    return {"side": side, "id": one, "scan": scan, "reason": reason, "do": _DO[reason], "row": " ".join(numbers)}


def _aside(scan: str, source: str, reason: str, column: str) -> dict[str, str]:
    found = "two reports that differ" if reason == "conflicting_reports" else f"no report (looked for by {column})"
    return {
        "source": source,
        "scan": scan,
        "reason": reason,
        "found": found,
        "expected": "one report per study",
        "do": _DO[reason],
    }
