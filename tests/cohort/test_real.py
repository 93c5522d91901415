"""The real scans that ESPALIER_DATA names; without it these tests say so and are left out."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.cohort.read import read_path, read_scan
from espalier.cohort.table import read_cohort
from espalier.geometry import world_mm

pytestmark = pytest.mark.real


def test_the_thick_chest_scan_is_sound(real_scans: Path, tmp_path: Path) -> None:
    with tarfile.open(real_scans / "chest_dicom_5mm" / "series3_kernelB_5mm_dicom.tar.xz") as archive:
        archive.extractall(tmp_path / "scans", filter="data")
    ingest(CohortOptions(sources=("scans",)), folder=tmp_path)
    (row,) = read_cohort(tmp_path).to_dicts()
    assert (row["verdict"], row["kernel"], row["shape_z"], row["spacing_z_mm"]) == ("sound", "B", 64, 5.0)
    assert read_scan(row, folder=tmp_path).voxels.dtype == np.int16


def test_the_small_chest_scan_is_sound_and_equals_its_nrrd(real_scans: Path, tmp_path: Path) -> None:
    folder = real_scans / "chest_dicom_64"
    ingest(CohortOptions(sources=(str(folder / "ct64_dicom"),)), folder=tmp_path)
    (row,) = read_cohort(tmp_path).to_dicts()
    assert row["verdict"] == "sound"
    volume = read_scan(row, folder=tmp_path)
    other = sitk.ReadImage(str(folder / "ct-64.nrrd"))
    assert np.array_equal(volume.voxels, np.maximum(sitk.GetArrayFromImage(other), -1024))
    place = other.TransformIndexToPhysicalPoint((10, 20, 30))
    assert world_mm(volume.affine, (30, 20, 10)) == pytest.approx(place, abs=0.01)


def test_the_abdomen_beside_its_masks_is_taken_by_table_or_by_file(real_scans: Path, tmp_path: Path) -> None:
    folder = real_scans / "abdomen_nifti_totalsegmentator"
    (tmp_path / "files.csv").write_text("file,patient\nexample_ct.nii.gz,A1\n")
    ingest(CohortOptions(sources=(str(folder),), table="files.csv"), folder=tmp_path)
    (row,) = read_cohort(tmp_path).to_dicts()
    assert (row["patient"], row["verdict"], row["notes"]) == ("A1", "noted", ["padding_replaced"])
    volume = read_scan(row, folder=tmp_path)
    other = sitk.ReadImage(str(folder / "example_ct.nii.gz"))
    assert np.array_equal(volume.voxels, np.maximum(sitk.GetArrayFromImage(other), -1024))
    assert world_mm(volume.affine, (30, 20, 10)) == pytest.approx(other.TransformIndexToPhysicalPoint((10, 20, 30)), abs=1e-3)
    assert np.array_equal(read_path(folder / "example_ct.nii.gz").voxels, volume.voxels)
