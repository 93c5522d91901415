"""The stage `label`: what each report says, joined to the scans, then who trains, validates and tests."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.cohort.forgotten import FORGOTTEN, read_forgotten
from espalier.cohort.options import SplitOptions
from espalier.cohort.pseudonyms import pseudonym_of, read_key
from espalier.errors import SettingsError
from espalier.labels.join import PSEUDONYMS, Joined, join, settle
from espalier.labels.language_model import with_model
from espalier.labels.link import read_link
from espalier.labels.options import LabelOptions
from espalier.labels.prompt import PROMPT_KEY
from espalier.labels.reading import Reading, make_reader, read_all
from espalier.labels.reports import Reports, group_reports, read_tables
from espalier.labels.targets import named_findings, options_by_finding, target_of
from espalier.labels.trauma import trauma_target
from espalier.labels.trauma_words import is_trauma
from espalier.labels.unmatched import UNMATCHED, write_unmatched
from espalier.labels.withdrawn import withdrawn
from espalier.outputs import hash_file, hash_of, key_of, read_table, table_metadata, write_table
from espalier.stage import Summary

LABELS: Final = "labels.parquet"
EVIDENCE: Final = "evidence.parquet"
_VERSION: Final = 3
_EVIDENCE: Final = dict.fromkeys(("report", "finding", "state", "section", "evidence"), pl.String) | {
    "start": pl.Int64,
    "end": pl.Int64,
    "rule": pl.String,
    "match_start": pl.Int64,
    "match_end": pl.Int64,
}
_WORDS: Final = {
    "silent": "of them without text or label",
    "nameless": "rows have no id",
    "reconstructions": "rows are further reconstructions of a scan",
    "repeated": "rows repeat another",
    "conflicting": f"ids with reports that differ are left out ({UNMATCHED})",
}


def label(
    options: LabelOptions, splits: SplitOptions, *, folder: Path, workers: int = 1, pseudonyms: str | None = None
) -> Summary:
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
    pseudonyms
        The key file of `[cohort] pseudonyms`: ids of reports are replaced as those of scans were.

    Raises
    ------
    SettingsError
        Where neither reports nor a table is named, or a named column is not there.
    InputError
        Where the table is empty or not readable, its ids were ruined, or none of them is that of a scan.
    """
    cohort = _cohort(folder)
    secret = read_key(folder / pseudonyms) if pseudonyms else None
    key = hash_of(_key(options, folder), pseudonyms)
    whole = key_of(folder / LABELS) == key and key_of(folder / EVIDENCE) == key and (folder / UNMATCHED).is_file()
    # What was asked this time is said and not kept: equal answers give equal files.
    asked = "" if whole else _make(options, folder, cohort, key=key, workers=workers, secret=secret)
    drawn = "" if cohort is None else _make_splits(splits, folder, cohort, secret)
    return _summary(folder, drawn, asked, with_splits=cohort is not None)


def _make_splits(options: SplitOptions, folder: Path, cohort: pl.DataFrame, secret: bytes | None) -> str:
    from espalier.cohort.splits import make_splits
    from espalier.cohort.stratify import presence

    labels = presence(read_labels(folder), cohort["scan"].to_list()) if options.stratify else None
    return make_splits(options, folder=folder, labels=labels, key=secret).words


def read_labels(folder: Path) -> pl.DataFrame:
    """Return `labels.parquet` of a study: report, scan (may be empty), finding, state, target, weight."""
    return read_table(folder / LABELS, kind="labels")


def _cohort(folder: Path) -> pl.DataFrame | None:
    from espalier.cohort.table import COHORT, read_cohort

    return read_cohort(folder) if (folder / COHORT).is_file() else None


def _sources(options: LabelOptions, folder: Path) -> tuple[Path, ...]:
    if not options.sources:
        raise SettingsError(
            "[labels]", found="neither reports nor table", expected="one of them", do='Add reports = "reports.csv".'
        )
    return tuple(folder / name for name in options.sources)


def _key(options: LabelOptions, folder: Path) -> str:
    lexicon = make_reader(options.lexicon, folder=folder).key if options.reports else options.lexicon
    files = (
        *_sources(options, folder),
        folder / "cohort.parquet",
        folder / FORGOTTEN,
        *([folder / options.link] if options.link else []),
    )
    prompt = PROMPT_KEY if options.model else ""
    return hash_of("label", _VERSION, options, lexicon, prompt, *(hash_file(file) if file.is_file() else "" for file in files))


