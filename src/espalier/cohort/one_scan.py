"""Why a scan is used, noted, not chosen or set aside: the rows of the study's tables about it, in words.

What is said here reaches terminals and logs, so it names no patient, path, UID or description.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.cohort.counts import Tables, plural, read_tables
from espalier.cohort.histograms import short
from espalier.cohort.reasons import advice, note_words, reason_words
from espalier.errors import UseError

IDS: Final = ("scan", "series_uid", "study_uid", "accession", "patient", "stem")
SERIES_TOLD: Final = ("scan", "slices", "spacing_z_mm", "coverage_mm", "kernel", "axial", "problem", "chosen", "why")
_NAMES: Final = {"spacing_z_mm": "spacing mm", "coverage_mm": "coverage mm"}
_LOOK_UP: Final = (
    "Its patient, UIDs and files stand in cohort.parquet, series.parquet and set_aside.csv, in the rows of this scan."
)


def explain_scan(path: Path, wanted: str) -> tuple[list[str], dict[str, Any]]:
    """Return what became of a scan and of every series of its study, as lines for people and as data.

    Parameters
    ----------
    path
        The cohort table; the tables beside it are read too.
    wanted
        A scan's id, or a series UID, study UID, accession number, patient id or file name exactly as the tables hold it.

    Raises
    ------
    UseError
        When no scan goes by that name; it is not repeated, since it may be a patient's.
    """
    tables = read_tables(path)
    scans = _named(tables, wanted) if wanted else []
    if not scans:
        do = "Give it exactly as cohort.parquet, series.parquet or set_aside.csv holds it."
        raise UseError("--scan", found="no scan goes by this", expected="a scan, series, study, accession or patient", do=do)
    main = _main_one(tables, scans)
    if main is None:
        found = [_became(tables, scan) for scan in scans]
        lines = [f"{plural(len(scans), 'scan')} of several studies go by this; name one:"]
        return [*lines, *_lined(found, ("scan", "became"))], {"matches": found}
    return _explained(tables, main)


def _named(tables: Tables, wanted: str) -> list[str]:
    """Return the ids of all scans and series that `wanted` names, in one order."""
    scans: set[str] = set()
    for frame in (tables.cohort, tables.series, tables.set_aside):
        own = [column for column in IDS if column in frame.columns]
        scans.update(frame.filter(pl.any_horizontal(pl.col(own) == wanted))["scan"].drop_nulls().to_list())
    return sorted(scan for scan in scans if scan)


def _main_one(tables: Tables, scans: Sequence[str]) -> str | None:
    """Return the scan to tell about: the only one, or the one that is used where all belong to one study."""
    if len(scans) == 1:
        return scans[0]
    own = tables.series.filter(pl.col("scan").is_in(scans))
    if own.select("patient", "study_uid").unique().height != 1 or set(scans) - set(own["scan"]):
        return None
    used = tables.cohort.filter(pl.col("scan").is_in(scans))["scan"].to_list()
    chosen = own.filter("chosen")["scan"].to_list()
    return used[0] if len(used) == 1 else chosen[0] if len(chosen) == 1 else None


def _became(tables: Tables, scan: str) -> dict[str, Any]:
    """Return what a scan came to: used, set aside or not chosen, with the codes that say why."""
    row = _row(tables.cohort, scan)
    aside = _row(tables.set_aside, scan)
    listed = _row(tables.series, scan)
    if row:
        words = "used: sound" if row["verdict"] == "sound" else f"used: noted ({', '.join(row['notes'])})"
        return {"scan": scan, "used": True, "verdict": row["verdict"], "became": words}
    if aside:
        words = f"set aside for {reason_words(aside['reason'])} ({aside['reason']})"
        return {"scan": scan, "used": False, "verdict": "set aside", "became": words}
    why = listed.get("why") or "no reason is recorded"
    return {"scan": scan, "used": False, "verdict": "not chosen", "became": f"not chosen: {why}"}


def _explained(tables: Tables, scan: str) -> tuple[list[str], dict[str, Any]]:
    row, listed = (_row(frame, scan) for frame in (tables.cohort, tables.series))
    told = _became(tables, scan)
    series = _series_of_study(tables, listed)
    notes = {code: note_words(code) for code in row.get("notes") or []}
    twins = _twins(tables, scan)
    data = {key: told[key] for key in ("scan", "used", "verdict")} | {"notes": notes, "twins": twins}
    lines = [f"Scan {scan} is {told['became']}.", *(f"  {code}: {words}" for code, words in notes.items())]
    if row:
        lines.append(_volume_words(row))
        names = [*(f"shape_{axis}" for axis in "zyx"), *(f"spacing_{axis}_mm" for axis in "zyx"), "format"]
        data |= {name: row[name] for name in names} | {"files": len(row["files"] or []) or 1}
    aside = tables.set_aside.filter(scan=scan).head(1)
    if not aside.is_empty():
        data |= {"reason": aside["reason"][0], "do": advice(aside)}
        lines.append(f"What to do: {data['do'] or 'see its row there.'} What was found stands in set_aside.csv.")
    lines += [f"It shows the same volume as scan {other} ({kind})." for other, kind in twins.items()]
    if listed:
        lines += [_rule_words(tables, listed, [one["scan"] for one in series]), *_series_lines(series, scan)]
    return [*lines, _LOOK_UP], data | {"why": listed.get("why", ""), "series": series}


def _rule_words(tables: Tables, listed: Mapping[str, Any], rivals: Sequence[str]) -> str:
    """Return how the choice between the series of a study went for one of them."""
    used = sorted(set(tables.cohort["scan"]) & set(rivals))
    if len(rivals) == 1:
        return "Its study has no other series."
    if listed["scan"] in used:
        return f"It was chosen from the {len(rivals)} series of its study: {listed['why']}."
    instead = f"Scan {', '.join(used)} of its study is used instead." if used else "No scan of its study is used."
    return f"{instead} The {len(rivals)} series of the study:"


def _series_lines(series: Sequence[Mapping[str, Any]], scan: str) -> list[str]:
    marked = [{**one, "scan": f"{'>' if one['scan'] == scan else ' '} {one['scan']}"} for one in series]
    return _lined(marked, SERIES_TOLD)


def _series_of_study(tables: Tables, listed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every series of a scan's study with what decided between them; one that was set aside says why."""
    if not listed:
        return []
    own = tables.series.filter(
        pl.col("patient").eq_missing(listed["patient"]), pl.col("study_uid").eq_missing(listed["study_uid"])
    )
    reasons = dict(tables.set_aside.select("scan", "reason").iter_rows())
    rows = own.sort(["chosen", "scan"], descending=[True, False]).select(SERIES_TOLD).to_dicts()
    return [{**row, "problem": reasons.get(row["scan"]) or row["problem"] or ""} for row in rows]


