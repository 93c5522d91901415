"""Headers that say where raw voxels lie, as NRRD and MetaImage do: in which file, from which byte on, and how packed."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from espalier.cohort.stored import (
    CONVERT,
    COPY,
    Packing,
    VolumeHeader,
    header_of,
    hu_of_stored,
    opened_file,
    refuse_too_large,
    stored_voxels,
)
from espalier.cohort.volume import Reading, Volume
from espalier.errors import ScanError
from espalier.geometry import Affine

LONGEST_HEADER: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layout:
    """Where the voxels of a volume lie and what they are: which file, behind how many bytes, and in which form."""

    header: VolumeHeader
    dtype: np.dtype
    packing: Packing
    file: Path
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DataFile:
    """A file of voxels as a header tells it: the name, or None where they follow the header itself.

    `start` is where the header ends; `lines` and `skip` come before the voxels, and a skip of -1 counts back from the end.
    """

    name: str | None
    start: int
    lines: int = 0
    skip: int = 0
    packing: Packing = "raw"


def layout_of(
    path: Path, data: DataFile, *, sizes: tuple[int, int, int], dtype: np.dtype, affine: Affine, notes: tuple[str, ...] = ()
) -> Layout:
    """Return where the voxels lie after judging sizes, place and file; nothing of the voxels is read.

    Parameters
    ----------
    path
        The header.
    data
        What it tells of its data file.
    sizes
        Along x, y, z of the array, fastest first.
    dtype, affine
        As stored, and from index (z, y, x) to mm, LPS+.
    notes
        What is unusual so far.

    Raises
    ------
    ScanError
        `outside_its_folder`, `missing_file`, `too_large`, `truncated`, `corrupt` or `bad_affine`.
    """
    file = path if data.name is None else _beside(path, data.name)
    offset = data.start if data.name is None else 0
    size = file.stat().st_size
    if data.lines:
        offset = _behind_lines(path, file, offset, data.lines)
    there = max(0, size - offset - max(0, data.skip))
    refuse_too_large(path, sizes, dtype.itemsize, there=there, packed=data.packing != "raw")
    wanted = int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
    offset = size - wanted if data.skip == -1 else offset + data.skip
    if data.packing == "raw" and size - offset > wanted:
        found = f"{size - offset} bytes of voxels"  # another type or other sizes than the header says
        raise ScanError(path, code="corrupt", found=found, expected=f"{wanted} bytes", do=COPY)
    header = header_of(path, (sizes[2], sizes[1], sizes[0]), affine, notes)
    return Layout(header=header, dtype=dtype, packing=data.packing, file=file, offset=offset)


def read_layout(path: Path, layout: Layout) -> Reading:
    """Return the volume in HU that a header lays out.

    Raises
    ------
    ScanError
        `unreadable_file`, `truncated`, `corrupt` or `nan_voxels`.
    """
    with opened_file(path, layout.file) as stream:
        stream.seek(layout.offset)
        stored = stored_voxels(path, stream, layout.header.grid.shape, layout.dtype, layout.packing)
    voxels, notes = hu_of_stored(path, stored)
    return Reading(Volume(voxels, layout.header.grid.affine), (*layout.header.notes, *notes))


def header_bytes(path: Path, *, kind: str) -> bytes:
    """Return the start of a file, long enough for any header; raise `ScanError` where there is none or it may not be read."""
    if not path.is_file():
        raise ScanError(path, code="missing_file", found="no such file", expected=f"a {kind} file", do=COPY)
    with opened_file(path, path) as stream:
        return stream.read(LONGEST_HEADER)


def refuse_colour(path: Path, found: str) -> ScanError:
    """Return the error for more than one number a voxel."""
    return ScanError(path, code="colour", found=found, expected="one number a voxel", do="Take the CT itself.")


def refuse_axes(path: Path, found: str) -> ScanError:
    """Return the error for more or fewer than three axes."""
    return ScanError(path, code="not_three_dimensional", found=found, expected="3 axes", do="Split it into volumes.")


def _behind_lines(path: Path, file: Path, offset: int, lines: int) -> int:
    with opened_file(path, file) as stream:
        stream.seek(offset)
        for _ in range(lines):
            stream.readline(LONGEST_HEADER)
        return stream.tell()


def _beside(path: Path, told: str) -> Path:
    """Return the data file that a header names; it must lie in the header's folder or below, links followed."""
    name = PurePosixPath(told)
    try:
        place = (path.parent / name).resolve()
        inside = not name.is_absolute() and "\\" not in told and place.is_relative_to(path.parent.resolve())
        there = inside and place.is_file()
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that no disk takes
        inside, there = True, False
    if not inside:
        found = "a data file outside the header's folder"
        raise ScanError(path, code="outside_its_folder", found=found, expected="one file beside the header", do=CONVERT)
    if not there:
        found = "its data file is not there, or it is a list of files"
        raise ScanError(path, code="missing_file", found=found, expected="one file beside the header", do=COPY)
    return place
