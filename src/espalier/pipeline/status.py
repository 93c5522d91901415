"""What is done, set aside and left in a study, and how long it will take, told from its files alone.

Another process may be at work on them, here or on a cluster: it is not asked.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.engines.chunk import read_lines
from espalier.pipeline.plan import lasting, step_seconds
from espalier.study import StudyFile
from espalier.training.order import steps_in_epoch
from espalier.training.run import run_folder

TABLES: Final[Mapping[str, str]] = {
    "ingest": "cohort.parquet",
    "label": "labels.parquet",
    "segment": "masks.parquet",
    "prepare": "store.json",
    "compare": "comparison/comparison.json",
}
LATELY: Final = 200
"""The pace is that of so many last records."""


def status_rows(study: StudyFile) -> list[dict[str, Any]]:
    """Return one row per stage: stage, state (done, begun, open), set_aside, words, left and hours_left (None: not known)."""
    aside = _set_aside(study.folder)
    rows = []
    for stage in ("ingest", "label", "segment", "prepare", "train", "evaluate", "compare", "export"):
        row = {"left": None, "hours_left": None, "set_aside": aside.get(stage, 0), "stage": stage, **_state(stage, study)}
        row["words"] += f", {row['set_aside']} set aside" if row["set_aside"] else ""
        if row["hours_left"] is not None:
            row["words"] += f", {lasting(row['hours_left'])} left at the last pace"
        rows.append(row)
    return rows


def at_work(folder: Path) -> str | None:
    """Return which process holds a study's folder now, or None."""
    import fcntl

    path = folder / ".lock"
    if not path.is_file():
        return None
    with path.open("r") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return stream.read().strip() or "another process"
    return None


def _state(stage: str, study: StudyFile) -> dict[str, Any]:
    if stage in {"train", "evaluate"}:
        return _runs_state(stage, study)
    path = study.folder / TABLES.get(stage, study.study.export.folder)
    records = _records(study.folder / "records" / stage)
    ahead = _answered(study.folder, stage, records)
    seen = f"{len(records)} scans have a record" if records else "nothing yet"
    seen += f", {ahead} more are answered by jobs" if ahead else ""
    total = _total(stage, study.folder)
    left = max(0, (total or 0) - len(records) - ahead)
    if path.exists() and not (left and _is_newer(records, path)):
        return {"state": "done", "words": f"{path.name} is there" + (f", {seen}" if records else "")}
    if not (records or ahead) or total is None:
        return {"state": "begun" if records or ahead else "open", "words": seen}
    seen = f"{len(records)} of {total} scans have a record" + (f", {ahead} more are answered by jobs" if ahead else "")
    return {"state": "begun", "words": seen, "left": left, "hours_left": _hours_left(left, list(records.values()))}


def _records(folder: Path) -> dict[str, float]:
    """Return when each record was written, by scan; one look at the folder tells it all."""
    try:
        with os.scandir(folder) as found:
            names = [one for one in found if one.name.endswith(".json") and not one.name.startswith(".")]
            return {one.name.removesuffix(".json"): one.stat().st_mtime for one in names}
    except OSError:  # not there, or a record went while it was looked at
        return {}


def _answered(folder: Path, stage: str, records: Mapping[str, float]) -> int:
    """Return how many scans jobs of a cluster have answered that have no record yet."""
    journals = sorted((folder / "jobs" / stage).glob("journal-*.jsonl"))
    answered = {line["id"] for path in journals for line in read_lines(path, 0)[0] if "id" in line}
    return len(answered - set(records))


def _is_newer(records: Mapping[str, float], table: Path) -> bool:
    """Tell whether a stage has gone on after its table was written, as after a change of settings."""
    return bool(records) and max(records.values()) > table.stat().st_mtime


def _total(stage: str, folder: Path) -> int | None:
    """Return how many scans a stage has to do, where that is known."""
    if stage == "ingest":
        return len(_records(folder / "records" / "ingest-plan")) or None
    cohort = folder / TABLES["ingest"]
    if stage in {"segment", "prepare"} and cohort.is_file():
        return int(pl.scan_parquet(cohort).select(pl.len()).collect().item())
    return None


def _hours_left(left: int, written: list[float]) -> float | None:
    """Return the hours for what is left at the pace of the last records; None where they tell no pace."""
    last = sorted(written)[-LATELY:]
    if len(last) < 2 or not left:
        return 0.0 if not left else None
    # Up to now where records come late: a stage that hangs is not told to be nearly done.
    took = max(last[-1], min(time.time(), last[-1] + 600)) - last[0]
    return left * took / (len(last) - 1) / 3600


def _runs_state(stage: str, study: StudyFile) -> dict[str, Any]:
    folder, record = ("runs", "run.json") if stage == "train" else ("evaluation", "metrics.json")
    total = len(study.arms) * len(study.seeds)
    runs = [(arm, seed) for arm in study.arms for seed in study.seeds]
    finished = {run for run in runs if (study.folder / folder / run[0] / f"seed-{run[1]}" / record).is_file()}
    begun = "begun" if (study.folder / folder).exists() else "open"
    told: dict[str, Any] = {
        "state": "done" if len(finished) == total else begun,
        "words": f"{len(finished)} of {total} runs",
        "left": total - len(finished),
    }
    if stage == "train" and begun == "begun" and len(finished) < total:
        told |= _epochs(study, [run for run in runs if run not in finished], told["words"])
    return told


def _epochs(study: StudyFile, open_runs: list[tuple[str, int]], words: str) -> dict[str, Any]:
    """Return the epochs of the runs that are not finished, and the hours they need if their pace holds."""
    splits = study.folder / "splits.parquet"
    scans = int((pl.read_parquet(splits, columns=["split"])["split"] == "train").sum()) if splits.is_file() else 0
    done, wanted, hours, at_once = 0, 0, 0.0, 0
    known = [second for arm, seed in open_runs for second in step_seconds(run_folder(study.folder, arm, seed))]
    for arm, seed in open_runs:
        seconds, options = step_seconds(run_folder(study.folder, arm, seed)), study.arms[arm]
        done, wanted, at_once = done + len(seconds), wanted + options.epochs, at_once + bool(seconds)
        steps = steps_in_epoch(scans, options.batch_size) * max(0, options.epochs - len(seconds))
        hours += steps * (sum(seconds or known) / len(seconds or known)) / 3600 if known else 0.0
    told: dict[str, Any] = {"words": f"{words}, {done} of {wanted} epochs of the others"}
    return told | ({"hours_left": hours / max(1, at_once)} if known and scans else {})


def _set_aside(folder: Path) -> dict[str, int]:
    path = folder / "set_aside.csv"
    if not path.is_file():
        return {}
    counts = pl.read_csv(path, infer_schema=False)["stage"].value_counts()
    return dict(counts.iter_rows())
