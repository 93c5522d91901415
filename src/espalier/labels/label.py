"""The stage `label`: what each report says, joined to the scans, then who trains, validates and tests."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from espalier.cohort.options import SplitOptions
from espalier.errors import InputError, SettingsError
from espalier.labels.join import Joined, join
from espalier.labels.options import LabelOptions
from espalier.labels.published import finding_columns, state_of
from espalier.labels.reading import Reading, make_reader, read_all
from espalier.labels.tables import Table, read_csv
from espalier.labels.targets import target_of
from espalier.labels.trauma import trauma_target
from espalier.outputs import hash_file, hash_of, key_of, read_table, table_metadata, write_csv, write_table
from espalier.stage import Summary, write_set_aside

LABELS: Final = "labels.parquet"
EVIDENCE: Final = "evidence.parquet"
MISMATCHES: Final = "label_mismatches.csv"
_VERSION: Final = 1
_EVIDENCE: Final = dict.fromkeys(("report", "finding", "state", "section", "evidence"), pl.String) | {
    "start": pl.Int64,
    "end": pl.Int64,
    "rule": pl.String,
    "match_start": pl.Int64,
    "match_end": pl.Int64,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """What the stage works on: the table, per id its rows, rows without id, and the key of all the result depends on."""

    table: Table
    ids: tuple[str, ...]
    rows: Mapping[str, tuple[int, ...]]
    nameless: tuple[int, ...]
    key: str


def label(options: LabelOptions, splits: SplitOptions, *, folder: Path, workers: int = 1) -> Summary:
    """Read every report, join it to its scans, write the labels with their evidence, and draw the splits.

    Parameters
    ----------
    options
        Where the reports or the published labels are.
    splits
        How scans are split; used only where the study has a cohort.
    folder
        The study's folder.
    workers
        Processes that read reports side by side.

    Raises
    ------
    SettingsError
        Where neither reports nor a table is named, or a named column is not there.
    InputError
        Where the table is empty or none of its ids is that of a scan.
    """
    cohort = _cohort(folder)
    work = _work(options, folder)
    if key_of(folder / LABELS) != work.key or key_of(folder / EVIDENCE) != work.key:
        readings = _readings(options, work, folder, workers)
        joined = join(work.ids, cohort, source=work.table.source.name)
        _write(folder, options, work, readings, joined)
        _write_mismatches(folder, work, joined, cohort)
    if cohort is not None:
        from espalier.cohort.splits import make_splits

        make_splits(splits, folder=folder, labels=None)
    return _summary(folder, with_splits=cohort is not None)


def read_labels(folder: Path) -> pl.DataFrame:
    """Return `labels.parquet` of a study: report, scan (may be empty), finding, state, target, weight."""
    return read_table(folder / LABELS, kind="labels")


def _cohort(folder: Path) -> pl.DataFrame | None:
    from espalier.cohort.table import COHORT, read_cohort

    return read_cohort(folder) if (folder / COHORT).is_file() else None


def _work(options: LabelOptions, folder: Path) -> _Work:
    name = options.reports or options.table
    if name is None:
        raise SettingsError(
            "[labels]", found="neither reports nor table", expected="one of them", do='Add reports = "reports.csv".'
        )
    table = read_csv(folder / name)
    rows: dict[str, list[int]] = {}
    nameless = []
    for row, one in enumerate(table.column(options.id_column, setting="id_column")):
        if one.strip():
            rows.setdefault(one.strip(), []).append(row)
        else:
            nameless.append(row)
    lexicon = make_reader(options.lexicon, folder=folder).key if options.reports else options.lexicon
    cohort = folder / "cohort.parquet"
    key = hash_of("label", _VERSION, options, hash_file(table.source), lexicon, hash_file(cohort) if cohort.is_file() else "")
    return _Work(
        table=table, ids=tuple(rows), rows={one: tuple(r) for one, r in rows.items()}, nameless=tuple(nameless), key=key
    )


def _readings(options: LabelOptions, work: _Work, folder: Path, workers: int) -> list[Reading]:
    """Return what is said under each id, in the order of the ids; several rows of one id are read as one report."""
    if options.table is not None:
        return _published(options, work)
    cells = work.table.column(options.text_column, setting="text_column")
    texts = ["\n\n".join(dict.fromkeys(cells[row] for row in work.rows[one])) for one in work.ids]
    return read_all(texts, lexicon=options.lexicon, folder=folder, workers=workers)


def _published(options: LabelOptions, work: _Work) -> list[Reading]:
    columns = finding_columns(work.table, id_column=options.id_column, lexicon=options.lexicon)
    out = []
    for one in work.ids:
        row = work.rows[one][0]
        cells = work.table.rows[row]
        for other in work.rows[one][1:]:
            if any(work.table.rows[other][place] != cells[place] for place in columns.values()):
                raise InputError(
                    work.table.source,
                    found=f"rows {row + 1} and {other + 1} have one id and different labels",
                    expected="one row per id",
                    do="Remove one of them.",
                )
        states = {f: state_of(cells[c], table=work.table, row=row, finding=f) for f, c in columns.items()}
        out.append(Reading(states=states, mentions=()))
    return out


def _write(folder: Path, options: LabelOptions, work: _Work, readings: Sequence[Reading], joined: Joined) -> None:
    labels = _labels(options, work.ids, readings)
    pairs = [(one, scan) for one in work.ids for scan in joined.scans.get(one, ("",))]
    scans = pl.DataFrame(pairs, schema={"report": pl.String, "scan": pl.String}, orient="row")
    labels = scans.join(labels, on="report", maintain_order="left_right").select(
        "report", "scan", "finding", "state", "target", "weight"
    )
    evidence = [
        (one, m.finding, m.state, m.section, reading.evidence(m), *m.sentence, m.rule, m.start, m.end)
        for one, reading in zip(work.ids, readings, strict=True)
        for m in reading.mentions
    ]
    frame = pl.DataFrame(evidence, schema=_EVIDENCE, orient="row")
    write_table(folder / EVIDENCE, frame, kind="evidence", key=work.key, private=True)
    counts = {
        "reports": len(work.ids),
        "nameless": len(work.nameless),
        "silent": sum("failed" in r.states.values() for r in readings),
        "scans": sum(len(s) for s in joined.scans.values()),
        "column": joined.column,
        "lone_reports": len(joined.lone_ids),
        "lone_scans": len(joined.lone_scans),
    }
    more = {"counts": json.dumps(counts)}
    write_table(folder / LABELS, labels, kind="labels", key=work.key, more=more, private=True)


def _labels(options: LabelOptions, ids: Sequence[str], readings: Sequence[Reading]) -> pl.DataFrame:
    rows = []
    for one, reading in zip(ids, readings, strict=True):
        for finding, state in reading.states.items():
            if options.reports is not None and options.lexicon == "ratic":
                target, weight = trauma_target(finding, reading.states, options)
            else:
                target, weight = target_of(state, options)
            rows.append((one, finding, state, target, weight))
    schema = {"report": pl.String, "finding": pl.String, "state": pl.String, "target": pl.Float32, "weight": pl.Float32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _write_mismatches(folder: Path, work: _Work, joined: Joined, cohort: pl.DataFrame | None) -> None:
    if cohort is None:
        return
    rows = [
        {"side": "report without scan", "row": str(work.rows[one][0] + 1), "report": one, "scan": ""} for one in joined.lone_ids
    ]
    rows += [{"side": "row without id", "row": str(row + 1), "report": "", "scan": ""} for row in work.nameless]
    rows += [{"side": "scan without report", "row": "", "report": "", "scan": scan} for scan in joined.lone_scans]
    write_csv(folder / MISMATCHES, rows, ("side", "row", "report", "scan"), private=True)
    sources = dict(zip(cohort["scan"], cohort["source"], strict=True)) if "source" in cohort.columns else {}
    write_set_aside(folder, "label", [_no_report(scan, sources.get(scan, ""), joined.column) for scan in joined.lone_scans])


def _no_report(scan: str, source: str, column: str) -> dict[str, str]:
    return {
        "source": source,
        "scan": scan,
        "reason": "no_report",
        "found": f"no row of the table has its {column}",
        "expected": "one row per study",
        "do": "Add the report, or leave the scan out.",
    }


def _summary(folder: Path, *, with_splits: bool) -> Summary:
    counts = json.loads(table_metadata(folder / LABELS, kind="labels")["counts"])
    words = f"{counts['reports']} reports read"
    if counts["nameless"]:
        words += f", {counts['nameless']} rows have no id"
    if counts["silent"]:
        words += f", {counts['silent']} of them without text or label"
    if counts["column"]:
        words += f"; {counts['scans']} scans have labels (matched by {counts['column']})"
        words += f"; {counts['lone_reports']} reports have no scan, {counts['lone_scans']} scans no report ({MISMATCHES})"
    names = (LABELS, EVIDENCE, *((MISMATCHES, "splits.parquet") if with_splits else ()))
    return Summary(
        verb="label",
        done=counts["reports"],
        set_aside=counts["lone_scans"],
        words=words + ".",
        wrote=tuple(folder / name for name in names if (folder / name).is_file()),
    )
