"""The whole way, from DICOM and reports to a bundle: files, names, killing and resuming."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from espalier.outputs import read_json, read_table
from espalier.pipeline.stages import run
from espalier.pipeline.status import status_rows
from espalier.study import StudyFile

KILLS = int(os.environ.get("ESPALIER_KILLS", "5"))
COLUMNS = {
    "cohort.parquet": "scan patient study_uid series_uid source shape_z shape_y shape_x spacing_z_mm spacing_y_mm spacing_x_mm "
    "verdict notes age_years sex manufacturer kernel slice_mm contrast site",
    "splits.parquet": "scan patient split why",
    "labels.parquet": "report scan finding state target weight",
    "masks.parquet": "scan structure volume_ml source verdict reasons",
    "evaluation/masks/seed-0/predictions/test.parquet": "scan patient finding target logit probability",
}


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file that a study made, without what was measured: `cost`, and when masks were written."""
    out = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (
            not path.is_file()
            or name.startswith("phantom/")
            or path.name in {"cost.json", ".lock", "report.html", "masks_found.json"}
        ):
            continue
        data = path.read_bytes()
        if path.suffix == ".json":
            data = json.dumps(without_cost(json.loads(data)), sort_keys=True).encode()
        out[name] = hashlib.sha256(data).hexdigest()
    return out


def without_cost(value: object) -> object:
    if isinstance(value, dict):
        return {k: without_cost(v) for k, v in value.items() if k != "cost"}
    return value


@pytest.mark.parametrize("name", COLUMNS)
def test_each_table_has_the_columns_that_others_read(walked: StudyFile, name: str) -> None:
    frame = pl.read_parquet(walked.folder / name)
    assert frame.height > 0
    assert set(COLUMNS[name].split()) - set(frame.columns) == set()


def test_every_patient_is_on_one_side_only(walked: StudyFile) -> None:
    splits = read_table(walked.folder / "splits.parquet", kind="splits")
    assert splits.group_by("patient").agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(splits["split"]) == {"train", "validation", "test"}


def test_labels_are_what_the_phantom_really_has(walked: StudyFile) -> None:
    truth = pl.read_csv(walked.folder / "phantom" / "truth" / "labels.csv").unpivot(
        index="accession", variable_name="finding", value_name="truth"
    )
    labels = pl.read_parquet(walked.folder / "labels.parquet").unique(["report", "finding"])
    both = labels.join(truth, left_on=["report", "finding"], right_on=["accession", "finding"])
    assert both.height == 60 * 14
    assert (both["target"].round() == both["truth"]).mean() >= 0.97


def test_the_comparison_holds_arms_differences_and_cost(walked: StudyFile) -> None:
    comparison = read_json(walked.folder / "comparison" / "comparison.json", kind="comparison")
    for arm in ("plain", "placebo", "masks"):
        macro = comparison["arms"][arm]["macro"]["auroc"]
        assert macro["low"] <= macro["value"] <= macro["high"]
        assert set(macro) >= {"value", "low", "high", "seeds", "patients"}
        assert comparison["cost"][arm]
    assert set(comparison["differences"]) == {"placebo", "masks"}
    assert (walked.folder / "comparison" / "report.html").stat().st_size > 10_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is left out: make system installs it")
def test_the_page_opens_from_a_file_in_a_browser(walked: StudyFile, tmp_path: Path) -> None:
    page = walked.folder / "comparison" / "report.html"
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
    command = ["chromium", *flags.split(), f"--user-data-dir={tmp_path}", "--dump-dom", page.as_uri()]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "<h1>Did the masks help?</h1>" in out.stdout
    assert out.stdout.count("<svg") >= 2
    assert "CONSOLE" not in out.stderr


def test_a_second_run_touches_nothing(walked: StudyFile) -> None:
    before = {p: p.stat().st_mtime_ns for p in walked.folder.rglob("*") if p.is_file() and p.name != ".lock"}
    run(walked, workers=2)
    after = {p: p.stat().st_mtime_ns for p in walked.folder.rglob("*") if p.is_file() and p.name != ".lock"}
    assert {p.name for p in after if after[p] != before.get(p)} == set()


def test_status_says_that_all_is_done(walked: StudyFile) -> None:
    assert [row["state"] for row in status_rows(walked)] == ["done"] * 8


def test_the_bundle_gives_what_evaluate_stored_in_a_process_without_torch(walked: StudyFile) -> None:
    stored = pl.read_parquet(walked.folder / "evaluation" / "masks" / "seed-0" / "predictions" / "test.parquet")
    cohort = pl.read_parquet(walked.folder / "cohort.parquet")
    for form in ("nifti", "dicom"):
        rows = cohort.filter((pl.col("format") == form) & pl.col("scan").is_in(stored["scan"].unique().implode()))
        if rows.height == 0:
            continue
        scan, path = rows["scan"][0], walked.folder / rows["source"][0]
        code = (
            "import sys; sys.modules['torch'] = None\n"
            "from espalier.cli.main import main\n"
            f"main(['predict', {str(walked.folder / 'bundle')!r}, {str(path)!r}, '--json'])"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert out.returncode == 0, out.stderr
        told = {row["finding"]: row["probability"] for row in json.loads(out.stdout)["findings"]}
        wanted = dict(stored.filter(pl.col("scan") == scan).select("finding", "probability").iter_rows())
        assert set(told) == set(wanted)
        assert max(abs(told[f] - wanted[f]) for f in wanted) < 1e-4


def test_a_run_killed_at_random_moments_ends_with_the_files_of_one_that_was_not(
    walked: StudyFile, new_study: Callable[[], StudyFile]
) -> None:
    study = new_study()
    rng = random.Random(3)
    command = [sys.executable, "-m", "espalier.cli", "run", str(study.path), "--workers", "2"]
    for _ in range(KILLS):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                process.wait(timeout=rng.uniform(2, 14))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        time.sleep(0.3)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 3}, done.stderr
    assert contents(study.folder) == contents(walked.folder)
