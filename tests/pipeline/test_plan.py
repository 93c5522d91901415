"""What a study will take, told before it is begun; what another process has done so far, told from files alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from espalier.engines.place import HERE, Place
from espalier.engines.site import Site
from espalier.outputs import write_json
from espalier.phantom.cohort import make_phantom
from espalier.phantom.options import PhantomOptions
from espalier.pipeline.plan import READ_S, plan, step_seconds
from espalier.pipeline.stages import do
from espalier.pipeline.status import at_work, status_rows
from espalier.stage import read_costs
from espalier.study import StudyFile, read_study

STUDY = """
[cohort]
sources = ["phantom/nifti"]
table = "phantom/scans.csv"
[labels]
reports = "phantom/reports.csv"
lexicon = "ratic"
[masks]
folder = "phantom/truth/masks"
structures = "abdomen"
[store]
spacing_mm = [18.0, 14.4, 14.4]
shape = [14, 22, 26]
[training]
epochs = 4
batch_size = 2
"""


@pytest.fixture
def study(tmp_path: Path) -> StudyFile:
    options = PhantomOptions(patients=6, anatomy="trauma", form="nifti", seed=5, test=2, pixels=32, slice_mm=(5, 5))
    make_phantom(tmp_path / "phantom", options)
    (tmp_path / "study.toml").write_text(STUDY)
    return read_study(tmp_path)


def told(*words: str) -> dict[str, object]:
    command = [sys.executable, "-m", "espalier.cli", *words, "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_before_ingest_the_plan_counts_files_and_says_that_the_rest_is_not_known(study: StudyFile) -> None:
    (row,) = plan(study, workers=1, place=HERE)
    sizes = [path.stat().st_size for path in (study.folder / "phantom" / "nifti").rglob("*") if path.is_file()]
    assert row.stage == "ingest"
    assert f"{len(sizes)} files" in row.source
    assert "after `espalier ingest`" in row.source
    assert row.hours == pytest.approx(sum(sizes) / 2 * READ_S[0] / 3600)
    assert {path.name for path in study.folder.iterdir()} == {"phantom", "study.toml"}


def test_after_ingest_the_plan_takes_what_this_machine_measured_and_names_what_it_did_not(study: StudyFile) -> None:
    do(study, "ingest", workers=1)
    measured = read_costs(study.folder)["ingest"]
    rows = {row.stage: row for row in plan(study, workers=1, place=HERE)}
    assert list(rows) == ["ingest", "label", "segment", "prepare", "train"]
    assert measured["scans"] == 6
    assert rows["ingest"].hours == pytest.approx(measured["seconds"] / 3600, rel=1e-3)
    assert "measured here on 6 scans" in rows["ingest"].source
    assert "benchmarks/ingest.json" in rows["prepare"].source
    assert rows["segment"].hours is None  # nobody knows how fast masks from elsewhere are read
    assert rows["prepare"].disk_gb == pytest.approx((2.01 * 14 * 22 * 26 + 4096) * 6 / 1e9)


def test_twice_the_places_take_half_the_time_and_twice_the_memory(study: StudyFile) -> None:
    do(study, "ingest", workers=1)
    one, two, far = (
        {row.stage: row for row in plan(study, workers=workers, place=place)}["prepare"]
        for workers, place in ((1, HERE), (2, HERE), (1, Place(engine="slurm", sites={"": Site(jobs=2)})))
    )
    assert one.hours
    assert one.memory_gb
    assert two.hours == far.hours == pytest.approx(one.hours / 2)
    assert two.memory_gb == far.memory_gb == pytest.approx(one.memory_gb * 2)


def test_training_is_planned_by_the_steps_that_were_measured(study: StudyFile) -> None:
    for verb in ("ingest", "label", "segment", "prepare"):
        do(study, verb, workers=1)
    assert "first epoch will tell" in plan(study, workers=1, place=HERE)[-1].source
    run = study.folder / "runs" / "masks" / "seed-0"
    write_json(run / "checkpoints" / "cost.json", {"seconds": [2.0, 4.0], "peak_memory_bytes": 1}, kind="cost")
    assert step_seconds(run) == [2.0, 4.0]
    (train,) = (row for row in status_rows(study) if row["stage"] == "train")
    splits = pl.read_parquet(study.folder / "splits.parquet")["split"]
    steps = (splits == "train").sum() // 2  # of pairs
    assert train["words"].startswith("0 of 1 runs, 2 of 4 epochs")
    assert train["hours_left"] == pytest.approx(2 * steps * 3.0 / 3600)
    assert plan(study, workers=1, place=HERE)[-1].hours == pytest.approx(4 * steps * 3.0 / 3600)


def test_the_command_line_says_the_plan_and_that_it_is_an_estimate(study: StudyFile) -> None:
    do(study, "ingest", workers=1)
    data = told("run", str(study.path), "--plan")
    assert data["estimate"] is True
    assert [row["stage"] for row in data["plan"]] == ["ingest", "label", "segment", "prepare", "train"]
    assert not (study.folder / "labels.parquet").exists()


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < until, "it never came to pass"
        time.sleep(0.05)


def test_status_tells_of_another_process_from_its_files_alone(study: StudyFile) -> None:
    for verb in ("ingest", "label", "segment"):
        do(study, verb, workers=1)
    assert at_work(study.folder) is None
    command = [sys.executable, "-m", "espalier.cli", "prepare", str(study.path), "--workers", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list((study.folder / "records" / "prepare").glob("*.json"))) >= 1)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        before = {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")}
        data = told("status", str(study.path))
        assert data["at_work"].startswith(f"process {process.pid} on ")
        assert {path: path.stat().st_mtime_ns for path in study.folder.rglob("*")} == before
    finally:
        process.kill()
        process.wait()
    assert at_work(study.folder) is None


def test_status_tells_what_is_left_and_how_long_it_takes_at_the_last_pace(study: StudyFile) -> None:
    do(study, "ingest", workers=1)
    now, scans = time.time(), [path.stem for path in sorted((study.folder / "records" / "ingest").glob("*.json"))]
    (study.folder / "records" / "segment").mkdir()
    for n, scan in enumerate(scans[:3]):
        path = study.folder / "records" / "segment" / f"{scan}.json"
        path.write_text("{}")
        os.utime(path, (now - 7200 + 3600 * n, now - 7200 + 3600 * n))
    (row,) = (row for row in status_rows(study) if row["stage"] == "segment")
    assert (row["state"], row["left"]) == ("begun", 3)
    assert row["hours_left"] == pytest.approx(3.0, rel=0.01)
    assert "3 of 6 scans have a record" in row["words"]
    assert "about 3.0 h left" in row["words"]


def test_status_counts_what_jobs_have_answered_and_nobody_has_recorded(study: StudyFile) -> None:
    do(study, "ingest", workers=1)
    scans = [path.stem for path in sorted((study.folder / "records" / "ingest").glob("*.json"))]
    (study.folder / "jobs" / "segment").mkdir(parents=True)
    lines = [
        {"started": True},
        {"begun": scans[0]},
        {"id": scans[0], "answer": {}, "death": "", "code": ""},
        {"begun": scans[1]},
    ]
    journal = "".join(json.dumps(line) + "\n" for line in lines) + '{"id": "cut sho'
    (study.folder / "jobs" / "segment" / "journal-0.jsonl").write_text(journal)
    (row,) = (row for row in status_rows(study) if row["stage"] == "segment")
    assert (row["state"], row["left"]) == ("begun", 5)
    assert "1 more are answered by jobs" in row["words"]