def _twins(tables: Tables, scan: str) -> dict[str, str]:
    pairs = tables.duplicates.select("scan", "other_scan", "kind").iter_rows()
    return {(b if a == scan else a): kind for a, b, kind in pairs if scan in (a, b)}


def _volume_words(row: Mapping[str, Any]) -> str:
    shape = " × ".join(str(row[f"shape_{axis}"]) for axis in "zyx")
    spacing = " × ".join(short(row[f"spacing_{axis}_mm"]) for axis in "zyx")
    files = plural(len(row["files"] or []) or 1, "file")
    return f"{shape} voxels of {spacing} mm (z × y × x), {row['format']}, {files}."


def _row(frame: pl.DataFrame, scan: str) -> dict[str, Any]:
    rows = frame.filter(pl.col("scan") == scan).head(1).to_dicts()
    return rows[0] if rows else {}


def _lined(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Return rows as text in columns, under a heading."""
    cells = [[_NAMES.get(name, name) for name in columns], *([_cell(row[name]) for name in columns] for row in rows)]
    cells[0][0] = "  " + cells[0][0] if any(row[0].startswith((" ", ">")) for row in cells[1:]) else cells[0][0]
    widths = [max(len(row[n]) for row in cells) for n in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value in (None, "") else short(value) if isinstance(value, float) else str(value)
