"""Writing a made-up scan as a scanner or a converter would: DICOM slices, or one NIfTI; equal input gives equal bytes."""

import gzip
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Int16

from espalier.geometry import Affine, Grid, direction_of, world_mm
from espalier.outputs import written_whole
from espalier.phantom.findings import Anatomy
from espalier.phantom.patient import Scan
from espalier.phantom.scanner import Person, Series

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

INTERCEPT_HU: Final = -1024
QUICK: Final = 1
BODY_PARTS: Final[Mapping[Anatomy, str]] = {"chest": "CHEST", "trauma": "ABDOMEN"}
IMPLEMENTATION_UID: Final = "2.25.150317220733291283174104951184230331049"


def uid(seed: int, *parts: object) -> str:
    """Return a UID under 2.25 that is the same for equal parts (PS3.5, B.2)."""
    digest = hashlib.sha256("\x1f".join(map(str, ("phantom", seed, *parts))).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def write_nifti(path: Path, voxels: Int16[np.ndarray, "z y x"], affine: Affine) -> None:
    """Write one volume as NIfTI-1, RAS+ world, in mm, gzipped at the quickest level without a time stamp."""
    import nibabel as nib

    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine[:, [2, 1, 0, 3]]
    nifti = nib.Nifti1Image(voxels.transpose(2, 1, 0), ras)
    nifti.header.set_xyzt_units("mm")
    nifti.set_qform(ras, code="scanner")
    nifti.set_sform(ras, code="scanner")
    with written_whole(path) as partial:
        partial.write_bytes(gzip.compress(nifti.to_bytes(), compresslevel=QUICK, mtime=0))


def write_dicom(folder: Path, scan: Scan, person: Person, *, seed: int, anatomy: Anatomy) -> None:
    """Write one series as CT Image Storage, a file per slice, numbered along the grid's first axis."""
    shared = _shared(scan.series, person, seed=seed, anatomy=anatomy)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, plane in enumerate(scan.hu, start=1):
        _write_slice(folder / f"{number:03d}.dcm", shared, scan.series.grid, plane, number=number)


def series_uid(person: Person, series: Series, seed: int) -> str:
    """Return the SeriesInstanceUID."""
    return uid(seed, "series", person.patient, series.number)


def _shared(series: Series, person: Person, *, seed: int, anatomy: Anatomy) -> "Dataset":
    """Return what all slices of a series say (PS3.3 A.3, CT Image IOD)."""
    import pydicom

    shared = pydicom.Dataset()
    for keyword, value in _about_person(person, seed).items():
        setattr(shared, keyword, value)
    for keyword, value in _about_series(series, person, seed=seed, anatomy=anatomy).items():
        setattr(shared, keyword, value)
    for keyword, value in _about_pixels(series.grid).items():
        setattr(shared, keyword, value)
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "ESPALIER"
    shared.file_meta = meta
    return shared


def _about_person(person: Person, seed: int) -> dict[str, object]:
    return {
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientName": "PHANTOM^" + person.patient.removeprefix("phantom-"),
        "PatientID": person.patient,
        "PatientBirthDate": "",
        "PatientSex": person.sex,
        "PatientAge": f"{person.age_years:03d}Y",
        "StudyInstanceUID": uid(seed, "study", person.patient),
        "StudyDate": person.study_date,
        "StudyTime": "120000",
        "StudyID": person.study,
        "StudyDescription": "Made-up CT",
        "AccessionNumber": person.accession,
        "ReferringPhysicianName": "",
    }


def _about_series(series: Series, person: Person, *, seed: int, anatomy: Anatomy) -> dict[str, object]:
    about: dict[str, object] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Modality": "CT",
        "SeriesInstanceUID": series_uid(person, series, seed),
        "SeriesNumber": series.number,
        "SeriesDate": person.study_date,
        "AcquisitionDate": person.study_date,
        "ContentDate": person.study_date,
        "SeriesTime": "120000",
        "AcquisitionTime": "120000",
        "ContentTime": "120000",
        "SeriesDescription": f"Made-up {anatomy} {series.kernel} {series.slice_mm:g} mm",
        "BodyPartExamined": BODY_PARTS[anatomy],
        "PatientPosition": series.position,
        "FrameOfReferenceUID": uid(seed, "frame", person.patient),
        "PositionReferenceIndicator": "",
        "Manufacturer": person.manufacturer,
        "ManufacturerModelName": "Phantom",
        "SoftwareVersions": "1",
        "AcquisitionNumber": 1,
        "KVP": "120",
        "ConvolutionKernel": series.kernel,
        "SliceThickness": f"{series.slice_mm:g}",
        "SpacingBetweenSlices": f"{series.slice_mm:g}",
    }
    if anatomy == "trauma":
        about["ContrastBolusAgent"] = "Made-up contrast"
    return about


def _about_pixels(grid: Grid) -> dict[str, object]:
    direction = direction_of(grid.affine)
    _, rows, columns = grid.shape
    return {
        "ImageOrientationPatient": [f"{v:.8f}" for v in (*direction[:, 2], *direction[:, 1])],
        "PixelSpacing": [f"{grid.spacing_mm[1]:.6f}", f"{grid.spacing_mm[2]:.6f}"],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": str(INTERCEPT_HU),
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "WindowCenter": "40",
        "WindowWidth": "400",
    }


def _write_slice(path: Path, shared: "Dataset", grid: Grid, plane: Int16[np.ndarray, "y x"], *, number: int) -> None:
    """Write one slice; `shared` is changed in place, which is quick and safe as slices are written one by one."""
    position = world_mm(grid.affine, (number - 1, 0, 0))
    shared.SOPInstanceUID = uid(0, shared.SeriesInstanceUID, number)
    shared.file_meta.MediaStorageSOPInstanceUID = shared.SOPInstanceUID
    shared.InstanceNumber = number
    shared.ImagePositionPatient = [f"{v:.4f}" for v in position]
    shared.SliceLocation = f"{position[2]:.4f}"
    shared.PixelData = (plane - INTERCEPT_HU).astype("<u2").tobytes()
    shared["PixelData"].VR = "OW"
    shared.save_as(path, enforce_file_format=True)
