"""NRRD files to volumes in HU: the header is judged here, since ITK makes up a place in silence where the file states none."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from espalier.cohort.raw_voxels import DataFile, Layout, header_bytes, layout_of, read_layout, refuse_axes, refuse_colour
from espalier.cohort.stored import CONVERT, COPY, Packing, VolumeHeader
from espalier.cohort.volume import Reading
from espalier.errors import ScanError
from espalier.geometry import Affine

MAGIC: Final = b"NRRD000"
TYPES: Final[Mapping[str, str]] = {
    "signed char": "i1", "int8": "i1", "int8_t": "i1",
    "uchar": "u1", "unsigned char": "u1", "uint8": "u1", "uint8_t": "u1",
    "short": "i2", "short int": "i2", "signed short": "i2", "signed short int": "i2", "int16": "i2", "int16_t": "i2",
    "ushort": "u2", "unsigned short": "u2", "unsigned short int": "u2", "uint16": "u2", "uint16_t": "u2",
    "int": "i4", "signed int": "i4", "int32": "i4", "int32_t": "i4",
    "uint": "u4", "unsigned int": "u4", "uint32": "u4", "uint32_t": "u4",
    "longlong": "i8", "long long": "i8", "long long int": "i8", "signed long long": "i8", "signed long long int": "i8",
    "int64": "i8", "int64_t": "i8",
    "ulonglong": "u8", "unsigned long long": "u8", "unsigned long long int": "u8", "uint64": "u8", "uint64_t": "u8",
    "float": "f4", "double": "f8",
}  # fmt: skip
"""Names of voxel types (NRRD 5, type)."""
PACKINGS: Final[Mapping[str, Packing]] = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2",
}  # fmt: skip
SPACES: Final[Mapping[str, tuple[int, int, int]]] = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1), "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
"""Signs that turn a space into LPS+."""
MM_OF: Final[Mapping[str, float]] = {
    "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "µm": 0.001, "": 1.0,
}  # fmt: skip
COLOURS: Final = ("vector", "color", "matrix", "normal", "gradient", "complex", "quaternion")
"""Kinds of an axis that hold several numbers for one voxel (NRRD 5, kinds)."""
VECTOR: Final = re.compile(r"\(([^()]*)\)|(none)")


def read_nrrd_header(path: Path) -> VolumeHeader:
    """Return the grid of an NRRD file without its voxels; raise `ScanError` as `read_nrrd` does."""
    return _layout(path).header


def read_nrrd(path: Path) -> Reading:
    """Return an NRRD file, or a header with its data file beside it, as a volume in HU.

    Raises
    ------
    ScanError
        With the code `missing_file`, `unreadable_file`, `not_nrrd`, `not_three_dimensional`, `colour`, `too_large`,
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
    return layout_of(path, data, sizes=sizes, dtype=dtype, affine=affine, notes=notes)


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the header's fields by their names in lower case without spaces, and where it ends."""
    start = header_bytes(path, kind="NRRD")
    if not start.startswith(MAGIC):
        raise _wrong(path, "no NRRD header")
    ends = [place + len(end) for end in (b"\n\n", b"\r\n\r\n") if (place := start.find(end)) >= 0]
    if not ends and (path.suffix.lower() != ".nhdr" or len(start) < path.stat().st_size):
        raise _wrong(path, "a header without an end")
    text = start[: min(ends, default=len(start))].decode("utf-8", "replace")
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines()[1:]:
        name, colon, value = line.partition(":")
        if not colon or line.startswith("#") or value.startswith("="):
            continue
        name, value = name.lower().replace(" ", ""), value.strip()
        if fields.setdefault(name, value) != value:
            raise _wrong(path, f"two values of {name[:20]}")
    if not ends and not text.endswith(("\n", "\r")) and name != "datafile":
        raise _wrong(path, "a header that ends within a line")  # a place in mm may have lost its last digits
    return fields, min(ends, default=len(start))


