"""The pixels of one slice to HU: unpacked, unused bits cleared, rescaled, padding made air."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from jaxtyping import Bool, Shaped
from pydicom.pixels import pixel_array
from scipy import ndimage

from espalier.cohort.elements import BROKEN, LOOKUP, PADDING, PADDING_END, Elements, read_elements
from espalier.cohort.headers import Instance, number
from espalier.cohort.slices import AGAIN
from espalier.cohort.volume import AIR_HU
from espalier.errors import ScanError

Slice = Shaped[np.ndarray, "y x"]
HIGHEST_HU: Final = 3071
"""The top of the classic 12-bit range; a padding value above it is certainly not tissue."""
OTHER_SCALES: Final = frozenset({"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"})
"""Rescale types that are no HU (PS3.3, C.11.1.1.2)."""
LOSSY_SYNTAXES: Final = frozenset(
    str(syntax)
    for syntax in (
        pydicom.uid.JPEGBaseline8Bit,
        pydicom.uid.JPEGExtended12Bit,
        pydicom.uid.JPEGLSNearLossless,
        pydicom.uid.JPEG2000,
        pydicom.uid.HTJ2K,
    )
)
"""What may have lost something in packing, whatever the file says of it; JPEG 2000 alone can also be without loss."""
INT16: Final = np.iinfo(np.int16)


def hu_of(
    source: Path, elements: Elements, instance: Instance, parsed: Callable[[Path], Any]
) -> tuple[Slice, tuple[float, float], list[str]]:
    """Return one slice in HU (int16 where that loses nothing, else float32), its slope and intercept, and notes.

    Parameters
    ----------
    source
        The folder to which the slice's name is relative.
    elements
        The header of the slice's file.
    instance
        The slice, which may be one frame of its file.
    parsed
        `dataset_of`, or the same with a memory.

    Raises
    ------
    ScanError
        With the code `truncated_pixels`, `undecodable_pixels` or `unreadable_file`; `source` is named in it.
    """
    _refuse_other_scales(source, instance, elements.texts)
    stored = _stored(source, elements, instance, parsed)
    try:
        told = _frame_rescale(parsed(source / instance.name), instance.frame) if instance.frame else elements.texts
        slope, intercept, notes = _rescale(elements.texts, told)
        if elements.syntax in LOSSY_SYNTAXES:
            notes.append("lossy")
        hu = _rescaled(stored, slope, intercept)
        padded = _padded(stored, elements.texts, slope, intercept)
        if padded is not None and padded.any():
            hu[padded] = AIR_HU
            notes.append("padding_replaced")
    except BROKEN as error:
        found = f"{instance.name}: {_short(error)}"
        raise ScanError(source, code="unreadable_file", found=found, expected="a readable rescale", do=AGAIN) from error
    if hu.min() < AIR_HU:
        np.maximum(hu, AIR_HU, out=hu)
        notes.append("padding_replaced")
    return _smallest(hu), (slope, intercept), notes


def _refuse_other_scales(source: Path, instance: Instance, texts: Mapping[str, str]) -> None:
    """Raise `ScanError` where the numbers are no HU by a straight line, or their bits lie where nobody puts them."""
    code, found = "not_hu", ""
    if texts.get("RescaleType", "").upper() in OTHER_SCALES:
        found = f"a rescale to {texts['RescaleType'][:8]}"
    elif LOOKUP in texts:
        found = "a table that turns stored values into HU"
    elif (high := number(texts, "HighBit")) is not None and high + 1 != number(texts, "BitsStored"):
        code, found = (
            "undecodable_pixels",
            f"the highest bit {high:g} is not that of the {texts.get('BitsStored', 'none')[:8]} stored",
        )
    if found:
        do = "Take the series in HU, or export it again with slope and intercept."
        raise ScanError(source, code=code, found=f"{instance.name}: {found}", expected="HU by slope and intercept", do=do)


def dataset_of(path: Path) -> Any:
    """Return a whole file as pydicom knows it, for what is compressed or has frames."""
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = read_elements(path).syntax
    return dataset


def undecodable(source: Path, name: str, found: str, *, cut: bool = False) -> ScanError:
    """Return the error for a file whose pixels are cut off or cannot be unpacked."""
    return ScanError(
        source,
        code="truncated_pixels" if cut else "undecodable_pixels",
        found=f"{name}: {found}",
        expected="pixels for every row and column",
        do="Copy or export the file again." if cut else "Export the series uncompressed.",
    )


def _stored(source: Path, elements: Elements, instance: Instance, parsed: Callable[[Path], Any]) -> Slice:
    """Return a slice's values as they are stored."""
    try:
        if elements.pixels and not instance.frame and elements.texts.get("BitsAllocated") == "16":
            return _unpacked(source / instance.name, elements.pixels, elements.texts, instance)
        dataset = parsed(source / instance.name)
        if "PixelData" not in dataset:
            raise EOFError("the file ends before its pixels")
        stored = np.asarray(pixel_array(dataset, index=max(0, instance.frame - 1)))
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    except BROKEN as error:
        raise undecodable(source, instance.name, _short(error), cut=_is_cut(error)) from error


