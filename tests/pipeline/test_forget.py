"""A patient who withdraws leaves no trace in a study that was walked whole."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from espalier.cli.main import main
from espalier.cohort.forgotten import is_forgotten, read_forgotten, remember_forgotten
from espalier.errors import InputError
from espalier.pipeline.forget import forget
from espalier.pipeline.stages import do
from espalier.study import StudyFile, read_study

from .traces import found_in

SOURCES = ("phantom/", "study.toml", ".lock", "runs/plain/seed-0/.lock")
NAMES = ("scan", "patient", "study_uid", "series_uid", "accession")


@pytest.fixture
def study(walked: StudyFile, tmp_path: Path) -> StudyFile:
    """Return a copy of the walked study that may be spoiled."""
    shutil.copytree(walked.folder, tmp_path / "study")
    return read_study(tmp_path / "study")


def someone(study: StudyFile, split: str, form: str = "nifti") -> dict[str, Any]:
    """Return the row of the first patient of a split."""
    cohort = pl.read_parquet(study.folder / "cohort.parquet").filter(pl.col("format") == form)
    rows = cohort.join(pl.read_parquet(study.folder / "splits.parquet"), on=["scan", "patient"])
    return rows.filter(pl.col("split") == split).to_dicts()[0]


def hashes(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.relative_to(folder).as_posix().startswith(SOURCES)
    }


@pytest.mark.parametrize("form", ["nifti", "dicom"])
def test_no_file_of_the_study_names_a_forgotten_patient(study: StudyFile, form: str) -> None:
    row = next(row for row in pl.read_parquet(study.folder / "cohort.parquet").to_dicts() if row["format"] == form)
    words = [row[name] for name in NAMES]
    before = found_in(study.folder, words, leave=SOURCES)
    assert {"cohort.parquet", "series.parquet", "splits.parquet", "labels.parquet", "evidence.parquet", "masks.parquet"} < {
        *before
    }
    done = forget(study, row["patient"])
    assert found_in(study.folder, words, leave=SOURCES) == {}
    assert done.scans >= 1
    assert "cohort.parquet" in done.rewritten
    assert done.removed >= 5


def test_a_page_with_a_picture_of_the_patient_is_removed(study: StudyFile) -> None:
    page = study.folder / "comparison" / "report.html"
    shown = next(
        row
        for row in pl.read_parquet(study.folder / "splits.parquet").to_dicts()
        if row["scan"] in page.read_text(encoding="utf-8")
    )
    forget(study, shown["patient"])
    assert not page.exists()
    assert found_in(study.folder, [shown["scan"], shown["patient"]], leave=SOURCES) == {}


def test_everybody_else_stays_as_they_are(study: StudyFile) -> None:
    row = someone(study, "train")
    before = hashes(study.folder)
    tables = {path: pl.read_parquet(path) for path in study.folder.glob("*.parquet")}
    predictions = study.folder / "evaluation" / "plain" / "seed-0" / "predictions" / "test.parquet"
    done = forget(study, row["patient"])
    for path, frame in tables.items():
        after = pl.read_parquet(path)
        if "scan" in frame.columns and path.name != "duplicates.parquet":
            assert after.equals(frame.filter(pl.col("scan") != row["scan"]))
            assert after.height < frame.height
            assert path.stat().st_mode & 0o077 == 0
    after = hashes(study.folder)
    gone = {name for name in before if name not in after}
    assert all(row["scan"] in name or name.startswith(("records/index", "records/masks_found")) for name in gone)
    assert {f"store/{row['scan']}.b2nd", f"store/{row['scan']}.mask.b2nd", f"masks/{row['scan']}.nii.gz"} < gone
    changed = {name for name in before if name in after and before[name] != after[name]}
    assert changed == set(done.rewritten)
    assert predictions.relative_to(study.folder).as_posix() not in changed


def test_what_rests_on_the_patient_is_named_and_removed_only_where_asked(study: StudyFile) -> None:
    tested = forget(study, someone(study, "test")["patient"])
    assert not any(name.startswith("runs/") for name in tested.again)
    assert {"evaluation/masks/seed-0", "comparison", "bundle"} < set(tested.again)
    trained = forget(study, someone(study, "train")["patient"])
    assert {f"runs/{arm}/seed-{seed}" for arm in ("plain", "placebo", "masks") for seed in (0, 1)} < set(trained.again)
    assert all((study.folder / name).is_dir() for name in trained.again)
    again = forget(study, someone(study, "validation")["patient"], remove_trained=True)
    assert set(again.again) == set(trained.again)
    assert not any((study.folder / name).exists() for name in again.again)


def test_a_forgotten_patient_does_not_come_back_while_the_files_are_still_there(study: StudyFile) -> None:
    row, other = someone(study, "train"), someone(study, "test")
    forget(study, row["patient"])
    for verb in ("ingest", "label"):
        do(study, verb, workers=1)
    cohort = pl.read_parquet(study.folder / "cohort.parquet")
    assert row["patient"] not in set(cohort["patient"])
    assert other["patient"] in set(cohort["patient"])
    assert cohort.height == 59
    mode = (study.folder / "forgotten.json").stat().st_mode
    assert mode & 0o077 == 0


def test_neither_ids_nor_reports_of_a_forgotten_patient_come_back(study: StudyFile) -> None:
    row = someone(study, "train", form="dicom")
    forget(study, row["patient"])
    for verb in ("ingest", "label"):
        do(study, verb, workers=1)
    # The plans of the index list the files that still lie in the sources, by their names.
    assert found_in(study.folder, [row[name] for name in NAMES], leave=(*SOURCES, "records/index-plan/")) == {}


def test_a_study_goes_on_after_someone_was_forgotten(study: StudyFile) -> None:
    forget(study, someone(study, "train")["patient"])
    for verb in ("ingest", "label", "segment", "prepare"):
        do(study, verb, workers=2)
    store = json.loads((study.folder / "store.json").read_text())["scans"]
    assert len(store) == 59


@pytest.mark.parametrize("marker", ["unmatched", "labels.parquet", "splits.parquet", "cohort.parquet"])
def test_a_command_killed_on_its_way_finishes_when_it_is_given_again(study: StudyFile, marker: str) -> None:
    row = someone(study, "train")
    path = study.folder / "masks" / f"{row['scan']}.nii.gz" if marker == "unmatched" else study.folder / marker
    before = hashes(study.folder)
    whole = study.folder.with_name("whole")
    shutil.copytree(study.folder, whole)
    forget(read_study(whole), row["patient"])
    command = [sys.executable, "-m", "espalier.cli", "forget", row["patient"], str(study.path)]
    was = path.stat().st_mtime_ns
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and path.exists() and path.stat().st_mtime_ns == was:
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
    assert hashes(study.folder) != before
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours, theirs = hashes(study.folder), hashes(whole)
    assert ours.pop("forgotten.json")
    assert theirs.pop("forgotten.json")
    assert ours == theirs


def test_the_command_says_what_it_did_and_names_nobody(study: StudyFile, capsys: pytest.CaptureFixture[str]) -> None:
    row = someone(study, "train")
    words = [row[name] for name in NAMES]
    assert run_cli(["forget", row["patient"], str(study.path)]) == 0
    told = capsys.readouterr()
    assert "forget: 1 scans out of" in told.out
    assert "to be made again: runs/masks/seed-0" in told.out
    assert "take the patient out there: phantom/nifti, phantom/dicom, phantom/scans.csv" in told.out
    assert run_cli(["forget", row["patient"], str(study.path), "--json"]) == 0
    again = capsys.readouterr()
    assert json.loads(again.out)["forgotten"]["scans"] == 0
    assert run_cli(["forget", row["patient"], str(study.path)]) == 0
    last = capsys.readouterr()
    assert "nothing of this patient is left" in last.out
    for text in (told.out, told.err, again.out, again.err, last.out, last.err):
        assert not [word for word in words if word in text]


def test_an_unknown_patient_is_refused_without_being_named(study: StudyFile, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(study.folder)
    assert run_cli(["forget", "SECRET-77", str(study.path)]) == 1
    told = capsys.readouterr()
    assert "no such patient in this study" in told.err
    assert "SECRET-77" not in told.out + told.err
    assert hashes(study.folder) == before
    with pytest.raises(InputError):
        forget(study, "phantom-000")


def test_reports_and_places_of_scans_that_were_set_aside_go_too(study: StudyFile) -> None:
    row, other = someone(study, "train"), someone(study, "test")
    for source in (row, other):
        path = study.folder / source["source"]
        path.write_bytes(path.read_bytes()[:200])
    for verb in ("ingest", "label"):
        do(study, verb, workers=1)
    assert row["accession"] in (study.folder / "unmatched.csv").read_text()
    assert row["source"] in (study.folder / "set_aside.csv").read_text()
    forget(study, row["patient"])
    assert found_in(study.folder, [row[name] for name in NAMES], leave=SOURCES) == {}
    assert other["accession"] in (study.folder / "unmatched.csv").read_text()
    assert other["source"] in (study.folder / "set_aside.csv").read_text()


def test_the_list_of_the_forgotten_knows_ids_again_and_holds_none(tmp_path: Path) -> None:
    assert not is_forgotten(read_forgotten(tmp_path), patient="P1", scan="s1")
    remember_forgotten(tmp_path, {"patient": ["P1"], "scan": ["s1"], "accession": ["A1", ""]})
    remember_forgotten(tmp_path, {"patient": ["P2"], "report": ["R9"]})
    forgotten = read_forgotten(tmp_path)
    assert is_forgotten(forgotten, patient=" P1", scan="new")
    assert is_forgotten(forgotten, patient="other id", scan="s1")
    assert is_forgotten(forgotten, patient="P2", scan="")
    assert not is_forgotten(forgotten, patient="A1", scan="P1")
    assert not is_forgotten(forgotten, patient="", scan="")
    text = (tmp_path / "forgotten.json").read_text()
    assert not [word for word in ("P1", "P2", "s1", "A1", "R9") if f'"{word}"' in text]


def run_cli(arguments: list[str], run: Callable[[list[str]], None] = main) -> int:
    """Run one verb in this process and return its exit code."""
    with pytest.raises(SystemExit) as left:
        run(arguments)
    return int(left.value.code or 0)