def _sizes(path: Path, fields: Mapping[str, str]) -> tuple[int, int, int]:
    sizes = tuple(int(n) for n in fields.get("sizes", "").split())
    kinds = fields.get("kinds", "").lower()
    if int(fields.get("dimension", "0")) != len(sizes) or not sizes:
        raise _wrong(path, "sizes that do not fit its dimension")
    if any(word in kinds for word in COLOURS):
        raise refuse_colour(path, f"axes of the kinds {kinds[:60]}")
    if len(sizes) != 3 or set(kinds.split()) - {"domain", "space", "none", "???"}:
        raise refuse_axes(path, f"{len(sizes)} axes of the kinds {kinds[:60] or 'unknown'}")
    return sizes[0], sizes[1], sizes[2]


@np.errstate(all="ignore")  # what overflows is judged in the end, by `header_of`
def _affine(path: Path, fields: Mapping[str, str]) -> tuple[Affine, tuple[str, ...]]:
    signs = SPACES.get(fields.get("space", "").lower())
    if signs is None or "spacedirections" not in fields or "spaceorigin" not in fields:
        found = "no space, directions or origin that say where it lies"
        raise ScanError(path, code="no_orientation", found=found, expected="space, directions and origin", do=CONVERT)
    directions = [_vector(one) for one in VECTOR.finditer(fields["spacedirections"])]
    if len(directions) != 3:
        raise _wrong(path, f"{len(directions)} space directions")
    origin = VECTOR.fullmatch(fields["spaceorigin"])
    if origin is None:
        raise _wrong(path, "a space origin that is none")
    units = {unit.strip().lower() for unit in re.findall(r'"([^"]*)"', fields.get("spaceunits", '""'))}
    if len(units) != 1 or not units <= MM_OF.keys():
        found = f"lengths in {', '.join(sorted(units))[:40] or 'no unit'}"
        raise ScanError(path, code="bad_affine", found=found, expected="mm", do=CONVERT)
    mm = MM_OF[units.pop()]
    affine = np.eye(4)
    for axis, direction in enumerate(directions):
        affine[:3, 2 - axis] = direction * signs * mm
    affine[:3, 3] = _vector(origin) * signs * mm
    return affine, ("unit_converted",) if mm != 1.0 else ()


def _vector(match: re.Match[str]) -> Float[np.ndarray, " 3"]:
    numbers = [float(n) for n in (match[1] or "").split(",")]
    if len(numbers) != 3:
        raise ValueError("a vector of another length")
    return np.array(numbers)


def _dtype(path: Path, fields: Mapping[str, str]) -> np.dtype:
    kind = TYPES.get(" ".join(fields.get("type", "").lower().split()))
    if kind is None:
        raise _wrong(path, f"voxels of type {fields.get('type', 'none')[:20]}")
    endian = fields.get("endian", "").lower()
    if kind[1] != "1" and endian not in {"little", "big"}:
        raise _wrong(path, "no word on the order of its bytes")
    return np.dtype((">" if endian == "big" else "<") + kind)


def _data_file(path: Path, fields: Mapping[str, str], start: int) -> DataFile:
    packing = PACKINGS.get(fields.get("encoding", "").lower())
    if packing is None:
        raise _wrong(path, f"voxels encoded as {fields.get('encoding', 'nothing')[:20]}")
    lines, skip = int(fields.get("lineskip", "0")), int(fields.get("byteskip", "0"))
    # Bytes to skip within packed voxels, and data in many files or in a list of files, are left to other programs.
    if not 0 <= lines <= 1000 or skip < -1 or (skip and packing != "raw"):
        raise _wrong(path, "lines or bytes to skip that lead nowhere")
    name = fields.get("datafile")
    if name is not None and (not name or name.upper().split()[0] == "LIST" or "%" in name):
        raise _wrong(path, "voxels in several files")
    return DataFile(name=name, start=start, lines=lines, skip=skip, packing=packing)


def _wrong(path: Path, found: str) -> ScanError:
    return ScanError(path, code="not_nrrd", found=found, expected="an NRRD header of a CT", do=COPY)
