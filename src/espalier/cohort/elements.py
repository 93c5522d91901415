"""What stands in one DICOM file, as text by keyword, and its pixels as they are packed.

A plain little-endian file is walked over here, element by element, in a tenth of the time that pydicom's objects take; the walk
knows only what every such file has in common (PS3.5, 7.1), and leaves all else to pydicom.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydicom
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.errors import BytesLengthException, InvalidDicomError

BROKEN: Final = (
    InvalidDicomError,
    BytesLengthException,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    struct.error,
    zlib.error,
    LookupError,
)
"""All that pydicom and its decoders were seen to raise on damaged files."""
BINARY: Final = frozenset(
    {"SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"}
)
"""Unsigned 16-bit numbers among the keywords; all others are text."""
KEYWORDS: Final = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "AccessionNumber",
    "Modality",
    "ImageType",
    "Manufacturer",
    "StudyDate",
    "AcquisitionTime",
    "ContentTime",
    "SeriesDescription",
    "InstitutionName",
    "PatientID",
    "PatientSex",
    "PatientAge",
    "PatientBirthDate",
    "SliceThickness",
    "KVP",
    "ConvolutionKernel",
    "ContrastBolusAgent",
    "SeriesNumber",
    "AcquisitionNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceLocation",
    "PixelSpacing",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "LossyImageCompression",
    *sorted(BINARY),
)
PADDING, PADDING_END = "PixelPaddingValue", "PixelPaddingRangeLimit"
LOOKUP: Final = "ModalityLUTSequence"
KEYWORD_OF: Final = {int(pydicom.tag.Tag(keyword)): keyword for keyword in (*KEYWORDS, PADDING, PADDING_END)}
LOOKUP_TAG: Final = int(pydicom.tag.Tag(LOOKUP))
PIXELS: Final = 0x7FE00010
LAST_HEADER_TAG: Final = 0x7FDFFFFF
META_CLASS, META_INSTANCE, META_SYNTAX = 0x00020002, 0x00020003, 0x00020010
PART, PART_END, NEST_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED: Final = 0xFFFFFFFF
LONG_FORMS: Final = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
SHORT_FORMS: Final = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST"}
    | {b"TM", b"UI", b"UL", b"US"}
)
"""Value representations with a length of two bytes."""
IMPLICIT, EXPLICIT = str(pydicom.uid.ImplicitVRLittleEndian), str(pydicom.uid.ExplicitVRLittleEndian)
BIG_ENDIAN, DEFLATED = str(pydicom.uid.ExplicitVRBigEndian), str(pydicom.uid.DeflatedExplicitVRLittleEndian)
FIRST_BYTES: Final = 1 << 14
"""Most headers are shorter; where one is not, the whole file is read."""
DEEPEST: Final = 32


class UnusualError(Exception):
    """The walk met something that only pydicom knows."""


@dataclass(frozen=True, slots=True, eq=False)
class Elements:
    """One file's header and pixels.

    Parameters
    ----------
    texts
        By keyword what the file says, stripped; absent elements are absent.
    syntax
        The transfer syntax.
    pixels
        First byte and length of the pixels in the file; None where they are compressed, or only pydicom finds them.
    """

    texts: Mapping[str, str]
    syntax: str
    pixels: tuple[int, int] | None = None


def read_elements(path: Path) -> Elements:
    """Return what stands in a file before its pixels, and where those lie.

    Raises
    ------
    OSError, ValueError, EOFError or others of `BROKEN`
        When it cannot be read as DICOM.
    """
    with path.open("rb") as stream:
        packed = stream.read(FIRST_BYTES)
        with suppress(UnusualError, struct.error, EOFError, IndexError):
            elements, reached = _walked(packed)
            if reached or len(packed) < FIRST_BYTES:
                return elements
        packed += stream.read()
    try:
        return _walked(packed)[0]
    except (UnusualError, struct.error, IndexError):
        return _by_pydicom(packed)


def _walked(packed: bytes) -> tuple[Elements, bool]:
    """Return what the walk found, and whether it came to the pixels."""
    start, syntax, values = _meta(packed)
    if syntax in {BIG_ENDIAN, DEFLATED}:
        raise UnusualError
    if not syntax:
        syntax = EXPLICIT if packed[start + 4 : start + 6] in SHORT_FORMS | LONG_FORMS else IMPLICIT
    reached, pixels = _elements(packed, start, syntax == IMPLICIT, values)
    return Elements(_texts(values), syntax, pixels), reached


def _meta(packed: bytes) -> tuple[int, str, dict[int, bytes]]:
    """Return where the data set starts, the transfer syntax, and what the file meta says (always explicit, PS3.10, 7.1)."""
    pos = 132 if packed[128:132] == b"DICM" else 0
    values: dict[int, bytes] = {}
    while packed[pos : pos + 2] == b"\x02\x00":
        tag, length, body = _head(packed, pos, implicit=False)
        if body + length > len(packed):
            raise EOFError("an element ends behind the end of the file")
        values[tag] = packed[body : body + length]
        pos = body + length
    return pos, values.get(META_SYNTAX, b"").rstrip(b"\0 ").decode("ascii", "replace"), values


def _head(packed: bytes, pos: int, *, implicit: bool) -> tuple[int, int, int]:
    """Return an element's tag, length, and the place of its value."""
    group, element = struct.unpack_from("<HH", packed, pos)
    tag = group << 16 | element
    if implicit or group == 0xFFFE:
        return tag, struct.unpack_from("<I", packed, pos + 4)[0], pos + 8
    form = packed[pos + 4 : pos + 6]
    if form in SHORT_FORMS:
        return tag, struct.unpack_from("<H", packed, pos + 6)[0], pos + 8
    if form in LONG_FORMS:
        return tag, struct.unpack_from("<I", packed, pos + 8)[0], pos + 12
    raise UnusualError


