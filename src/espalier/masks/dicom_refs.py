"""What a DICOM mask refers to: the series it was made on, and the frame of reference it lies in."""

import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pydicom

from espalier.cohort.archives import is_archive_name, unpacked
from espalier.cohort.elements import BROKEN
from espalier.errors import EspalierError, ScanError

Kind = Literal["seg", "rtstruct"]
KINDS: Final[Mapping[str, Kind]] = {
    "1.2.840.10008.5.1.4.1.1.66.4": "seg",
    "1.2.840.10008.5.1.4.1.1.66.7": "seg",
    "1.2.840.10008.5.1.4.1.1.481.3": "rtstruct",
}
"""Segmentation, Label Map Segmentation and RT Structure Set Storage (DICOM PS3.4, table B.5-1)."""
FIRST_BYTES: Final = 2048
"""Both the file meta and the element that says what a file is end before this."""
WANTED: Final = (
    "SOPClassUID",
    "FrameOfReferenceUID",
    "SeriesInstanceUID",
    "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class References:
    """What one DICOM mask is, and which series and frames of reference it names."""

    kind: Kind
    series: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()


def looks_like_mask(path: Path) -> bool:
    """Tell by its first bytes whether a file may be a mask in DICOM; cheap, so that folders of slices cost little."""
    try:
        with path.open("rb") as stream:
            start = stream.read(FIRST_BYTES)
    except OSError:
        return False
    return any(kind.encode() in start for kind in KINDS)


def read_references(path: Path) -> References | None:
    """Return what a DICOM mask refers to, or None where the file is no such mask or cannot be read."""
    with suppress(*BROKEN), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=list(WANTED))
        kind = KINDS.get(str(header.get("SOPClassUID", "")))
        return None if kind is None else references_of(header, kind)
    return None


def references_of(header: Any, kind: Kind) -> References:
    """Return what the dataset of a mask refers to; raise one of `BROKEN` where it is damaged."""
    series = [one.get("SeriesInstanceUID") for one in header.get("ReferencedSeriesSequence") or ()]
    frames = [header.get("FrameOfReferenceUID")]
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        frames.append(frame.get("FrameOfReferenceUID"))
        for study in frame.get("RTReferencedStudySequence") or ():
            series += [one.get("SeriesInstanceUID") for one in study.get("RTReferencedSeriesSequence") or ()]
    return References(kind=kind, series=_texts(series), frames=_texts(frames))


def scan_references(row: Mapping[str, Any], *, folder: Path) -> tuple[str, str]:
    """Return the series UID and frame of reference in a DICOM scan's own files; empty for other formats, or where unread.

    They are read anew each time and kept nowhere, since a study with pseudonyms must not hold them.

    Parameters
    ----------
    row
        Of the cohort.
    folder
        The study's.
    """
    if row["format"] != "dicom" or not row["files"]:
        return "", ""
    source, first = folder / row["source"], row["files"][0]
    with suppress(*BROKEN, EspalierError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if source.is_file() and is_archive_name(source.name):
            with unpacked(source, [first], below=folder) as place:
                return _uids(place / first)
        return _uids(source / first)
    return "", ""


def refuse_other_frame(references: References, own_frame: str, *, source: Path) -> None:
    """Raise `ScanError` `mask_other_frame` where a mask lies in another frame of reference than its scan."""
    if own_frame and references.frames and own_frame not in references.frames:
        raise ScanError(
            source,
            code="mask_other_frame",
            found="another frame of reference than the scan's",
            expected="one frame of reference: positions in it mean the same place",
            do="Leave it out, or register it to the scan first.",
        )


def _uids(path: Path) -> tuple[str, str]:
    tags: list[str | int | tuple[int, int]] = ["SeriesInstanceUID", "FrameOfReferenceUID"]
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=tags)
    return str(header.get("SeriesInstanceUID") or ""), str(header.get("FrameOfReferenceUID") or "")


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(value) for value in values if value))
