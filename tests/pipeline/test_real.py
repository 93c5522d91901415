"""Three real scans go the way of every scan: ingest, threshold masks, store, and a prediction."""

import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from espalier.deployment.bundle import open_bundle
from espalier.deployment.predictor import predict
from espalier.pipeline.stages import do
from espalier.store.read import open_store
from espalier.study import StudyFile, read_study

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def real(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyFile:
    folder = tmp_path_factory.mktemp("real")
    ct = real_data / "ct"
    with tarfile.open(ct / "chest_dicom_5mm" / "series3_kernelB_5mm_dicom.tar.xz") as archive:
        archive.extractall(folder / "tumour", filter="data")
    sources = [
        str(ct / "chest_dicom_64" / "ct64_dicom"),
        "tumour",
        str(ct / "abdomen_nifti_totalsegmentator" / "example_ct.nii.gz"),
    ]
    text = f'[cohort]\nsources = {sources}\n[masks]\nsource = "threshold"\nstructures = "threshold"\n'
    text += "[store]\nspacing_mm = [6.0, 4.0, 4.0]\nshape = [60, 96, 96]\n"
    (folder / "study.toml").write_text(text.replace("'", '"'), encoding="utf-8")
    study = read_study(folder / "study.toml")
    for verb in ("ingest", "segment", "prepare"):
        assert do(study, verb, workers=2).set_aside == 0
    return study


def test_all_three_reach_the_store_with_masks(real: StudyFile) -> None:
    store = open_store(real.folder)
    assert len(store.scans) == 3
    for scan in store.scans:
        assert store.voxels(scan).shape == (60, 96, 96)
        assert store.has_masks(scan)
        assert np.count_nonzero(store.masks(scan)) > 1000


def test_the_left_lung_lies_to_the_patients_left_of_the_right_one(real: StudyFile) -> None:
    store = open_store(real.folder)
    left, right = (store.structures.index(name) + 1 for name in ("lung_left", "lung_right"))
    for scan in store.scans:
        masks = store.masks(scan)
        assert np.nonzero(masks == left)[2].mean() > np.nonzero(masks == right)[2].mean()


def test_the_chest_scans_get_an_answer_from_a_bundle(real: StudyFile, walked: StudyFile) -> None:
    bundle = open_bundle(walked.folder / "bundle")
    rows = pl.read_parquet(real.folder / "cohort.parquet").filter(pl.col("format") == "dicom").to_dicts()
    assert len(rows) == 2
    for row in rows:
        answer = predict(bundle, real.folder / row["source"]).as_json()
        assert answer["result"] == "findings", answer["reason"]
        assert all(0 <= call["probability"] <= 1 for call in answer["findings"])
