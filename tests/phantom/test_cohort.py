"""A cohort on disk: its layout, valid DICOM, equal bytes for equal options, and going on after a kill."""

import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import polars as pl
import pydicom
import pytest

from espalier.geometry import canonical
from espalier.masks.files import read_masks
from espalier.outputs import hash_file, read_json
from espalier.phantom.cohort import make_phantom
from espalier.phantom.findings import TRAUMA
from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import make_patient

SMALL = PhantomOptions(patients=22, test=5, pixels=24, slice_mm=(10.0, 10.0), seed=2)


def hashes(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"]
    return {p.relative_to(folder).as_posix(): hash_file(p) for p in files}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "mixed"
    summary = make_phantom(out, SMALL)
    assert summary.done == 22
    return out


def test_the_layout_is_as_promised(mixed: Path) -> None:
    assert read_json(mixed / "phantom.json", kind="phantom")["options"]["seed"] == 2
    assert {p.name for p in mixed.iterdir() if not p.name.startswith(".")} == {
        "phantom.json", "dicom", "nifti", "scans.csv", "reports.csv", "splits.csv", "truth",
    }  # fmt: skip
    scans = pl.read_csv(mixed / "scans.csv")
    dicom = sorted(p.name for p in (mixed / "dicom").iterdir())
    assert dicom == ["phantom-0001", "phantom-0021"]
    assert scans["patient"].n_unique() == 20
    assert all((mixed / "nifti" / file).is_file() for file in scans["file"])
    splits = pl.read_csv(mixed / "splits.csv")
    assert splits["split"].to_list() == ["train"] * 17 + ["test"] * 5
    labels = pl.read_csv(mixed / "truth" / "labels.csv")
    assert labels.columns == ["accession", *TRAUMA]
    reports = pl.read_csv(mixed / "reports.csv")
    assert reports["accession"].to_list() == labels["accession"].to_list()
    assert reports["report"].str.len_chars().min() > 100


def test_every_scan_has_its_masks_on_its_own_grid(mixed: Path) -> None:
    masks = {p.name.removesuffix(".nii.gz") for p in (mixed / "truth" / "masks").iterdir()}
    volumes = list((mixed / "nifti").rglob("*.nii.gz"))
    series = {str(pydicom.dcmread(p).SeriesInstanceUID) for p in (mixed / "dicom").rglob("001.dcm")}
    assert masks == {p.name.removesuffix(".nii.gz") for p in volumes} | series
    for path in volumes[:4]:
        own = read_masks(mixed / "truth" / "masks" / path.name)
        scan = nibabel.load(path)
        assert own.names == {1: "liver", 2: "spleen", 3: "kidney_left", 4: "kidney_right", 5: "bowel"}
        assert own.voxels.shape == scan.shape[::-1]
        lps = np.diag([-1, -1, 1, 1]) @ scan.affine
        np.testing.assert_allclose(own.affine[:, [2, 1, 0, 3]], lps, atol=1e-3)


def test_dicom_says_the_same_hu_at_the_same_places_as_the_truth(mixed: Path) -> None:
    scan = make_patient(20, SMALL).scans[0]
    slices = [pydicom.dcmread(p) for p in sorted((mixed / "dicom" / "phantom-0021").rglob("series-1/*.dcm"))]
    hu = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices])
    np.testing.assert_array_equal(hu, scan.hu)
    row, column = np.array(slices[0].ImageOrientationPatient, float).reshape(2, 3)
    for number, one in enumerate(slices):
        corner = np.array(one.ImagePositionPatient, float)
        far = corner + row * one.PixelSpacing[1] * 23 + column * one.PixelSpacing[0] * 23
        expected = scan.series.grid.affine @ [number, 23, 23, 1]
        np.testing.assert_allclose(far, expected[:3], atol=1e-2)
    voxels, affine = canonical(scan.masks, scan.series.grid.affine)
    assert np.nonzero(voxels == 1)[2].mean() < np.nonzero(voxels == 2)[2].mean()
    assert affine[2, 0] > 0


def test_dicom_files_are_valid_by_dciodvfy(mixed: Path, tmp_path: Path) -> None:
    make_phantom(tmp_path / "chest", replace(SMALL, patients=2, test=0, anatomy="chest", form="dicom"))
    validator = shutil.which("dciodvfy", path=str(Path(sys.executable).parent)) or shutil.which("dciodvfy")
    assert validator
    files = [*(mixed / "dicom").rglob("*01.dcm"), *(tmp_path / "chest").rglob("*01.dcm")]
    assert len(files) >= 4
    for path in files:
        said = subprocess.run([validator, str(path)], capture_output=True, text=True, check=False)
        assert "Error" not in said.stdout + said.stderr
        assert said.returncode == 0


def test_names_are_obviously_made_up(mixed: Path) -> None:
    one = pydicom.dcmread(next((mixed / "dicom").rglob("001.dcm")))
    assert str(one.PatientName).startswith("PHANTOM^")
    assert one.StudyInstanceUID.startswith("2.25.")


def test_bytes_do_not_depend_on_the_number_of_workers(mixed: Path, tmp_path: Path) -> None:
    make_phantom(tmp_path / "two", SMALL, workers=2)
    assert hashes(tmp_path / "two") == hashes(mixed)


def test_a_cohort_that_is_whole_is_left_alone_and_another_is_replaced(tmp_path: Path) -> None:
    out, few = tmp_path / "cohort", replace(SMALL, patients=3, test=0)
    make_phantom(out, few)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    make_phantom(out, few)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()} == before
    make_phantom(out, replace(few, patients=2, seed=9))
    make_phantom(tmp_path / "fresh", replace(few, patients=2, seed=9))
    assert hashes(out) == hashes(tmp_path / "fresh")


def test_killed_and_called_again_it_ends_with_the_same_files(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    code = (
        "from pathlib import Path; from espalier.phantom.cohort import make_phantom; "
        f"from espalier.phantom.options import PhantomOptions; make_phantom(Path({str(out)!r}), {SMALL!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    while process.poll() is None and len(list(out.glob("records/phantom/*.json"))) < 4:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "phantom.json").exists()
    make_phantom(out, SMALL)
    assert hashes(out) == hashes(mixed)
