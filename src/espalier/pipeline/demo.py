"""The demo: the whole way on a made-up cohort, in minutes on a laptop, nothing downloaded."""

import time
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.outputs import read_json, written_whole
from espalier.phantom.options import PhantomOptions
from espalier.pipeline.stages import run
from espalier.stage import Summary
from espalier.study import StudyFile, read_study, recipe_text

COHORT: Final = PhantomOptions(patients=700, anatomy="trauma", form="mixed", seed=2026, test=300, pixels=72)
"""The demo's cohort. Its seed was fixed before any tuning; tuning used other seeds (docs/explanation/demo.md)."""


def walk(out: Path, *, workers: int) -> dict[str, Any]:
    """Make the phantom, run the study, predict one test scan; return what the command line says, and the same as data."""
    from espalier.phantom.cohort import make_phantom

    begun = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    _note(make_phantom(out / "phantom", COHORT, workers=workers), begun)
    if not (out / "study.toml").exists():
        with written_whole(out / "study.toml") as partial:
            partial.write_text(recipe_text("demo"), encoding="utf-8")
    study = read_study(out / "study.toml")
    run(study, workers=workers)
    prediction = _one_prediction(study)
    return _told(study, prediction, seconds=time.monotonic() - begun)


def _note(summary: Summary, begun: float) -> None:
    import sys

    print(f"{summary.verb}: {summary.words} ({time.monotonic() - begun:.0f} s)", file=sys.stderr, flush=True)


def _one_prediction(study: StudyFile) -> dict[str, Any]:
    """Classify the first test scan with the exported bundle, as the server beside a PACS would."""
    from espalier.cohort.table import read_cohort
    from espalier.deployment.bundle import open_bundle
    from espalier.deployment.predictor import predict

    splits = pl.read_parquet(study.folder / "splits.parquet").filter(pl.col("split") == "test")
    rows = read_cohort(study.folder).filter(pl.col("scan").is_in(splits["scan"].implode()) & (pl.col("format") == "nifti"))
    scan = study.folder / rows["source"][0]
    prediction = predict(open_bundle(study.folder / study.study.export.folder), scan)
    return {"path": str(scan), "lines": prediction.as_lines(), **prediction.as_json()}


def _told(study: StudyFile, prediction: dict[str, Any], *, seconds: float) -> dict[str, Any]:
    comparison = read_json(study.folder / "comparison" / "comparison.json", kind="comparison")
    arms = {arm: values["macro"]["auroc"] for arm, values in comparison["arms"].items()}
    gains = {arm: values["macro"]["auroc"] for arm, values in comparison["differences"].items()}
    over_placebo = {arm: values["macro"]["auroc"] for arm, values in comparison.get("against_placebo", {}).items()}
    page = (study.folder / "comparison" / "report.html").resolve()
    lines = [f"Made-up patients ({COHORT.anatomy}), so no evidence about real ones. Macro AUROC on the test scans:"]
    lines += [f"  {arm:<8} {_interval(value)}" for arm, value in arms.items()]
    lines += [f"  {arm} minus plain: {_interval(value, sign=True)}" for arm, value in gains.items()]
    lines += [f"  {arm} minus placebo: {_interval(value, sign=True)}" for arm, value in over_placebo.items()]
    lines += [f"The page: {page}", f"One prediction by the bundle, {prediction['path']}:", *prediction["lines"]]
    lines += [f"All of it took {seconds / 60:.1f} minutes."]
    data = {"arms": arms, "differences": gains, "against_placebo": over_placebo, "page": str(page)}
    return {"lines": lines, **data, "prediction": prediction, "cost": {"seconds": round(seconds, 1)}}


def _interval(value: dict[str, Any], *, sign: bool = False) -> str:
    form = "+.3f" if sign else ".3f"
    return f"{value['value']:{form}} [{value['low']:{form}}, {value['high']:{form}}]"
