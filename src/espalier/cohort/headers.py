"""What one DICOM file says of itself before its pixels: about its series, and where its slice lies."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pydicom

from espalier.cohort.elements import BROKEN, Elements, read_elements, text_of

Texts = Mapping[str, str]
CT_CLASSES: Final = frozenset({"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
"""CT Image Storage, Enhanced CT and Legacy Converted Enhanced CT (DICOM PS3.4, table B.5-1)."""
FRAMED_CLASSES: Final = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
"""Enhanced CT and Legacy Converted Enhanced CT: every frame is a slice with a place of its own."""
LOCALIZER_TYPES: Final = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SCANOGRAM"})
PROJECTION_TYPES: Final = frozenset(
    {"MIP", "MINIP", "MIN IP", "AVERAGE", "AVG", "PROJECTION IMAGE", "MAX_IP", "MIN_IP", "VRT", "SSD"}
)
"""Values of ImageType for slabs in which neighbouring slices are merged; their numbers are not those of one place."""


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
    frame
        Which frame of the file it is, from 1; 0 where the file is one slice.
    position
        World position (x, y, z) of the first voxel's centre in mm, LPS+.
    orientation
        Unit vectors along a row and along a column.
    spacing
        Distance between rows (y) and between columns (x) in mm.
    acquisition, time_s
        Number and time of day of the acquisition, to tell two passes over the same places apart.
    location_mm
        SliceLocation, asked only where the study's settings say so.
    mark
        What tells whether the file has changed since.
    projection
        Whether it merges several slices, as a maximum intensity projection does.
    """

    name: str
    sop_uid: str
    position: Sequence[float] | None
    orientation: Sequence[float] | None
    spacing: Sequence[float] | None
    rows: int
    columns: int
    acquisition: str = ""
    time_s: float | None = None
    location_mm: float | None = None
    frame: int = 0
    mark: str = ""
    localizer: bool = False
    derived: bool = False
    projection: bool = False
    frames: int = 1
    samples_per_pixel: int = 1


class NotCtError(Exception):
    """A sound DICOM file that is no CT slice: a report, a dose page, another modality."""


def read_header(path: Path, name: str, *, mark: str = "") -> tuple[About, list[Instance]]:
    """Return what one file says of its series, and each slice in it, the pixels unread.

    Raises
    ------
    NotCtError
        When it is sound DICOM, but no CT.
    ValueError
        When it cannot be read, or ends before its geometry.
    """
    about, instances, _ = open_file(path, name, mark=mark)
    return about, instances


def open_file(path: Path, name: str, *, mark: str = "") -> tuple[About, list[Instance], Elements]:
    """Return the same as `read_header`, and the elements with the place of the pixels; raise as it does."""
    try:
        elements = read_elements(path)
        about = _about(elements.texts)
        first = replace(_instance(elements.texts, name), mark=mark)
        if elements.texts.get("SOPClassUID") not in FRAMED_CLASSES:
            return about, [first], elements
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of it is checked here, with the file's name
            return *_frames(pydicom.dcmread(path, stop_before_pixels=True, force=True), about, first), elements
    except BROKEN as error:
        raise ValueError(str(error) or type(error).__name__) from error


def _is_ct(texts: Texts) -> bool:
    """Tell whether it is CT: by class, else by modality, else by what only CT says of itself."""
    kind, modality = texts.get("SOPClassUID"), texts.get("Modality")
    if kind or modality:
        return kind in CT_CLASSES or (not kind and modality == "CT")
    return bool(texts.get("ImagePositionPatient")) and (
        texts.get("RescaleType") == "HU" or bool(texts.get("KVP") and texts.get("ConvolutionKernel"))
    )


def _about(texts: Texts) -> About:
    if not _is_ct(texts):
        if not texts.get("SOPClassUID") and not texts.get("Modality"):
            raise ValueError("the header ends before it says what it is")
        raise NotCtError(texts.get("SOPClassUID"))
    return About(
        patient=texts.get("PatientID", ""),
        study_uid=texts.get("StudyInstanceUID", ""),
        series_uid=texts.get("SeriesInstanceUID", ""),
        accession=texts.get("AccessionNumber", ""),
        age_years=_age_years(texts),
        sex=texts.get("PatientSex", "").upper()[:1],
        manufacturer=texts.get("Manufacturer", ""),
        kernel=texts.get("ConvolutionKernel", ""),
        slice_mm=number(texts, "SliceThickness"),
        contrast=texts.get("ContrastBolusAgent", ""),
        site=texts.get("InstitutionName", ""),
        description=texts.get("SeriesDescription", ""),
        number=int(number(texts, "SeriesNumber") or 0),
    )


