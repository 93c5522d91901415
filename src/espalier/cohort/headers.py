"""What one DICOM file says of itself before its pixels: about its series, and where its slice lies."""

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydicom
from pydicom.errors import InvalidDicomError

CT_CLASSES: Final = frozenset({"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
"""CT Image Storage, Enhanced CT and Legacy Converted Enhanced CT (DICOM PS3.4, table B.5-1)."""
BROKEN: Final = (
    InvalidDicomError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
    struct.error,
)
"""All that pydicom and its decoders were seen to raise on damaged files."""
TAGS: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "AccessionNumber",
    "Modality",
    "ImageType",
    "Manufacturer",
    "StudyDate",
    "SeriesDescription",
    "InstitutionName",
    "PatientID",
    "PatientSex",
    "PatientAge",
    "PatientBirthDate",
    "SliceThickness",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "SeriesNumber",
    "AcquisitionNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
)
LOCALIZER_TYPES: Final = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM"})


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What a file, or the table of a published data set, says of a series and patient; "" or None where it says nothing."""

    patient: str = ""
    study_uid: str = ""
    series_uid: str = ""
    accession: str = ""
    age_years: float | None = None
    sex: str = ""
    manufacturer: str = ""
    kernel: str = ""
    slice_mm: float | None = None
    contrast: str = ""
    site: str = ""
    description: str = ""
    number: int = 0
    official_split: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One slice as its header places it.

    Parameters
    ----------
    name
        File name relative to its source.
    position
        World position (x, y, z) of the first voxel's centre in mm, LPS+.
    orientation
        Unit vectors along a row and along a column.
    spacing
        Distance between rows (y) and between columns (x) in mm.
    """

    name: str
    sop_uid: str
    position: Sequence[float] | None
    orientation: Sequence[float] | None
    spacing: Sequence[float] | None
    rows: int
    columns: int
    acquisition: str = ""
    localizer: bool = False
    derived: bool = False
    frames: int = 1
    samples_per_pixel: int = 1


class NotCtError(Exception):
    """A sound DICOM file that is no CT slice: a report, a dose page, another modality."""


def read_header(path: Path, name: str) -> tuple[About, Instance]:
    """Return what one file says, its pixels unread.

    Raises
    ------
    NotCtError
        When it is sound DICOM, but no CT.
    ValueError
        When it cannot be read, or ends before its geometry.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of it is checked here, with the file's name
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS), force=True)
            return _about(header), _instance(header, name)
    except BROKEN as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _about(header: Any) -> About:
    kind = _text(header, "SOPClassUID")
    if not kind and not _text(header, "Modality"):
        raise ValueError("the header ends before it says what it is")
    if kind not in CT_CLASSES and (kind or _text(header, "Modality") != "CT"):
        raise NotCtError(kind)
    return About(
        patient=_text(header, "PatientID"),
        study_uid=_text(header, "StudyInstanceUID"),
        series_uid=_text(header, "SeriesInstanceUID"),
        accession=_text(header, "AccessionNumber"),
        age_years=_age_years(header),
        sex=_text(header, "PatientSex").upper()[:1],
        manufacturer=_text(header, "Manufacturer"),
        kernel=_text(header, "ConvolutionKernel"),
        slice_mm=(_numbers(header, "SliceThickness", 1) or (None,))[0],
        contrast=_text(header, "ContrastBolusAgent"),
        site=_text(header, "InstitutionName"),
        description=_text(header, "SeriesDescription"),
        number=_whole(header, "SeriesNumber", 0),
    )


def _instance(header: Any, name: str) -> Instance:
    if not header.get("Rows") or not header.get("Columns"):
        raise ValueError("the header ends before the size of its slice")
    types = {t.strip().upper() for t in _text(header, "ImageType").split("\\")}
    return Instance(
        name=name,
        sop_uid=_text(header, "SOPInstanceUID"),
        position=_numbers(header, "ImagePositionPatient", 3),
        orientation=_numbers(header, "ImageOrientationPatient", 6),
        spacing=_numbers(header, "PixelSpacing", 2),
        rows=int(header.Rows),
        columns=int(header.Columns),
        acquisition=_text(header, "AcquisitionNumber"),
        localizer=bool(types & LOCALIZER_TYPES),
        derived="DERIVED" in types,
        frames=_whole(header, "NumberOfFrames", 1),
        samples_per_pixel=_whole(header, "SamplesPerPixel", 1),
    )


def _text(header: Any, keyword: str) -> str:
    value = header.get(keyword)
    if value is None:
        return ""
    parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return "\\".join(str(part) for part in parts).replace("\0", "").strip()


def _numbers(header: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return exactly `count` finite numbers, or None where the header does not hold them."""
    try:
        numbers = tuple(float(part) for part in _text(header, keyword).split("\\"))
    except ValueError:
        return None
    finite = all(abs(number) < float("inf") for number in numbers)
    return numbers if len(numbers) == count and finite else None


def _whole(header: Any, keyword: str, otherwise: int) -> int:
    numbers = _numbers(header, keyword, 1)
    return int(numbers[0]) if numbers else otherwise


def _age_years(header: Any) -> float | None:
    """Return the age in years from PatientAge (PS3.5, value representation AS), else from the two dates."""
    age = _text(header, "PatientAge")
    if len(age) == 4 and age[:3].isdigit() and age[3] in "DWMY":
        return round(int(age[:3]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[age[3]], 2)
    born, studied = _text(header, "PatientBirthDate"), _text(header, "StudyDate")
    if len(born) == len(studied) == 8 and born.isdigit() and studied.isdigit():
        years = int(studied[:4]) - int(born[:4]) - (studied[4:] < born[4:])
        return float(years) if 0 < years < 130 else None
    return None
