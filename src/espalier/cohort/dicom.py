"""DICOM series to volumes in HU: headers first, geometry checked, then each slice once."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from jaxtyping import Shaped

from espalier.cohort.headers import BROKEN, About, Instance, NotCtError, read_header
from espalier.cohort.series import Series, group_instances
from espalier.cohort.slices import AGAIN, Stack, stack
from espalier.cohort.sources import list_source
from espalier.cohort.volume import AIR_HU, Reading, Volume
from espalier.errors import InputError, ScanError

Slice = Shaped[np.ndarray, "y x"]
HIGHEST_HU: Final = 3071
"""The top of the classic 12-bit range; a padding value above it is certainly not tissue."""
MAX_VOXELS: Final = 2**31
"""Larger volumes (1024 × 1024 × 2048) are refused before memory is taken."""


def index_folder(path: Path) -> list[Series]:
    """Return every CT series in DICOM below a folder, from headers alone; files that cannot be read are passed over."""
    try:
        listing = list_source(path, "dicom")
    except InputError:
        return []
    pairs, _, _ = read_headers([(listed.path, listed.name) for listed in listing.dicom])
    return group_instances(pairs, source=path.as_posix())


def read_headers(
    files: Sequence[tuple[Path, str]],
) -> tuple[list[tuple[About, Instance]], int, list[tuple[str, str]]]:
    """Return the CT slices among files, how many others are sound, and those that are damaged with what is wrong."""
    pairs = []
    others = 0
    damaged = []
    for path, name in files:
        try:
            pairs.append(read_header(path, name))
        except NotCtError:
            others += 1
        except ValueError as error:
            damaged.append((name, str(error)))
    return pairs, others, damaged


def read_dicom(source: Path, names: Sequence[str]) -> Reading:
    """Return one series as a volume in HU.

    Parameters
    ----------
    source
        The folder to which the names are relative.
    names
        Files of one series, in any order; localizers and copies among them are left out.

    Raises
    ------
    ScanError
        With a code of `espalier.cohort.slices.stack`, or `unreadable_file`, `truncated_pixels`, `undecodable_pixels`,
        `conflicting_slices`, `too_large`.
    """
    pairs, others, damaged = read_headers([(source / name, name) for name in names])
    if damaged or others:
        found = f"{damaged[0][0]}: {damaged[0][1]}" if damaged else f"{others} files are no CT slices"
        raise ScanError(source, code="unreadable_file", found=found, expected="CT slices", do=AGAIN)
    whole = stack([instance for _, instance in pairs], source=str(source))
    if int(np.prod(whole.grid.shape, dtype=np.int64)) > MAX_VOXELS:
        found = f"{' × '.join(map(str, whole.grid.shape))} voxels"
        raise ScanError(source, code="too_large", found=found, expected=f"at most {MAX_VOXELS} voxels", do="Split the series.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is found by the checks below, with the file's name
        volume, notes = _voxels(whole, source)
    return Reading(volume, tuple(dict.fromkeys((*whole.notes, *notes))), tuple(i.name for i in whole.instances))


def _voxels(whole: Stack, source: Path) -> tuple[Volume, list[str]]:
    twins: dict[str, list[str]] = {}
    for first, second in whole.twins:
        twins.setdefault(first.name, []).append(second.name)
    voxels = np.empty(whole.grid.shape, dtype=np.int16)
    notes: list[str] = []
    scales = set()
    for index, instance in enumerate(whole.instances):
        hu, scale, own_notes = _slice_hu(source, instance.name)
        for twin in twins.get(instance.name, ()):
            if not np.array_equal(_slice_hu(source, twin)[0], hu):
                found = f"{instance.name} and {twin} lie at one place and differ"
                raise ScanError(source, code="conflicting_slices", found=found, expected="one slice a place", do=AGAIN)
        if voxels.dtype == np.int16 and not _fits(hu):
            voxels = voxels.astype(np.float32)
        voxels[index] = hu
        scales.add(scale)
        notes += own_notes
    if len(scales) > 1:
        notes.append("rescale_varies")
    return Volume(voxels, whole.grid.affine), notes


def _slice_hu(source: Path, name: str) -> tuple[Slice, tuple[float, float], list[str]]:
    """Return one slice in HU as float32, its slope and intercept, and notes."""
    header, stored = _raw(source, name)
    try:
        slope, intercept, notes = _rescale(header)
        padding = _padding(header)
    except BROKEN as error:
        found = f"{name}: {_short(error)}"
        raise ScanError(source, code="unreadable_file", found=found, expected="a readable rescale", do=AGAIN) from error
    hu = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    if padding is not None and not AIR_HU <= padding * slope + intercept <= HIGHEST_HU:
        hu[stored == _wrapped(padding, header)] = AIR_HU
        notes.append("padding_replaced")
    if hu.min() < AIR_HU:
        np.maximum(hu, AIR_HU, out=hu)
        notes.append("padding_replaced")
    return hu, (slope, intercept), notes


def _raw(source: Path, name: str) -> tuple[Any, Slice]:
    """Return a file's header and its values as they are stored."""
    try:
        dataset = pydicom.dcmread(source / name, force=True)
        if not hasattr(dataset, "file_meta") or "TransferSyntaxUID" not in dataset.file_meta:
            dataset.ensure_file_meta()
            dataset.file_meta.TransferSyntaxUID = _bare_syntax(dataset)
        if "PixelData" not in dataset:
            raise EOFError("the file ends before its pixels")
        return dataset, dataset.pixel_array
    except BROKEN as error:
        cut = _is_cut(error)
        raise ScanError(
            source,
            code="truncated_pixels" if cut else "undecodable_pixels",
            found=f"{name}: {_short(error)}",
            expected="pixels for every row and column",
            do="Copy or export the file again." if cut else "Export the series uncompressed.",
        ) from error


def _bare_syntax(dataset: Any) -> str:
    """Return the transfer syntax of a file without file meta, as pydicom found it out while reading."""
    implicit, little = dataset.original_encoding
    if implicit:
        return str(pydicom.uid.ImplicitVRLittleEndian)
    return str(pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian)


def _rescale(header: Any) -> tuple[float, float, list[str]]:
    notes = []
    if "RescaleSlope" not in header or "RescaleIntercept" not in header:
        notes.append("no_rescale")
    if str(header.get("RescaleType") or "HU").upper() not in {"HU", "US"}:
        notes.append("rescale_type")
    if header.get("PhotometricInterpretation") == "MONOCHROME1":
        notes.append("monochrome1")  # how to display it; HU follow from the rescale alone
    if str(header.get("LossyImageCompression") or "00") == "01":
        notes.append("lossy")
    slope = header.get("RescaleSlope")
    intercept = header.get("RescaleIntercept")
    return float(1 if slope is None else slope) or 1.0, float(0 if intercept is None else intercept), notes


def _padding(header: Any) -> int | None:
    value = header.get("PixelPaddingValue")
    return value if isinstance(value, int) else None


def _wrapped(padding: int, header: Any) -> int:
    """Return a padding value as it reads after pydicom has cleared the bits above the stored ones."""
    span = 1 << int(header.BitsStored)
    wrapped = padding % span
    return wrapped - span if header.PixelRepresentation and wrapped >= span // 2 else wrapped


def _fits(hu: Slice) -> bool:
    limits = np.iinfo(np.int16)
    return bool(hu.max() <= limits.max and hu.min() >= limits.min and np.array_equal(hu, np.rint(hu)))


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
