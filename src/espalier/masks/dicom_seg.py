"""DICOM segmentations: binary, fractional or label maps, every frame in its own place (PS3.3, C.8.20)."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pydicom
from jaxtyping import Bool, Shaped
from pydicom.pixels import iter_pixels

from espalier.cohort.elements import BROKEN, text_of
from espalier.cohort.stored import MAX_VOXELS
from espalier.errors import ScanError
from espalier.geometry import Grid
from espalier.masks.dicom_frames import Place, lattice, place_of
from espalier.masks.files import Masks
from espalier.masks.given import OVERLAP, Groups, MaskFile, Painted, paint
from espalier.masks.placement import embedded

FRACTIONAL: Final = "mask_fractional"
"""Noted where the file holds shares of voxels; from one half on a voxel counts."""
LARGEST_PLANE: Final = 2**24
NATIVE: Final = frozenset({str(uid) for uid in pydicom.uid.UncompressedTransferSyntaxes})
Plane = Shaped[np.ndarray, "y x"]


@dataclass(frozen=True, slots=True, eq=False)
class _Frames:
    """A segmentation's frames: the segment and the place of each."""

    dataset: Any
    kind: str
    rows: int
    columns: int
    segments: tuple[int, ...]
    places: tuple[Place, ...]


def open_seg(path: Path, grid: Grid) -> MaskFile:
    """Return a DICOM segmentation, opened.

    Its labels come out on the scan's grid where all its frames lie on slices of the scan, voxel on voxel; else on the grid
    that its frames make.

    Parameters
    ----------
    path
        The file.
    grid
        Of the scan.

    Raises
    ------
    ScanError
        `mask_unreadable`, `mask_position` or `mask_frames_uneven`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of it is judged here
            dataset = pydicom.dcmread(path, force=True)
            frames = _frames(dataset, path)
            names = _names(dataset)
    except BROKEN as error:
        raise _unreadable(path, str(error) or type(error).__name__) from error
    return MaskFile(path, names, lambda groups: _painted(frames, groups, grid, path))


def _painted(frames: _Frames, groups: Groups, grid: Grid, path: Path) -> Painted:
    own, slices = lattice(frames.places, (frames.rows, frames.columns), like=grid, source=path)
    table = np.zeros(1 << 16, dtype=np.uint8)
    for value, group in enumerate(groups, start=1):
        table[list(group)] = value
    voxels = np.zeros(own.shape, dtype=np.uint8)
    overlap = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for n, plane in _planes(frames, wanted=[bool(table[s]) for s in frames.segments]):
                labels = table[plane] if frames.kind == "LABELMAP" else plane * table[frames.segments[n]]
                for value in np.unique(labels[labels > 0]):
                    overlap |= paint(voxels[slices[n]], int(value), labels == value)
    except BROKEN as error:
        raise _unreadable(path, str(error) or type(error).__name__) from error
    masks = embedded(Masks(voxels, own.affine, {}), grid)
    notes = ([FRACTIONAL] if frames.kind == "FRACTIONAL" else []) + ([OVERLAP] if overlap else [])
    return Painted(masks.voxels, masks.affine, tuple(notes))


def _frames(dataset: Any, path: Path) -> _Frames:
    rows, columns, count = (int(dataset.get(name) or 0) for name in ("Rows", "Columns", "NumberOfFrames"))
    kind = str(dataset.get("SegmentationType") or "").upper()
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if kind not in {"BINARY", "FRACTIONAL", "LABELMAP"}:
        raise ValueError(f"a segmentation of type {kind[:20] or 'none'}")
    if rows < 1 or columns < 1 or rows * columns > LARGEST_PLANE or rows * columns * len(own) > MAX_VOXELS:
        raise ValueError(f"{len(own)} frames of {rows} × {columns} voxels")
    if not own or len(own) != count:
        raise ValueError(f"{count} frames, of which {len(own)} are described")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    segments = tuple(0 if kind == "LABELMAP" else _segment(frame, shared) for frame in own)
    places = tuple(place_of(frame, shared, source=path) for frame in own)
    _refuse_short(dataset, rows * columns * count)
    return _Frames(dataset, kind, rows, columns, segments, places)


def _segment(frame: Any, shared: Any) -> int:
    found = frame.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
    number = int(found[0].ReferencedSegmentNumber) if found else 0
    if not 0 < number < 1 << 16:
        raise ValueError("a frame of no segment")
    return number


def _refuse_short(dataset: Any, voxels: int) -> None:
    """Raise where uncompressed pixels are fewer than the header claims, before memory is taken for them."""
    bits = int(dataset.BitsAllocated)
    if bits not in {1, 8, 16} or int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise ValueError(f"voxels of {bits} bits")
    if _syntax(dataset) in NATIVE and len(dataset.PixelData) * 8 < voxels * bits:
        raise EOFError(f"{len(dataset.PixelData)} bytes of voxels")


def _planes(frames: _Frames, *, wanted: Sequence[bool]) -> Iterator[tuple[int, Plane]]:
    """Yield the frames that hold something wanted: labels of a label map, else where the segment is."""
    dataset, shape = frames.dataset, (frames.rows, frames.columns)
    keep = [n for n, one in enumerate(wanted) if one or frames.kind == "LABELMAP"]
    if int(dataset.BitsAllocated) == 1 and _syntax(dataset) in NATIVE:
        for n in keep:
            yield n, _bits(dataset.PixelData, n * shape[0] * shape[1], shape)
        return
    most = int(dataset.get("MaximumFractionalValue") or 1) if frames.kind == "FRACTIONAL" else 1
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = _syntax(dataset)
    for n, plane in zip(keep, iter_pixels(dataset, indices=keep), strict=True):
        if plane.shape != shape:
            raise ValueError(f"a frame of {plane.shape} voxels")
        yield n, plane if frames.kind == "LABELMAP" else np.asarray(2 * plane.astype(np.int32) >= most)


def _bits(packed: bytes, first: int, shape: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """Return one frame of single bits, which need not begin with a byte (PS3.5, 8.1.1)."""
    count = shape[0] * shape[1]
    octets = np.frombuffer(packed, dtype=np.uint8, count=(first % 8 + count + 7) // 8, offset=first // 8)
    bits = np.unpackbits(octets, bitorder="little")[first % 8 : first % 8 + count]
    return bits.reshape(shape).astype(bool)


def _names(dataset: Any) -> tuple[dict[int, str], ...]:
    """Return what the segments are called: by their label, by the code of what they are, and by that of where they are."""
    labels, types, regions = {}, {}, {}
    for segment in dataset.get("SegmentSequence") or ():
        number = int(segment.get("SegmentNumber") or 0)
        if number <= 0 or number >= 1 << 16:
            continue
        labels[number] = text_of(segment, "SegmentLabel") or ""
        types[number] = _coded(segment, "SegmentedPropertyTypeCodeSequence", "SegmentedPropertyTypeModifierCodeSequence")
        regions[number] = _coded(segment, "AnatomicRegionSequence", "AnatomicRegionModifierSequence")
    if not labels:
        raise ValueError("no segment is described")
    return labels, types, regions


def _coded(segment: Any, what: str, modifier: str) -> str:
    """Return the meaning of a code with its modifier, which stands inside the code or beside it: "Kidney Left"."""
    codes = segment.get(what) or ()
    if not codes:
        return ""
    modifiers = codes[0].get(modifier) or segment.get(modifier) or ()
    return " ".join([text_of(codes[0], "CodeMeaning") or "", *(text_of(one, "CodeMeaning") or "" for one in modifiers)])


def _syntax(dataset: Any) -> str:
    told = dataset.file_meta.get("TransferSyntaxUID") if hasattr(dataset, "file_meta") else None
    if told:
        return str(told)
    implicit, _ = dataset.original_encoding
    return str(pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian)


def _unreadable(path: Path, found: str) -> ScanError:
    return ScanError(
        path,
        code="mask_unreadable",
        found=f"not readable as a DICOM segmentation ({found.splitlines()[0][:150]})",
        expected="a whole file",
        do="Copy or make the mask again.",
    )
