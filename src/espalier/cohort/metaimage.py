"""MetaImage files (.mha, .mhd) to volumes in HU: judged here, since ITK reads packed voxels that are cut in silence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from espalier.cohort.raw_voxels import DataFile, Layout, header_bytes, layout_of, read_layout, refuse_axes, refuse_colour
from espalier.cohort.stored import CONVERT, COPY, VolumeHeader
from espalier.cohort.volume import Reading
from espalier.errors import ScanError
from espalier.geometry import Affine

TYPES: Final[Mapping[str, str]] = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
"""Voxel types (ITK, MetaIO)."""
BYTE_ORDER: Final = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
AGAINST: Final[Mapping[str, str]] = {"R": "L", "L": "R", "A": "P", "P": "A", "I": "S", "S": "I"}
UNIT_LENGTH: Final = 1e-3
CLEAR: Final = 0.8
"""Cosine from which an axis runs clearly along one of the body."""


def read_metaimage_header(path: Path) -> VolumeHeader:
    """Return the grid of a MetaImage file without its voxels; raise `ScanError` as `read_metaimage` does."""
    return _layout(path).header


def read_metaimage(path: Path) -> Reading:
    """Return a MetaImage file, or a header with its data file beside it, as a volume in HU.

    Raises
    ------
    ScanError
        With the code `missing_file`, `unreadable_file`, `not_metaimage`, `not_three_dimensional`, `colour`, `too_large`,
        `truncated`, `corrupt`, `bad_affine`, `no_orientation`, `outside_its_folder` or `nan_voxels`.
    """
    return read_layout(path, _layout(path))


def _layout(path: Path) -> Layout:
    fields, start = _fields(path)
    try:
        sizes = _sizes(path, fields)
        affine, notes = _affine(path, fields)
        dtype, data = _dtype(path, fields), _data_file(path, fields, start)
    except ValueError as error:
        raise _wrong(path, "numbers that are none") from error
    if dtype.itemsize > 1 and not any(name in fields for name in BYTE_ORDER):
        notes = (*notes, "byte_order_assumed")
    return layout_of(path, data, sizes=sizes, dtype=dtype, affine=affine, notes=notes)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the header's fields, and where it ends: behind the line that names the data file."""
    start = header_bytes(path, kind="MetaImage")
    fields: dict[str, str] = {}
    end = 0
    while end < len(start):
        begin, end = end, start.find(b"\n", end) + 1 or len(start)
        name, equals, value = start[begin:end].decode("utf-8", "replace").partition("=")
        name, value = name.strip(), value.strip()
        if not equals and name:
            break
        if fields.setdefault(name, value) != value and name != "Comment":
            raise _wrong(path, f"two values of {name[:20]}")
        if name == "ElementDataFile":
            return fields, end
    raise _wrong(path, "no MetaImage header")


def _sizes(path: Path, fields: Mapping[str, str]) -> tuple[int, int, int]:
    sizes = tuple(int(n) for n in fields.get("DimSize", "").split())
    if int(fields.get("ElementNumberOfChannels", "1")) != 1 or fields.get("ElementType", "").endswith("_ARRAY"):
        raise refuse_colour(path, "several numbers a voxel")
    if len(sizes) != 3 or int(fields.get("NDims", "0")) != 3:
        raise refuse_axes(path, f"{len(sizes)} axes")
    return sizes[0], sizes[1], sizes[2]


@np.errstate(all="ignore")  # what overflows is judged in the end, by `header_of`
def _affine(path: Path, fields: Mapping[str, str]) -> tuple[Affine, tuple[str, ...]]:
    """Return the affine and notes: ITK's space is LPS+, and TransformMatrix holds the direction of each axis in turn."""
    matrix = _first(fields, "TransformMatrix", "Rotation", "Orientation")
    origin = _first(fields, "Offset", "Origin", "Position")
    spacing = fields.get("ElementSpacing")
    if matrix is None or origin is None or spacing is None:
        found = "no TransformMatrix, Offset or ElementSpacing that say where it lies"
        raise ScanError(path, code="no_orientation", found=found, expected="all three", do=CONVERT)
    directions = np.array(matrix.split(), dtype=np.float64).reshape(3, 3)
    steps = np.array(spacing.split(), dtype=np.float64).reshape(3)
    lengths = np.linalg.norm(directions, axis=1)
    unit = fields.get("DistanceUnits", "mm").lower()
    # Longer vectors, negative spacings or another unit leave open how large a voxel is.
    if not (np.abs(lengths - 1) < UNIT_LENGTH).all() or not (steps > 0).all() or unit not in {"mm", "?", ""}:
        found = f"spacing {spacing[:40]}, directions of length {lengths}, lengths in {unit[:10]}"
        raise ScanError(path, code="bad_affine", found=found, expected="spacing in mm and unit directions", do=CONVERT)
    affine = np.eye(4)
    affine[:3, :3] = (directions.T * steps)[:, ::-1]
    affine[:3, 3] = np.array(origin.split(), dtype=np.float64).reshape(3)
    told = fields.get("AnatomicalOrientation", "???").upper()
    doubtful = "?" in told or np.abs(directions).max(axis=1).min() < CLEAR
    return affine, () if doubtful or told == _letters(directions) else ("anatomical_orientation_differs",)


def _letters(directions: Float[np.ndarray, "3 3"]) -> str:
    """Return where each axis comes from, as ITK writes AnatomicalOrientation beside the matrix that counts."""
    towards = [("LPS" if row.max() >= -row.min() else "RAI")[int(np.abs(row).argmax())] for row in directions]
    return "".join(AGAINST[letter] for letter in towards)


def _dtype(path: Path, fields: Mapping[str, str]) -> np.dtype:
    kind = TYPES.get(fields.get("ElementType", ""))
    if kind is None:
        raise _wrong(path, f"voxels of type {fields.get('ElementType', 'none')[:20]}")
    told = {fields[name].lower() for name in BYTE_ORDER if name in fields}
    if len(told) > 1 or not told <= {"true", "false"}:
        raise _wrong(path, "no clear word on the order of its bytes")
    return np.dtype((">" if "true" in told else "<") + kind)


def _data_file(path: Path, fields: Mapping[str, str], start: int) -> DataFile:
    name, skip = fields["ElementDataFile"], int(fields.get("HeaderSize", "0"))
    packed = fields.get("CompressedData", "False").lower()
    if fields.get("BinaryData", "True").lower() != "true" or packed not in {"true", "false"}:
        raise _wrong(path, "voxels that are not binary")
    mapped = [fields.get(f"ElementToIntensityFunction{what}", usual) for what, usual in (("Slope", "1"), ("Offset", "0"))]
    if [float(number) for number in mapped] != [1.0, 0.0]:
        raise _wrong(path, "a slope or offset that other programs pass over")
    local = name.upper() == "LOCAL"
    if not name or name.upper().split()[0] == "LIST" or "%" in name:
        raise _wrong(path, "voxels in several files")
    if skip < -1 or (skip and (local or packed == "true")):
        raise _wrong(path, "a header size that leads nowhere")
    return DataFile(name=None if local else name, start=start, skip=skip, packing="zlib" if packed == "true" else "raw")


def _first(fields: Mapping[str, str], *names: str) -> str | None:
    return next((fields[name] for name in names if name in fields), None)


def _wrong(path: Path, found: str) -> ScanError:
    return ScanError(path, code="not_metaimage", found=found, expected="a MetaImage header of a CT", do=COPY)
