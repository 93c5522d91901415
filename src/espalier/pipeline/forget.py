"""A patient withdraws: every trace is removed from a study, and what still rests on it is named.

The tables that say whose a scan is are cleaned last, so that a command that was killed finds the rest and goes on.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.cohort.forgotten import holds, read_forgotten, remember_forgotten
from espalier.cohort.pseudonyms import pseudonym_of, read_key
from espalier.cohort.table import read_duplicates
from espalier.engines.slurm import end_left
from espalier.errors import InputError
from espalier.labels.audit_forget import forget_audited
from espalier.labels.label import EVIDENCE
from espalier.labels.model_cache import forget_answers
from espalier.labels.unmatched import UNMATCHED
from espalier.outputs import locked, read_json, sweep, write_csv, write_json, write_table
from espalier.pipeline.traces import LABELS, Traces, find_traces, names_patient, tables
from espalier.study import StudyFile

SET_ASIDE: Final = "set_aside.csv"
BY_SCAN: Final = ("masks", "store")
PAGES: Final = ("*.html", "comparison/**/*.html")


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgetting:
    """What was done, and what is left to others.

    Parameters
    ----------
    scans
        How many scans were the patient's.
    rewritten
        Tables that held the patient and hold the others now, relative to the study's folder.
    removed
        How many files of the patient were removed.
    again
        What rests on the patient and must be made again: runs, evaluations, the comparison, the bundle.
    elsewhere
        What Espalier only reads, and so leaves as it is.
    twins
        Scans of other patients that show the same acquisition; they stay.
    """

    scans: int = 0
    rewritten: tuple[str, ...] = ()
    removed: int = 0
    again: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()


@dataclass(slots=True)
class _Work:
    folder: Path
    traces: Traces
    rewritten: list[str] = field(default_factory=list)
    removed: int = 0

    def rewrote(self, path: Path) -> None:
        self.rewritten.append(path.relative_to(self.folder).as_posix())

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.removed += 1


def forget(study: StudyFile, patient: str, *, remove_trained: bool = False) -> Forgetting:
    """Remove a patient from every file that a study made, and note hashes so that `ingest` leaves the scans out.

    Parameters
    ----------
    study
        The study.
    patient
        The id as in `cohort.parquet`; with pseudonyms also the original one.
    remove_trained
        Also remove what was trained, measured, compared or bundled with the patient, instead of only naming it.

    Raises
    ------
    InputError
        When the study knows no such patient.
    """
    with locked(study.folder):
        end_left(study.folder)
        sweep(study.folder)
        traces = next(filter(None, (find_traces(study, one) for one in _names(study, patient))), None)
        if traces is None:
            return _nothing_left(study, patient)
        remember_forgotten(study.folder, traces.ids)
        again = _resting_on(study, traces)
        twins = _twins(study.folder, traces)
        work = _Work(study.folder, traces)
        if remove_trained:
            for name in again:
                shutil.rmtree(study.folder / name)
        _clean(work)
        return Forgetting(
            scans=len(traces.scans),
            rewritten=tuple(work.rewritten),
            removed=work.removed,
            again=tuple(again),
            elsewhere=_elsewhere(study),
            twins=twins,
        )


def _twins(folder: Path, traces: Traces) -> tuple[str, ...]:
    pairs = read_duplicates(folder).select("scan", "other_scan").iter_rows()
    return tuple(sorted({other for pair in pairs if set(pair) & set(traces.scans) for other in set(pair) - set(traces.scans)}))


def _names(study: StudyFile, patient: str) -> list[str]:
    """Return what the tables may call a patient: the id as given, and its pseudonym."""
    cohort = study.study.cohort
    path = study.folder / cohort.pseudonyms if cohort is not None and cohort.pseudonyms else None
    if path is None or not path.is_file():
        return [patient]
    return [patient, pseudonym_of("patient", patient, read_key(path))]


def _nothing_left(study: StudyFile, patient: str) -> Forgetting:
    forgotten = read_forgotten(study.folder)
    if any(holds(forgotten, "patient", one) for one in _names(study, patient)):
        return Forgetting(elsewhere=_elsewhere(study))
    # The id is not said again: messages reach logs.
    found, do = "no such patient in this study", "Give the id as it stands in cohort.parquet."
    raise InputError(study.path, found=found, expected="a patient of the study", do=do)


def _clean(work: _Work) -> None:
    """Remove all traces; whatever tells where the others are goes last."""
    folder, traces = work.folder, work.traces
    _clean_labels(work)
    for name in BY_SCAN:
        for path in sorted((folder / name).glob("*")):
            if path.name.partition(".")[0] in traces.scans:
                work.remove(path)
    for pattern in PAGES:
        for path in sorted(folder.glob(pattern)):
            if any(scan in path.read_text(encoding="utf-8") for scan in traces.scans):
                work.remove(path)
    _clean_csv(work, folder / UNMATCHED)
    _clean_csv(work, folder / SET_ASIDE)
    _clean_store(work, folder / "store.json")
    _clean_table(work, folder / EVIDENCE, pl.col("report").is_in(list(traces.reports)))
    _clean_table(work, folder / "masks.parquet", _of_scans(traces))
    lone = (pl.col("scan") == "") & pl.col("report").is_in(list(traces.reports))
    _clean_table(work, folder / LABELS, _of_scans(traces) | lone)
    _clean_records(work)
    for path in tables(folder):
        _clean_table(work, path, _of_patient(path, traces))


def _clean_labels(work: _Work) -> None:
    """Remove the patient's reports from audits, and what a language model answered about them."""
    folder, traces = work.folder, work.traces
    for path in forget_audited(folder, traces.reports):
        if path.exists():
            work.rewrote(path)
        else:
            work.removed += 1
    # Where `labels.parquet` is gone, a report may still be known by an id that it shares with a scan.
    for path in forget_answers(folder, set().union(*traces.ids.values())):
        work.rewrote(path)


