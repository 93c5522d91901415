"""One small trained-and-evaluated study, its bundle, and a scan as NIfTI and as DICOM, made once for this room."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import polars as pl
import pydicom
import pytest
import torch
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from espalier.deployment.bundle import Bundle, open_bundle
from espalier.deployment.export import export
from espalier.deployment.options import ExportOptions
from espalier.networks.classifier import Classifier, build_classifier
from espalier.networks.options import NetworkSize
from espalier.networks.weights import save_weights
from espalier.outputs import hash_file, write_json, write_table

FINDINGS = ("pleural_effusion", "emphysema", "lung_nodule")
CROP = (16, 24, 24)
SIZE = NetworkSize(width=4, depths=(1, 1))
STORE = {"spacing_mm": [6.0, 3.0, 3.0], "window_hu": [-1000.0, 200.0], "shape": [20, 32, 32]}
UID = "2.25.1234567890"


def lively_classifier(seed: int = 0) -> Classifier:
    """A tiny network whose answers depend on the scan, unlike those of fresh weights."""
    classifier = build_classifier("r3d_18", findings=len(FINDINGS), crop=CROP, size=SIZE, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        classifier.linear.weight.normal_(0, 1.5, generator=generator)
        classifier.linear.bias.normal_(0, 0.2, generator=generator)
        for name, buffer in classifier.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.2, generator=generator)
            elif name.endswith("running_var"):
                buffer.uniform_(0.3, 1.5, generator=generator)
    return classifier.eval()


def write_run(folder: Path, classifier: Classifier, *, arm: str = "masks", seed: int = 0) -> None:
    home = folder / "runs" / arm / f"seed-{seed}"
    save_weights(home / "weights.safetensors", classifier.state_dict())
    network_size = {"width": SIZE.width, "depths": list(SIZE.depths or ()), "patch": None, "heads": None}
    record = {
        "options": {"network": "r3d_18", "network_size": network_size, "crop": list(CROP)},
        "findings": list(FINDINGS),
        "structures": ["lung_left", "lung_right"],
        "store": STORE,
        "weights": hash_file(home / "weights.safetensors"),
    }
    write_json(home / "run.json", record, kind="run")


def write_evaluation(folder: Path, *, arm: str = "masks", seed: int = 0) -> None:
    thresholds = {
        f: {"value": 0.3 + 0.1 * n, "rule": "youden", "positives": 9, "negatives": 21} for n, f in enumerate(FINDINGS)
    }
    thresholds["lung_nodule"] = {"value": 0.5, "rule": "default", "positives": 0, "negatives": 30}
    measured = {"positives": 12, "negatives": 28, "auroc": 0.8125, "sensitivity": 0.75, "specificity": 0.6875}
    test = {
        "scans": 40,
        "patients": 38,
        "macro": {"auroc": 0.8125, "auroc_interval": [0.7, 0.9]},
        "findings": {f: measured | {"auroc_interval": [0.71, 0.89]} for f in FINDINGS[:2]},
        "left_out": {"lung_nodule": "no positives"},
    }
    record: dict[str, Any] = {"arm": arm, "seed": seed, "thresholds": thresholds, "validation": {}, "test": test}
    write_json(folder / "evaluation" / arm / f"seed-{seed}" / "metrics.json", record, kind="metrics")


def write_splits(folder: Path) -> None:
    splits = ["train"] * 7 + ["validation"] * 2 + ["test"] * 3
    patients = [f"secret-patient-{n // 2}" for n in range(len(splits))]
    frame = pl.DataFrame({"scan": [f"{n:016x}" for n in range(len(splits))], "patient": patients, "split": splits})
    write_table(folder / "splits.parquet", frame.with_columns(why=pl.lit("hash")), kind="splits")


def whole_study(folder: Path) -> Path:
    write_run(folder, lively_classifier())
    write_evaluation(folder)
    write_splits(folder)
    return folder


@pytest.fixture(scope="session")
def make_study() -> Callable[[Path], Path]:
    return whole_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = whole_study(tmp_path_factory.mktemp("study"))
    export(ExportOptions(), folder=folder)
    return folder


@pytest.fixture(scope="session")
def bundle(study: Path) -> Bundle:
    return open_bundle(study / "bundle")


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    return lively_classifier()


@pytest.fixture(scope="session")
def hu() -> np.ndarray:
    """Voxels (z, y, x) of a scan with 5 mm slices and 4 mm pixels, smooth enough to be resampled."""
    z, y, x = np.meshgrid(np.arange(22), np.arange(26), np.arange(28), indexing="ij")
    wave = 500 * np.sin(x / 5) * np.cos(y / 6) + 20 * z - 600
    return np.rint(wave).astype(np.int16)


@pytest.fixture(scope="session")
def save_nifti() -> Callable[[Path, np.ndarray], None]:
    return write_nifti


@pytest.fixture(scope="session")
def nifti(hu: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nifti") / "scan.nii.gz"
    write_nifti(path, hu)
    return path


@pytest.fixture(scope="session")
def dicom(hu: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    for number, plane in enumerate(hu):
        write_slice(folder / f"{number:03d}.dcm", plane, number)
    return folder


def write_nifti(path: Path, hu: np.ndarray) -> None:
    volume = nib.Nifti1Image(hu.transpose(2, 1, 0), np.diag([-4.0, -4.0, 5.0, 1.0]))
    volume.header.set_xyzt_units("mm")
    nib.save(volume, path)


def write_slice(path: Path, plane: np.ndarray, number: int) -> None:
    one = pydicom.Dataset()
    one.file_meta = pydicom.dataset.FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = CTImageStorage
    one.file_meta.MediaStorageSOPInstanceUID = f"{UID}.{number + 1}"
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, f"{UID}.{number + 1}"
    one.Modality, one.PatientID, one.PatientName = "CT", "made-up", "Made^Up"
    one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = f"{UID}.900", f"{UID}.901", f"{UID}.902"
    one.ImageType, one.SeriesNumber, one.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], 1, number + 1
    one.ImagePositionPatient, one.ImageOrientationPatient = [0.0, 0.0, 5.0 * number], [1, 0, 0, 0, 1, 0]
    one.PixelSpacing, one.SliceThickness = [4.0, 4.0], 5.0
    one.Rows, one.Columns = plane.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 1
    one.RescaleSlope, one.RescaleIntercept = 1, 0
    one.PixelData = plane.astype("<i2").tobytes()
    one.save_as(path, enforce_file_format=True)