def _instance(texts: Texts, name: str) -> Instance:
    rows, columns = int(number(texts, "Rows") or 0), int(number(texts, "Columns") or 0)
    if rows < 1 or columns < 1:
        raise ValueError("the header ends before the size of its slice")
    types = {t.strip().upper() for t in texts.get("ImageType", "").split("\\")}
    return Instance(
        name=name,
        sop_uid=texts.get("SOPInstanceUID", ""),
        position=_numbers(texts.get("ImagePositionPatient"), 3),
        orientation=_numbers(texts.get("ImageOrientationPatient"), 6),
        spacing=_numbers(texts.get("PixelSpacing"), 2),
        rows=rows,
        columns=columns,
        acquisition=texts.get("AcquisitionNumber", ""),
        time_s=_time_s(texts.get("AcquisitionTime") or texts.get("ContentTime", "")),
        location_mm=number(texts, "SliceLocation"),
        localizer=bool(types & LOCALIZER_TYPES),
        derived="DERIVED" in types,
        projection=bool(types & PROJECTION_TYPES),
        frames=int(number(texts, "NumberOfFrames") or 1),
        samples_per_pixel=int(number(texts, "SamplesPerPixel") or 1),
    )


def _frames(header: Any, about: About, first: Instance) -> tuple[About, list[Instance]]:
    """Return one slice for each frame, from the functional groups (PS3.3, C.7.6.16); the frame's own before the shared."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    if len(own) != first.frames:
        raise ValueError(f"{first.frames} frames, but {len(own)} of them are described")
    about = replace(
        about,
        slice_mm=about.slice_mm
        or (_own_numbers(_group(own[0], shared, "PixelMeasuresSequence"), "SliceThickness", 1) or (None,))[0],
        kernel=about.kernel or (text_of(_group(own[0], shared, "CTReconstructionSequence"), "ConvolutionKernel") or ""),
    )
    return about, [_frame(frame, shared, replace(first, frame=n)) for n, frame in enumerate(own, start=1)]


def _frame(frame: Any, shared: Any, first: Instance) -> Instance:
    measures = _group(frame, shared, "PixelMeasuresSequence")
    content = _group(frame, shared, "FrameContentSequence")
    types = (text_of(_group(frame, shared, "CTImageFrameTypeSequence"), "FrameType") or "").upper().split("\\")
    told = (content.get(keyword) for keyword in ("StackID", "TemporalPositionIndex", "FrameAcquisitionNumber"))
    return replace(
        first,
        sop_uid=f"{first.sop_uid}.{first.frame}",
        position=_own_numbers(_group(frame, shared, "PlanePositionSequence"), "ImagePositionPatient", 3),
        orientation=_own_numbers(_group(frame, shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        spacing=_own_numbers(measures, "PixelSpacing", 2),
        acquisition=" ".join(str(value) for value in told if value is not None),
        localizer=first.localizer or bool(LOCALIZER_TYPES & set(types)),
        derived=first.derived or "DERIVED" in types,
        projection=first.projection or bool(PROJECTION_TYPES & set(types)),
        frames=1,
    )


def _group(frame: Any, shared: Any, keyword: str) -> Any:
    """Return the first dataset of a functional group, the frame's own before the shared one; an empty one for none."""
    found = frame.get(keyword) or shared.get(keyword)
    return found[0] if found else pydicom.Dataset()


def _own_numbers(dataset: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    return _numbers(text_of(dataset, keyword), count)


def _time_s(text: str) -> float | None:
    """Return seconds since midnight of a DICOM time (PS3.5, value representation TM)."""
    if len(text) < 6 or not text[:6].isdigit():
        return None
    try:
        return int(text[:2]) * 3600 + int(text[2:4]) * 60 + float(text[4:])
    except ValueError:
        return None


def number(texts: Texts, keyword: str) -> float | None:
    """Return the one finite number of an element, or None."""
    numbers = _numbers(texts.get(keyword), 1)
    return numbers[0] if numbers else None


def _numbers(text: str | None, count: int) -> tuple[float, ...] | None:
    """Return exactly `count` finite numbers, or None where the text does not hold them."""
    try:
        numbers = tuple(map(float, (text or "").split("\\")))
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _age_years(texts: Texts) -> float | None:
    """Return the age in years from PatientAge (PS3.5, value representation AS), else from the two dates."""
    age = texts.get("PatientAge", "")
    if len(age) == 4 and age[:3].isdigit() and age[3] in "DWMY":
        return round(int(age[:3]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[age[3]], 2)
    born, studied = texts.get("PatientBirthDate", ""), texts.get("StudyDate", "")
    if len(born) == len(studied) == 8 and born.isdigit() and studied.isdigit():
        years = int(studied[:4]) - int(born[:4]) - (studied[4:] < born[4:])
        return float(years) if 0 < years < 130 else None
    return None
