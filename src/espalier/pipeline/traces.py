"""Where a patient's data rest in a study: every id the patient goes by, and every file that holds one of them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

import polars as pl

from espalier.cohort.table import COHORT, SERIES
from espalier.study import StudyFile

TABLES: Final = ("splits.parquet", "duplicates.parquet", COHORT, SERIES)
"""The tables that say whose a scan is, in the order in which they are cleaned: the last ones tell what is left to do."""
RUNS: Final = ("runs", "evaluation")
LABELS: Final = "labels.parquet"
IDS: Final = ("study_uid", "series_uid", "accession", "stem")


@dataclass(kw_only=True, slots=True)
class Traces:
    """What a patient is called in a study.

    Parameters
    ----------
    patient
        The id as the tables hold it.
    ids
        By column of the cohort: `patient`, `scan`, `study_uid`, `series_uid`, `accession`, `stem`; `report` for the ids of
        reports that are nobody else's.
    sources
        Files and folders with scans of this patient alone, as the tables tell them.
    splits
        Where the patient's scans stood.
    joined_by
        The column of the cohort that reports are joined by, "" before `label`.
    """

    patient: str
    ids: dict[str, set[str]] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    splits: set[str] = field(default_factory=set)
    joined_by: str = ""

    @property
    def scans(self) -> set[str]:
        """Ids of the patient's scans."""
        return self.ids.get("scan", set())

    @property
    def reports(self) -> set[str]:
        """Ids of the patient's reports."""
        return self.ids.get("report", set())

    def note(self, column: str, value: object) -> None:
        """Add an id; nothing for an empty one."""
        if isinstance(value, str) and value:
            self.ids.setdefault(column, set()).add(value)


def find_traces(study: StudyFile, patient: str) -> Traces | None:
    """Return what a study knows of a patient, None where it knows nothing."""
    traces = Traces(patient=patient)
    for path in tables(study.folder):
        _from_table(path, traces)
    for path in records(study.folder):
        _from_record(path, traces)
    if not traces.scans and not traces.ids:
        return None
    traces.note("patient", patient)
    _from_labels(study.folder / LABELS, traces)
    return traces


def tables(folder: Path) -> Iterator[Path]:
    """Yield every Parquet table of a study that says whose a scan is, the runs' first."""
    for name in RUNS:
        yield from sorted((folder / name).rglob("*.parquet"))
    yield from (path for name in TABLES if (path := folder / name).is_file())


def records(folder: Path) -> Iterator[Path]:
    """Yield every record that a stage keeps, without those of looks."""
    yield from sorted((folder / "records").rglob("*.json"))


def names_patient(text: str, patient: str) -> bool:
    """Tell whether a record says that something is of this patient."""
    return any(re.search(rf'"patient": {re.escape(json.dumps(patient, ensure_ascii=e))}', text) for e in (True, False))


def _from_table(path: Path, traces: Traces) -> None:
    frame = pl.read_parquet(path)
    if "patient" not in frame.columns:
        return
    is_own = pl.col("patient") == traces.patient
    own, others = frame.filter(is_own), frame.filter(~is_own)
    for column in ("scan", *IDS):
        if column in frame.columns:
            for value in set(own[column]) - set(others[column]):
                traces.note(column, value)
    if "other_patient" in frame.columns:
        for value in frame.filter(pl.col("other_patient") == traces.patient)["other_scan"]:
            traces.note("scan", value)
    if "split" in frame.columns:
        traces.splits.update(own["split"])
    if "source" in frame.columns:
        traces.sources.update(_alone(set(own["source"]), set(others["source"])))


def _alone(own: set[str], others: set[str]) -> set[str]:
    """Return the places in which nobody else's files lie."""
    shared = {parent.as_posix() for other in others for parent in (PurePosixPath(other), *PurePosixPath(other).parents)}
    return own - shared


def _from_record(path: Path, traces: Traces) -> None:
    """Take the ids of a series that was set aside from its plan: no table has them all."""
    text = path.read_text(encoding="utf-8")
    if not names_patient(text, traces.patient):
        return
    for about in _abouts(json.loads(text)):
        if about["patient"] == traces.patient:
            traces.ids.setdefault("patient", set()).add(traces.patient)
            for column in ("scan", *IDS):
                traces.note(column, about.get(column))
            if path.parent.name == "ingest-plan":
                traces.note("scan", path.stem)


def _abouts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping, however deep, that says whose it is."""
    if isinstance(value, dict) and "patient" in value:
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(one, dict | list):
            yield from _abouts(one)


def _from_labels(path: Path, traces: Traces) -> None:
    """Note the reports of the patient's scans that are no other scan's, and those without a scan that bear an id of theirs."""
    if not path.is_file():
        return
    labels = pl.read_parquet(path).select("report", "scan").unique()
    traces.joined_by = json.loads(dict(pl.read_parquet_metadata(path)).get("counts", "{}")).get("column", "")
    lone = traces.ids.get(traces.joined_by, set())
    others = set(labels.filter((pl.col("scan") != "") & ~pl.col("scan").is_in(list(traces.scans)))["report"])
    for report, scan in labels.iter_rows():
        if (scan in traces.scans or (not scan and report in lone)) and report not in others:
            traces.note("report", report)
