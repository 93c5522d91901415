"""A disk that is full or read-only stops a stage with its own message; the same command goes on once it is mended."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from espalier.errors import ResourceError
from espalier.phantom.cohort import make_phantom
from espalier.phantom.options import PhantomOptions
from espalier.pipeline.stages import do
from espalier.study import StudyFile, read_study

STUDY = """
[cohort]
sources = ["{phantom}/nifti"]
table = "{phantom}/scans.csv"
[labels]
reports = "{phantom}/reports.csv"
lexicon = "ratic"
[masks]
folder = "{phantom}/truth/masks"
structures = "abdomen"
[store]
spacing_mm = [18.0, 14.4, 14.4]
window_hu = [-150.0, 250.0]
shape = [14, 22, 26]
"""
VERBS = ("ingest", "label", "segment", "prepare")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cohort") / "phantom"
    make_phantom(out, PhantomOptions(patients=6, anatomy="trauma", form="nifti", seed=5, test=2, pixels=32, slice_mm=(5, 5)))
    return out


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Mount a disk of 4 MB."""
    folder = tmp_path_factory.mktemp("disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("full disks are left out: mounting one needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def lay(folder: Path, phantom: Path) -> Path:
    folder.mkdir()
    (folder / "study.toml").write_text(STUDY.format(phantom=phantom))
    return folder


@pytest.fixture(scope="module")
def walked(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Return what lies in a study's folder after each stage, where the disk is large."""
    folder = lay(tmp_path_factory.mktemp("large") / "study", phantom)
    told = {}
    for verb in VERBS:
        do(read_study(folder), verb, workers=1)
        told[verb] = contents(folder)
    return told


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in {".lock", "cost.json"}]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def half_written(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".partial-*")]


def fill(disk: Path, *, leave: int) -> Path:
    """Fill a disk but for `leave` bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        stream.write(bytes(max(0, shutil.disk_usage(disk).free - leave)))
    return filler


def refusal_of(study: StudyFile, verb: str, workers: int) -> str:
    try:
        do(study, verb, workers=workers)
    except ResourceError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("verb", "workers"), [("ingest", 2), ("label", 1), ("segment", 1), ("prepare", 1), ("prepare", 2)])
def test_a_full_disk_stops_a_stage_and_the_same_command_goes_on(
    verb: str, workers: int, phantom: Path, disk: Path, walked: dict[str, dict[str, str]]
) -> None:
    folder = lay(disk / "study", phantom)
    try:
        study = read_study(folder)
        for before in VERBS[: VERBS.index(verb)]:
            do(study, before, workers=1)
        stops = []
        for pages in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144):  # of 4096 bytes: full at another moment each time
            filler = fill(disk, leave=4096 * pages)
            stops.append(refusal_of(study, verb, workers))
            filler.unlink()
            assert half_written(folder) == []
            if not stops[-1]:
                break
        assert stops[0]
        assert all("No space left" in told and "same command again" in told for told in stops if told)
        do(study, verb, workers=workers)
        assert contents(folder) == walked[verb]
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("verb", VERBS)
def test_a_read_only_disk_stops_a_stage_at_once(
    verb: str, phantom: Path, disk: Path, walked: dict[str, dict[str, str]]
) -> None:
    folder = lay(disk / "study", phantom)
    try:
        study = read_study(folder)
        for before in VERBS[: VERBS.index(verb)]:
            do(study, before, workers=1)
        had = contents(folder)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        try:
            with pytest.raises(ResourceError, match=r"Read-only file system.*same command again"):
                do(study, verb, workers=1)
        finally:
            subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert contents(folder) == had
        do(study, verb, workers=1)
        assert contents(folder) == walked[verb]
    finally:
        shutil.rmtree(folder)