def _of_scans(traces: Traces) -> pl.Expr:
    return pl.col("scan").is_in(list(traces.scans))


def _of_patient(path: Path, traces: Traces) -> pl.Expr:
    columns = pl.read_parquet_schema(path)
    own = pl.lit(value=False)
    for scan, patient in (("scan", "patient"), ("other_scan", "other_patient")):
        if scan in columns:
            own = own | pl.col(scan).is_in(list(traces.scans))
        if patient in columns:
            own = own | (pl.col(patient) == traces.patient)
    return own


def _clean_table(work: _Work, path: Path, own: pl.Expr) -> None:
    if not path.is_file():
        return
    frame = pl.read_parquet(path)
    kept = frame.filter(~own.fill_null(value=False))
    if kept.height == frame.height:
        return
    metadata = dict(pl.read_parquet_metadata(path))
    stamp = json.loads(metadata.pop("espalier"))
    metadata.pop("ARROW:schema", None)
    write_table(path, kept, kind=stamp["kind"], key=stamp.get("key", ""), more=metadata, private=_is_private(path))
    work.rewrote(path)


def _clean_csv(work: _Work, path: Path) -> None:
    if not path.is_file():
        return
    frame = pl.read_csv(path, infer_schema=False).fill_null("")
    rows = [row for row in frame.to_dicts() if not _is_own(row, work.traces)]
    if len(rows) < frame.height:
        write_csv(path, rows, frame.columns, private=_is_private(path))
        work.rewrote(path)


def _is_own(row: dict[str, str], traces: Traces) -> bool:
    """Tell whether a row for people is of the patient: by scan, by report, or by where its file lies."""
    if row.get("scan"):
        return row["scan"] in traces.scans
    if row.get("side") == "report":
        return row["id"] in traces.reports | traces.ids.get(traces.joined_by, set())
    return any(row.get("source", "") == one or row.get("source", "").startswith(f"{one}/") for one in traces.sources)


def _clean_store(work: _Work, path: Path) -> None:
    if not path.is_file():
        return
    content = read_json(path, kind="store")
    stamp = content.pop("espalier")
    left = {scan: entry for scan, entry in content["scans"].items() if scan not in work.traces.scans}
    if len(left) < len(content["scans"]):
        write_json(path, {**content, "scans": left}, kind="store", key=stamp.get("key", ""), private=_is_private(path))
        work.rewrote(path)


def _clean_records(work: _Work) -> None:
    """Remove every record that names the patient or a scan; a later run makes again what others need of it."""
    scans = [f'"{scan}"' for scan in work.traces.scans]
    for path in sorted((work.folder / "records").rglob("*")):
        if path.is_file() and _is_record_of(path, work.traces, scans):
            # The plan goes with its record: it names the files.
            for own in path.parent.parent.glob(f"*/{path.stem}.json"):
                work.remove(own)
            if path.is_file():
                work.remove(path)


def _is_record_of(path: Path, traces: Traces, scans: Sequence[str]) -> bool:
    if path.name.partition(".")[0] in traces.scans:
        return True
    if path.suffix != ".json":
        return False
    text = path.read_text(encoding="utf-8")
    return names_patient(text, traces.patient) or any(scan in text for scan in scans)


def _is_private(path: Path) -> bool:
    return not path.stat().st_mode & 0o077


def _resting_on(study: StudyFile, traces: Traces) -> list[str]:
    """Return the folders with numbers that the patient went into: weights unless only tested, and all that was measured."""
    folder = study.folder
    trained = not traces.splits or bool(traces.splits - {"test"})
    names = [*_run_folders(folder, "runs")] if trained else []
    names += _run_folders(folder, "evaluation")
    return names + [name for name in ("comparison", study.study.export.folder) if (folder / name).is_dir()]


def _run_folders(folder: Path, name: str) -> Iterator[str]:
    yield from (path.relative_to(folder).as_posix() for path in sorted((folder / name).glob("*/seed-*")) if path.is_dir())


def _elsewhere(study: StudyFile) -> tuple[str, ...]:
    """Return what the study reads and did not make, in the study file's own words."""
    cohort, labels = study.study.cohort, study.study.labels
    told: list[Any] = [*(cohort.sources if cohort else ()), cohort.table if cohort else None, study.study.splits.table]
    told += [*labels.sources, labels.link] if labels else []
    told.append(study.study.masks.folder)
    return tuple(dict.fromkeys(one for one in told if one))


def words_of(done: Forgetting, *, remove_trained: bool, study: Path) -> Sequence[str]:
    """Return what was done and what is left, in lines for people that name nobody."""
    if not done.scans and not done.rewritten and not done.removed:
        lines = ["forget: nothing of this patient is left; the patient is on the list of those who have withdrawn."]
    else:
        lines = [f"forget: {done.scans} scans out of {len(done.rewritten)} tables; {done.removed} files removed."]
    if done.again and not remove_trained:
        lines.append("Still resting on this patient, to be made again: " + ", ".join(done.again) + ".")
        lines.append("Remove those as well: the same command with --remove-trained.")
    elif done.again:
        lines.append("Removed, since it rested on this patient: " + ", ".join(done.again) + ".")
    if done.twins:
        lines.append(f"Scans of other patients that show the same volume, and stay: {', '.join(done.twins)}. Forget them too?")
    if done.elsewhere:
        lines.append("Not touched, as Espalier only reads it; take the patient out there: " + ", ".join(done.elsewhere) + ".")
    if done.again or done.rewritten:
        lines.append(f"Next: espalier run {study}")
    return lines
