"""Clean small scans to be spoilt: a trunk with lungs, spine and a marker to find again, as DICOM slices or as NIfTI."""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (18, 40, 48)
STEP_MM = 5.0
PIXEL_MM = (6.5, 7.0)
ORIGIN_MM = (-164.5, -126.75, 100.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
MARKER = (11, 24, 14)
"""Middle of the marker, a block of 3 voxels each way; in no axis near the middle, so that a mirrored scan is found out."""
MARKER_HU = 900
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

Ending = Literal["sound", "noted", "set_aside", "others", "right_or_set_aside", "refused"]
Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """How one fault's folder must end.

    Parameters
    ----------
    ending
        `sound`: without a note; `noted`: with exactly the notes `codes`; `set_aside`: with the reasons `codes`, and
        nothing of it in the cohort; `others`: only counted; `right_or_set_aside`: either, but the HU are never wrong;
        `refused`: the whole run is refused.
    codes
        Reason codes that must be there; "a|b" asks for one of the two.
    may
        Codes that may be there as well.
    scans, aside, unchosen, others
        Rows of the cohort and of `set_aside.csv` (None: as many as there are codes), series that are not chosen, and
        files that are no scans.
    marker_mm
        World position (x, y, z; LPS+) of the marker's middle.
    marker_hu
        HU there; several where any of them is right.
    tolerance_hu
        How far from it, and from the voxels behind the hash, is right; above 0 only for lossy and resampled scans.
    spacing_z_mm
        Distance between slices in the cohort's row.
    voxels_sha256
        Hashes of right voxels (int16, C order) in the order of the slices; empty where the scan is resampled.
    kernel
        The kernel of the chosen series, where several were there.
    """

    ending: Ending
    codes: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    scans: int = 0
    aside: int | None = None
    unchosen: int = 0
    others: int = 0
    marker_mm: Triple | None = None
    marker_hu: tuple[float, ...] = (MARKER_HU,)
    tolerance_hu: float = 0.0
    spacing_z_mm: float | None = None
    voxels_sha256: tuple[str, ...] = ()
    kernel: str = ""


def set_aside(*codes: str, **more: Any) -> Expected:
    return Expected(ending="set_aside", codes=codes, **more)


def kept(slices: Sequence[FileDataset], hu: np.ndarray | None, *codes: str, **more: Any) -> Expected:
    """Expect a DICOM series to come out right: the marker in its place, and voxel for voxel `hu` where it is given."""
    told: dict[str, Any] = {"scans": 1, "spacing_z_mm": STEP_MM, "marker_mm": place_mm(slices)}
    hashes = () if hu is None else (digest(hu),)
    return Expected(ending="noted" if codes else "sound", codes=codes, **{"voxels_sha256": hashes, **told, **more})


def digest(hu: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(hu, dtype=np.int16).tobytes()).hexdigest()


def uid(*parts: object) -> str:
    return str(generate_uid(entropy_srcs=[str(part) for part in parts]))


def trunk_hu(patient: str, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Return a patient of their own: size, place, lungs and vessels are drawn by the name, so that no two are alike."""
    return _trunk_hu(patient, shape).copy()


@cache
def _trunk_hu(patient: str, shape: tuple[int, int, int]) -> np.ndarray:
    draw = np.random.default_rng(zlib.crc32(patient.encode()))
    z, y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) / n for n in shape), indexing="ij")
    across = ((x - draw.uniform(-0.03, 0.03)) / draw.uniform(0.37, 0.45)) ** 2
    deep = ((y - draw.uniform(-0.03, 0.03)) / draw.uniform(0.35, 0.44)) ** 2
    hu = np.full(shape, -1000.0)
    hu[across + deep < 1] = -95
    hu[across + deep < draw.uniform(0.75, 0.9)] = 45
    for side in (-1, 1):
        middle = side * draw.uniform(0.17, 0.23)
        lung = ((x - middle) / draw.uniform(0.09, 0.14)) ** 2 + ((y + draw.uniform(0, 0.06)) / draw.uniform(0.16, 0.26)) ** 2
        hu[lung + ((z - draw.uniform(-0.04, 0.04)) / draw.uniform(0.28, 0.36)) ** 2 < 1] = draw.uniform(-880, -800)
    for _ in range(12):
        at = draw.uniform(-0.28, 0.28, 3)
        ball = sum(((w - a) / draw.uniform(0.05, 0.12)) ** 2 for w, a in zip((z, y, x), at, strict=True))
        hu[(ball < 1) & (hu > -900)] = draw.uniform(-100, 180)
    hu[x**2 + (y - 0.26) ** 2 < 0.05**2] = 420
    hu += draw.normal(0, 10, shape)
    put_marker(hu)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def put_marker(hu: np.ndarray, at: tuple[int, int, int] = MARKER, value: float = MARKER_HU) -> None:
    if at[0] < hu.shape[0]:
        hu[tuple(slice(n - 1, n + 2) for n in at)] = value


def clean(
    folder: Path,
    hu: np.ndarray | None = None,
    *,
    step_mm: float = STEP_MM,
    orientation: Sequence[float] = AXIAL,
    along: Sequence[float] | None = None,
    series: str = "1",
) -> list[FileDataset]:
    """Return a sound series, not written yet; the folder's name is the patient's id.

    Parameters
    ----------
    step_mm, along
        Distance between slices, and the unit vector from one to the next; the slices' normal where it is not given.
    """
    patient = folder.name
    voxels = trunk_hu(patient) if hu is None else hu
    row, column = np.asarray(orientation).reshape(2, 3)
    way = np.cross(row, column) if along is None else np.asarray(along)
    out = []
    for n, plane in enumerate(voxels):
        dataset = blank(patient, series, n)
        dataset.ImagePositionPatient = [float(round(v, 5)) for v in np.asarray(ORIGIN_MM) + n * step_mm * way]
        dataset.ImageOrientationPatient = [float(round(v, 9)) for v in orientation]
        dataset.PixelSpacing, dataset.SliceThickness = list(PIXEL_MM), step_mm
        dataset.SliceLocation = round(float(dataset.ImagePositionPatient[2]), 3)
        set_stored(dataset, plane.astype(np.int32) + 1024)
        out.append(dataset)
    return out


def blank(patient: str, series: str, n: int) -> FileDataset:
    meta = FileMetaDataset()
    own = uid(patient, series, n)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, own
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(f"{series}_{n:03d}.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = CTImageStorage, own, "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.StudyDate = dataset.AcquisitionDate = "20200229"
    dataset.AcquisitionTime, dataset.ContentTime = "101112.00", "101113.00"
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = patient, uid(patient), uid(patient, series)
    dataset.PatientAge, dataset.PatientSex, dataset.PatientPosition = "061Y", "F", "HFS"
    dataset.AccessionNumber = f"A{zlib.crc32(patient.encode())}"
    dataset.SeriesNumber, dataset.AcquisitionNumber, dataset.InstanceNumber = int(series), 1, n + 1
    dataset.Manufacturer, dataset.ConvolutionKernel, dataset.KVP = "Maker", "B30f", 120
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    return dataset


def set_stored(dataset: FileDataset, stored: np.ndarray) -> None:
    """Put values into a slice as they are to be stored, signed or not by its PixelRepresentation."""
    dataset.Rows, dataset.Columns = stored.shape
    dataset.PixelData = stored.astype(np.int16 if dataset.PixelRepresentation else np.uint16).tobytes()


def stored(dataset: FileDataset) -> np.ndarray:
    signed = np.int16 if dataset.PixelRepresentation else np.uint16
    return np.frombuffer(dataset.PixelData, signed).reshape(dataset.Rows, dataset.Columns).astype(np.int32)


def place_mm(slices: Sequence[FileDataset], at: tuple[int, int, int] = MARKER) -> Triple:
    """Return where a voxel lies, by the slice's own position, directions and spacing (DICOM PS3.3, C.7.6.2.1.1)."""
    one = slices[at[0]]
    row, column = np.asarray(one.ImageOrientationPatient, dtype=float).reshape(2, 3)
    down, across = (float(v) for v in one.PixelSpacing)
    x, y, z = np.asarray(one.ImagePositionPatient, dtype=float) + at[1] * down * column + at[2] * across * row
    return float(x), float(y), float(z)


def save(folder: Path, slices: Sequence[FileDataset]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / Path(str(one.filename)).name for one in slices]
    for one, path in zip(slices, paths, strict=True):
        one.save_as(path, enforce_file_format=True)
    return paths


def ras_affine() -> np.ndarray:
    """Return the affine (RAS+, index x, y, z) of a NIfTI file whose voxels lie where those of `clean` do."""
    lps = np.diag([PIXEL_MM[1], PIXEL_MM[0], STEP_MM, 1.0])
    lps[:3, 3] = ORIGIN_MM
    return LPS @ lps


def nifti(path: Path, hu: np.ndarray | None = None, affine: np.ndarray | None = None, **header: Any) -> Path:
    """Write a NIfTI file whose arrays are x, y, z; header fields are set afterwards, with no check by nibabel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = trunk_hu(path.parent.name) if hu is None else hu
    whole = nib.Nifti1Image(voxels.T, ras_affine() if affine is None else affine, dtype=voxels.dtype)
    nib.save(whole, path)
    if header:
        patch(path, **header)
    return path


def patch(path: Path, **fields: Any) -> None:
    """Change fields of an uncompressed NIfTI header in place."""
    with path.open("r+b") as stream:
        header = nib.Nifti1Header.from_fileobj(stream, check=False)
        for name, value in fields.items():
            header[name] = value
        stream.seek(0)
        stream.write(header.binaryblock)


def kept_nifti(hu: np.ndarray | None, *codes: str, affine: np.ndarray | None = None, **more: Any) -> Expected:
    """Expect a NIfTI file to come out right: arrays are z, y, x there, so that its voxels are `hu` as it was given."""
    lps = LPS @ (ras_affine() if affine is None else affine)
    x, y, z = (lps @ [*MARKER[::-1], 1.0])[:3]
    hashes = () if hu is None else (digest(hu),)
    place = (float(x), float(y), float(z))
    told: dict[str, Any] = {"scans": 1, "spacing_z_mm": STEP_MM, "marker_mm": place, "voxels_sha256": hashes}
    return Expected(ending="noted" if codes else "sound", codes=codes, **{**told, **more})
