"""Faults 56 and 57: workers that are killed, hang or need too much memory, and a disk that takes no more."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import nibabel as nib
import numpy as np
import polars as pl
import pytest

from espalier.cohort.table import read_cohort
from espalier.errors import DONE, DONE_WITH_SET_ASIDE, FAILED

from .fault_nifti import nifti, patch
from .fault_scans import clean, save

FINAL = ("cohort.parquet", "series.parquet", "set_aside.csv")
SOUND = ("p1", "p2", "p3")
SMALL_FILES_ONLY = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    for name in SOUND:
        save(folder / "scans" / name, clean(folder / "scans" / name))
    settings = '[cohort]\nsources = ["scans"]\nlayout = "mixed"\n'
    (folder / "study.toml").write_text(settings, encoding="utf-8")
    return folder


def ingest(folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *before, "-m", "espalier.cli", "ingest", str(folder), "--workers", "2"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def reasons(folder: Path) -> dict[str, str]:
    rows = pl.read_csv(folder / "set_aside.csv", infer_schema=False)
    return {source.removeprefix("scans/").partition("/")[0]: why for source, why in rows.select("source", "reason").iter_rows()}


def is_open(process: Path, path: Path) -> bool:
    try:
        return any(link.resolve() == path for link in (process / "fd").iterdir())
    except OSError:
        return False


class Meddler:
    """Sends a signal to every process that has a file open, until it is told to leave."""

    def __init__(self, path: Path, sign: signal.Signals) -> None:
        self.path, self.sign, self.met, self.done = path.resolve(), sign, set[int](), threading.Event()
        self.thread = threading.Thread(target=self.meddle)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def meddle(self) -> None:
        while not self.done.wait(0.002):
            for process in Path("/proc").glob("[0-9]*"):
                number = int(process.name)
                if number != os.getpid() and number not in self.met and is_open(process, self.path):
                    os.kill(number, self.sign)
                    self.met.add(number)


def slow_to_read(folder: Path) -> Path:
    """Write a scan that takes a while to unpack: 200 MB of voxels that pack badly."""
    folder.mkdir(parents=True)
    voxels = np.random.default_rng(0).integers(-64, 64, (512, 512, 400), dtype=np.int16)
    nib.save(nib.Nifti1Image(voxels, np.diag([-0.7, -0.7, 1.0, 1.0])), folder / "a.nii.gz")
    return folder / "a.nii.gz"


def test_56_a_worker_that_is_killed_twice_costs_one_scan(study: Path) -> None:
    victim = slow_to_read(study / "scans" / "victim")
    with Meddler(victim, signal.SIGKILL) as meddler:
        run = ingest(study)
    assert len(meddler.met) == 2
    assert (run.returncode, "Traceback" in run.stderr) == (DONE_WITH_SET_ASIDE, False), run.stderr
    assert reasons(study) == {"victim": "worker_died"}
    assert sorted(read_cohort(study)["patient"]) == list(SOUND)


def test_56_a_worker_that_hangs_twice_costs_one_scan(study: Path) -> None:
    victim = slow_to_read(study / "scans" / "victim")
    with (study / "study.toml").open("a", encoding="utf-8") as settings:
        settings.write("timeout_s = 6\n")
    with Meddler(victim, signal.SIGSTOP) as meddler:
        run = ingest(study)
    assert len(meddler.met) == 2
    assert (run.returncode, "Traceback" in run.stderr) == (DONE_WITH_SET_ASIDE, False), run.stderr
    assert reasons(study) == {"victim": "timed_out"}
    assert sorted(read_cohort(study)["patient"]) == list(SOUND)


def test_56_a_scan_that_needs_too_much_memory_costs_itself(study: Path) -> None:
    folder = study / "scans" / "victim"
    path = nifti(folder / "scan.nii")
    patch(path, dim=[3, 1000, 1000, 2000, 1, 1, 1, 1])
    os.truncate(path, 352 + 2 * 2 * 10**9)  # sparse: it takes no room on the disk, but 4 GB of memory
    with (study / "study.toml").open("a", encoding="utf-8") as settings:
        settings.write("memory_gb = 2\n")
    run = ingest(study)
    assert (run.returncode, "Traceback" in run.stderr) == (DONE_WITH_SET_ASIDE, False), run.stderr
    assert reasons(study) == {"victim": "out_of_memory"}
    assert sorted(read_cohort(study)["patient"]) == list(SOUND)


@pytest.mark.parametrize("limit_bytes", [2_000, 9_000])
def test_57_a_full_disk_stops_the_run_and_leaves_nothing_half_written(study: Path, tmp_path: Path, limit_bytes: int) -> None:
    shutil.copytree(study, tmp_path / "fresh")
    run = ingest(study, "-c", SMALL_FILES_ONLY, str(limit_bytes))
    assert run.returncode == FAILED
    assert "Traceback" not in run.stderr
    assert "fault of Espalier" not in run.stderr
    assert not [name for name in FINAL if (study / name).exists() and not (study / name).stat().st_size]
    assert ingest(study).returncode == ingest(tmp_path / "fresh").returncode == DONE
    for name in FINAL:
        assert (study / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