def _unpacked(path: Path, place: tuple[int, int], texts: Mapping[str, str], instance: Instance) -> Slice:
    """Return 16-bit values that are not compressed, without pydicom's general way, which takes twice the time."""
    wanted = 2 * instance.rows * instance.columns
    with path.open("rb") as stream:
        stream.seek(place[0])
        packed = stream.read(min(place[1], wanted))
    if len(packed) < wanted:
        raise EOFError(f"{len(packed)} bytes of pixels, fewer than {wanted}")
    stored = np.frombuffer(packed, dtype="<i2" if texts.get("PixelRepresentation") == "1" else "<u2")
    unused = 16 - int(texts["BitsStored"])
    if 0 < unused < 16:
        stored = (stored << unused) >> unused  # overlays and rubbish above the stored bits; the sign is kept
    return stored.reshape(instance.rows, instance.columns)


def _rescaled(stored: Slice, slope: float, intercept: float) -> Slice:
    """Return slope × stored + intercept, as int16 where that is a sum of whole numbers that fits, else float32."""
    low, high = sorted(float(v) * slope + intercept for v in (stored.min(), stored.max()))
    if slope == 1 and intercept.is_integer() and low >= INT16.min and high <= INT16.max and stored.dtype.itemsize == 2:
        # Modulo 2**16 the sum is right whatever the sign of the stored type, since the result fits.
        return np.asarray(stored.view(np.int16) + np.array(intercept).astype(np.int64).astype(np.int16))
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _smallest(hu: Slice) -> Slice:
    """Return HU as int16 where that loses nothing; now, since padding far outside was there before."""
    if hu.dtype == np.int16 or hu.max() > INT16.max or not np.array_equal(hu, np.rint(hu)):
        return hu
    return hu.astype(np.int16)


def _rescale(texts: Mapping[str, str], told: Mapping[str, str]) -> tuple[float, float, list[str]]:
    """Return slope and intercept from `told` (the file's elements, or the frame's own), and notes."""
    notes = []
    if not told.get("RescaleSlope") or not told.get("RescaleIntercept"):
        notes.append("no_rescale")
    if (told.get("RescaleType") or "HU").upper() not in {"HU", "US"}:
        notes.append("rescale_type")
    if texts.get("PhotometricInterpretation") == "MONOCHROME1":
        notes.append("monochrome1")  # how to display it; HU follow from the rescale alone
    if texts.get("LossyImageCompression") == "01":
        notes.append("lossy")
    slope, intercept = (
        _finite(told, name, otherwise) for name, otherwise in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if slope == 0:
        raise ValueError("a rescale slope of 0")
    return slope, intercept, notes


def _finite(told: Mapping[str, str], keyword: str, otherwise: float) -> float:
    value = number(told, keyword) if told.get(keyword) else otherwise
    if value is None:
        raise ValueError(f"a {keyword} that is no number")
    return value


def _frame_rescale(dataset: Any, frame: int) -> Mapping[str, str]:
    """Return what one frame says of its rescale: itself, else the shared group, else the file."""
    own = dataset.PerFrameFunctionalGroupsSequence[frame - 1]
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    found = own.get("PixelValueTransformationSequence") or shared.get("PixelValueTransformationSequence")
    told = found[0] if found else dataset
    return {name: str(told[name].value) for name in ("RescaleSlope", "RescaleIntercept", "RescaleType") if name in told}


def _padded(stored: Slice, texts: Mapping[str, str], slope: float, intercept: float) -> Bool[np.ndarray, "y x"] | None:
    """Return where a slice holds the values that its header calls padding; None where it calls none so.

    Values that tissue can have count as padding only where they reach in from the border and fill the corners, since some
    scanners name 0 or the highest value and mean the ring around the field of view.
    """
    told = [value for name in (PADDING, PADDING_END) if (value := _told_padding(texts, name)) is not None]
    if not told:
        return None
    read = [_without_unused_bits(value, texts) for value in told]
    padded = np.asarray((stored >= min(read)) & (stored <= max(read)))
    in_hu = sorted(value * slope + intercept for value in told)
    if in_hu[0] > HIGHEST_HU or in_hu[-1] < AIR_HU:
        return padded
    if not padded[[0, 0, -1, -1], [0, -1, 0, -1]].all():
        return None
    regions, _ = ndimage.label(padded)
    border = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    return np.asarray(np.isin(regions, np.unique(border[border > 0])))


def _told_padding(texts: Mapping[str, str], keyword: str) -> int | None:
    if len(texts.get(keyword, "")) != 4:
        return None
    return int.from_bytes(bytes.fromhex(texts[keyword]), "little", signed=texts.get("PixelRepresentation") == "1")


def _without_unused_bits(value: int, texts: Mapping[str, str]) -> int:
    """Return a value as it reads after the bits above the stored ones were cleared."""
    span = 1 << int(texts["BitsStored"])
    wrapped = value % span
    return wrapped - span if texts.get("PixelRepresentation") == "1" and wrapped >= span // 2 else wrapped


def _is_cut(error: BaseException) -> bool:
    text = str(error).lower()
    words = (
        "ends before",
        "less than expected",
        "end of file",
        "unexpected end",
        "number of bytes",
        "actual length",
        "fewer",
        "eof",
    )
    return isinstance(error, EOFError) or any(w in text for w in words)


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