def _make(
    options: LabelOptions, folder: Path, cohort: pl.DataFrame | None, *, key: str, workers: int, secret: bytes | None
) -> str:
    """Write the three tables, the labels last: they are what says that the stage is done; return what the model told."""
    reports = group_reports(read_tables(options, folder), options)
    findings = reports.findings or make_reader(options.lexicon, folder=folder).findings
    each = options_by_finding(options, findings)
    if isinstance(options.findings, tuple):
        named = named_findings(options.findings, findings, setting="[labels] findings")
        each = {finding: each[finding] for own in named.values() for finding in own}
    link = None
    if options.link is not None:
        link = read_link(folder / options.link, id_column=options.id_column, encoding=options.encoding)
    joined = join(tuple(reports.rows), cohort, source=reports.source, link=link, secret=secret, also=reports.volumes)
    joined = settle(joined, reports.said, conflicting=reports.conflicting)
    kind = joined.column if joined.column in PSEUDONYMS else "report"
    names = {one: pseudonym_of(kind, one, secret) if secret else one for one in reports.rows}
    gone = withdrawn(reports, read_forgotten(folder), columns=(joined.column,), link=link, secret=secret) & set(joined.lone_ids)
    joined = replace(joined, lone_ids={one: reason for one, reason in joined.lone_ids.items() if one not in gone})
    apart = {*gone, *joined.repeated, *(one for one, reason in joined.lone_ids.items() if reason == "conflicting_reports")}
    ids = [one for one in reports.rows if one not in apart]
    if options.table is None:
        texts = [reports.texts[one] for one in ids]
        readings = read_all(texts, lexicon=options.lexicon, folder=folder, workers=workers)
    else:
        readings = [Reading(states=reports.states[one], mentions=()) for one in ids]
    counts, told = _counts(reports, joined, readings), ""
    if options.model is not None:
        texts = [reading.text for reading in readings]
        readings, asked = with_model(
            texts,
            readings,
            options=options.model,
            lexicon=options.lexicon,
            folder=folder,
            findings=tuple(each),
            names=[names[one] for one in ids],
        )
        told = asked.words
    write_unmatched(folder, joined, cohort, rows=reports.rows, nameless=reports.nameless, names=names)
    _write_evidence(folder, [names[one] for one in ids], readings, key)
    graded = options.reports is not None and is_trauma(options.lexicon, folder=folder)
    labels = _labels(each, [names[one] for one in ids], readings, graded=graded)
    pairs = [(names[one], scan) for one in ids for scan in joined.scans.get(one, ("",))]
    scans = pl.DataFrame(pairs, schema={"report": pl.String, "scan": pl.String}, orient="row")
    labels = scans.join(labels, on="report", maintain_order="left_right").select(
        "report", "scan", "finding", "state", "target", "weight"
    )
    more = {"counts": json.dumps(counts)}
    write_table(folder / LABELS, labels, kind="labels", key=key, more=more, private=True)
    return told


def _write_evidence(folder: Path, ids: Sequence[str], readings: Sequence[Reading], key: str) -> None:
    evidence = [
        (one, m.finding, m.state, m.section, reading.evidence(m), *m.sentence, m.rule, m.start, m.end)
        for one, reading in zip(ids, readings, strict=True)
        for m in reading.mentions
    ]
    frame = pl.DataFrame(evidence, schema=_EVIDENCE, orient="row")
    write_table(folder / EVIDENCE, frame, kind="evidence", key=key, private=True)


def _counts(reports: Reports, joined: Joined, readings: Sequence[Reading]) -> dict[str, Any]:
    lone = Counter(joined.lone_ids.values())
    conflicting = lone.pop("conflicting_reports", 0)
    return {
        "source": reports.source,
        "read_as": reports.read_as,
        "reports": len(readings),
        "nameless": len(reports.nameless),
        "reconstructions": sum(len(own) - 1 for own in reports.volumes.values()),
        "repeated": reports.repeated + len(joined.repeated),
        "conflicting": conflicting,
        "silent": sum("failed" in r.states.values() for r in readings),
        "scans": sum(len(s) for s in joined.scans.values()),
        "column": joined.column,
        "lone_reports": lone.total(),
        "lone_scans": len(joined.lone_scans),
        "without": reports.without,
    }


def _labels(each: Mapping[str, LabelOptions], ids: Sequence[str], readings: Sequence[Reading], *, graded: bool) -> pl.DataFrame:
    """Return a row for each report and finding; with `graded` the grades of one structure share a target."""
    rows = []
    for one, reading in zip(ids, readings, strict=True):
        for finding, options in each.items():
            state = reading.states[finding]
            if graded:
                target, weight = trauma_target(finding, reading.states, options)
            else:
                target, weight = target_of(state, options)
            rows.append((one, finding, state, target, weight))
    schema = {"report": pl.String, "finding": pl.String, "state": pl.String, "target": pl.Float32, "weight": pl.Float32}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _summary(folder: Path, drawn: str, asked: str, *, with_splits: bool) -> Summary:
    counts = json.loads(table_metadata(folder / LABELS, kind="labels")["counts"])
    parts = [f"{counts['reports']} reports read from {counts['source']} (read as {counts['read_as']})"]
    for name, words in _WORDS.items():
        if counts[name]:
            parts.append(f"{counts[name]} {words}")
    if counts["without"]:
        parts.append(f"no column for {', '.join(counts['without'])}")
    words = ", ".join([*parts, *([asked] if asked else [])])
    if counts["column"]:
        words += f"; {counts['scans']} scans have labels (matched by {counts['column']})"
        words += f"; {counts['lone_reports']} reports have no scan, {counts['lone_scans']} scans no report ({UNMATCHED})"
    names = (LABELS, EVIDENCE, UNMATCHED, *(("splits.parquet",) if with_splits else ()))
    return Summary(
        verb="label",
        done=counts["reports"],
        set_aside=counts["lone_scans"],
        words=words + (f"; {drawn}." if drawn else "."),
        wrote=tuple(folder / name for name in names if (folder / name).is_file()),
    )
