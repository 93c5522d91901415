"""Small synthetic scans, written by pydicom and nibabel: a body of 40 HU in air with one bright voxel to find again."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (14, 20, 24)
BRIGHT = (5, 7, 11)
BRIGHT_HU = 900
STEP_MM = 3.0
PIXEL_MM = (1.5, 1.25)
ORIGIN_MM = (-30.0, -20.0, 100.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def uid(*parts: object) -> str:
    return str(generate_uid(entropy_srcs=[str(part) for part in parts]))


def body_hu(shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    hu = np.full(shape, -1000, dtype=np.int16)
    hu[:, 4:-4, 4:-4] = 40
    hu[:, 6:9, 6:9] = np.arange(shape[0])[:, None, None]
    if shape[0] > BRIGHT[0]:
        hu[BRIGHT] = BRIGHT_HU
    return hu


class DicomSeries:
    """Writes one series; each slice can be changed on its way to the file."""

    def __call__(
        self,
        folder: Path,
        *,
        patient: str = "P1",
        study: str = "S1",
        series: str = "1",
        shape: tuple[int, int, int] = SHAPE,
        step_mm: float = STEP_MM,
        orientation: tuple[float, ...] = AXIAL,
        change: Callable[[FileDataset, int], Any] | None = None,
        **tags: Any,
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        row, column = np.array(orientation).reshape(2, 3)
        normal = np.cross(row, column)
        for n, hu in enumerate(body_hu(shape)):
            dataset = blank(folder / f"slice_{n:03d}.dcm", uid(patient, study, series, n))
            dataset.PatientID, dataset.StudyInstanceUID = patient, uid(patient, study)
            dataset.SeriesInstanceUID = uid(patient, study, series)
            dataset.ImagePositionPatient = [float(v) for v in np.array(ORIGIN_MM) + n * step_mm * normal]
            dataset.ImageOrientationPatient = list(orientation)
            dataset.PixelSpacing = list(PIXEL_MM)
            dataset.SliceThickness = step_mm
            dataset.InstanceNumber = n + 1
            dataset.Rows, dataset.Columns = hu.shape
            dataset.PixelData = (hu + 1024).astype(np.uint16).tobytes()
            for name, value in tags.items():
                setattr(dataset, name, value)
            if change is None or change(dataset, n) is not False:
                dataset.save_as(dataset.filename, enforce_file_format=True)
        return folder


def blank(path: Path, instance_uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = instance_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = CTImageStorage, instance_uid, "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientAge, dataset.PatientSex, dataset.AccessionNumber = "061Y", "F", "007"
    dataset.Manufacturer, dataset.ConvolutionKernel = "Maker", "B30f"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    return dataset


@pytest.fixture
def write_series() -> DicomSeries:
    return DicomSeries()


@pytest.fixture
def write_nifti() -> Callable[..., Path]:
    def write(path: Path, *, hu: np.ndarray | None = None, affine: np.ndarray | None = None, **header: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        voxels = body_hu() if hu is None else hu
        ras = np.diag([PIXEL_MM[1], PIXEL_MM[0], STEP_MM, 1.0]) if affine is None else affine
        nib.save(nib.Nifti1Image(voxels.transpose(2, 1, 0) if voxels.ndim == 3 else voxels, ras), path)
        if header:
            patch_header(path, header)
        return path

    return write


def patch_header(path: Path, fields: dict[str, Any]) -> None:
    """Change fields of an uncompressed NIfTI header in place, with no check by nibabel."""
    with path.open("r+b") as stream:
        header = nib.Nifti1Header.from_fileobj(stream, check=False)
        for name, value in fields.items():
            header[name] = value
        stream.seek(0)
        stream.write(header.binaryblock)


@pytest.fixture(scope="session")
def real_scans() -> Path:
    root = os.environ.get("ESPALIER_DATA")
    if not root or not (Path(root) / "ct").is_dir():
        pytest.skip("ESPALIER_DATA does not name a folder with real scans (ct/)")
    return Path(root) / "ct"


def edit(path: Path, change: Callable[[FileDataset], Any]) -> None:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
