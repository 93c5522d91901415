"""What is done, set aside and left in a study, told from its files alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.study import StudyFile

TABLES: Final[Mapping[str, str]] = {
    "ingest": "cohort.parquet",
    "label": "labels.parquet",
    "segment": "masks.parquet",
    "prepare": "store.json",
    "compare": "comparison/comparison.json",
}


def status_rows(study: StudyFile) -> list[dict[str, Any]]:
    """Return one row per stage: stage, state (done, begun, open), set_aside, words."""
    aside = _set_aside(study.folder)
    rows = []
    for stage in ("ingest", "label", "segment", "prepare", "train", "evaluate", "compare", "export"):
        state, words = _state(stage, study)
        gone = aside.get(stage, 0)
        rows.append(
            {"stage": stage, "state": state, "set_aside": gone, "words": words + (f", {gone} set aside" if gone else "")}
        )
    return rows


def _state(stage: str, study: StudyFile) -> tuple[str, str]:
    if stage in {"train", "evaluate"}:
        return _runs_state(stage, study)
    path = study.folder / TABLES.get(stage, study.study.export.folder)
    records = len(list((study.folder / "records" / stage).glob("*.json")))
    seen = f"{records} scans have a record" if records else "nothing yet"
    if path.exists():
        return "done", f"{path.name} is there" + (f", {seen}" if records else "")
    return ("begun" if records else "open"), seen


def _runs_state(stage: str, study: StudyFile) -> tuple[str, str]:
    folder, record = ("runs", "run.json") if stage == "train" else ("evaluation", "metrics.json")
    total = len(study.arms) * len(study.seeds)
    done = sum((study.folder / folder / arm / f"seed-{seed}" / record).is_file() for arm in study.arms for seed in study.seeds)
    begun = "begun" if (study.folder / folder).exists() else "open"
    return ("done" if done == total else begun), f"{done} of {total} runs"


def _set_aside(folder: Path) -> dict[str, int]:
    path = folder / "set_aside.csv"
    if not path.is_file():
        return {}
    counts = pl.read_csv(path, infer_schema=False)["stage"].value_counts()
    return dict(counts.iter_rows())