def _elements(packed: bytes, pos: int, implicit: bool, values: dict[int, bytes]) -> tuple[bool, tuple[int, int] | None]:
    """Gather the wanted elements up to the pixels; return whether there are any, and where they lie if not in parts."""
    end, before = len(packed), -1
    while pos + 8 <= end:
        tag, length, body = _head(packed, pos, implicit=implicit)
        if tag <= before:
            raise UnusualError
        before = tag
        if tag == LOOKUP_TAG:
            values[tag] = b"there"
        if tag > LAST_HEADER_TAG:
            return tag == PIXELS, (body, length) if tag == PIXELS and length != UNDEFINED else None
        if length == UNDEFINED:
            pos = _after_nest(packed, body, implicit, 0)
            continue
        pos = body + length
        if tag in KEYWORD_OF:
            if pos > end:
                raise EOFError("an element ends behind the end of the file")
            values[tag] = packed[body:pos]
    if pos != end:
        raise EOFError("an element ends behind the end of the file")
    return False, None


def _after_nest(packed: bytes, pos: int, implicit: bool, depth: int) -> int:
    """Return the place behind a sequence of undefined length."""
    if depth > DEEPEST:
        raise UnusualError
    while True:
        tag, length, body = _head(packed, pos, implicit=implicit)
        if tag == NEST_END:
            return body
        if tag != PART:
            raise UnusualError
        pos = body + length if length != UNDEFINED else _after_part(packed, body, implicit, depth)


def _after_part(packed: bytes, pos: int, implicit: bool, depth: int) -> int:
    while True:
        tag, length, body = _head(packed, pos, implicit=implicit)
        if tag == PART_END:
            return body
        pos = body + length if length != UNDEFINED else _after_nest(packed, body, implicit, depth + 1)


def _texts(values: Mapping[int, bytes]) -> dict[str, str]:
    texts: dict[str, str] = {}
    encodings: list[str] | None = None
    for tag, value in values.items():
        keyword = KEYWORD_OF.get(tag)
        if tag == LOOKUP_TAG:
            texts[LOOKUP] = "there"
        if keyword is None:
            continue
        if keyword in BINARY:
            texts[keyword] = str(struct.unpack_from("<H", value)[0]) if len(value) >= 2 else ""
        elif keyword in {PADDING, PADDING_END}:
            texts[keyword] = value[:2].hex()
        elif value.isascii():
            texts[keyword] = value.decode("ascii").replace("\0", "").strip()
        else:
            encodings = encodings or convert_encodings(texts.get("SpecificCharacterSet", "").split("\\"))
            texts[keyword] = decode_bytes(value, encodings, set()).replace("\0", "").strip()
    for keyword, tag in (("SOPClassUID", META_CLASS), ("SOPInstanceUID", META_INSTANCE)):
        if not texts.get(keyword) and tag in values:
            texts[keyword] = values[tag].rstrip(b"\0 ").decode("ascii", "replace")
    return texts


def _by_pydicom(packed: bytes) -> Elements:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of it is checked by the callers, with the file's name
        dataset = pydicom.dcmread(io.BytesIO(packed), stop_before_pixels=True, force=True)
        texts = {keyword: text for keyword in KEYWORDS if (text := text_of(dataset, keyword)) is not None}
        for keyword in ("SOPClassUID", "SOPInstanceUID"):
            texts[keyword] = texts.get(keyword) or str(dataset.file_meta.get(f"MediaStorage{keyword}") or "")
        for keyword in (PADDING, PADDING_END):
            if isinstance(dataset.get(keyword), int):
                texts[keyword] = (dataset.get(keyword) & 0xFFFF).to_bytes(2, "little").hex()
        if LOOKUP in dataset:
            texts[LOOKUP] = "there"
        return Elements(texts, _syntax(dataset))


def text_of(dataset: Any, keyword: str) -> str | None:
    """Return an element of pydicom's as text, values parted as in the file, or None where it is absent."""
    value = dataset.get(keyword)
    if value is None:
        return None
    parts = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else value
    return "\\".join(str(part) for part in parts).replace("\0", "").strip()


def _syntax(dataset: Any) -> str:
    """Return the transfer syntax, as pydicom found it out while reading where the file meta does not say."""
    told = dataset.file_meta.get("TransferSyntaxUID")
    if told:
        return str(told)
    implicit, little = dataset.original_encoding
    return IMPLICIT if implicit else EXPLICIT if little else BIG_ENDIAN
