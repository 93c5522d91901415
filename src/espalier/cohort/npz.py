"""NumPy archives (.npz) to volumes in HU: nothing is unpickled, and the geometry must be stated, in file or study."""

import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from jaxtyping import Shaped

from espalier.cohort.raw_voxels import refuse_axes, refuse_colour
from espalier.cohort.stored import COPY, VolumeHeader, header_of, hu_of_stored, opened_file, refuse_too_large, stored_voxels
from espalier.cohort.volume import Reading, Volume
from espalier.errors import ScanError
from espalier.geometry import Affine

VOXELS: Final = ("ct", "voxels", "volume", "data")
GEOMETRY: Final[Mapping[str, tuple[str, ...]]] = {
    "affine": ("affine",), "spacing": ("spacing_mm", "spacing"), "origin": ("origin_mm", "origin"), "axes": ("axes",),
}  # fmt: skip
"""Arrays that state where the voxels lie, each under its names."""
AXES: Final = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
"""Which world axis (x, y, z; LPS+) a letter runs along, and in which direction."""
LARGEST_SMALL: Final = 4096
"""Arrays that state geometry are smaller than this many bytes."""
MOST_ARRAYS: Final = 1000
BROKEN: Final = (zipfile.BadZipFile, zlib.error, LZMAError, OSError, EOFError, ValueError, KeyError, TypeError, OverflowError,
    NotImplementedError, RuntimeError, SyntaxError, IndexError)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Array:
    """What the header of one array says, and how many bytes it takes."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    start: int
    size: int


def read_npz_header(path: Path, *, spacing_mm: Sequence[float] | None = None, axes: str | None = None) -> VolumeHeader:
    """Return the grid of an `.npz` without its voxels; raise `ScanError` as `read_npz` does."""
    with _opened(path) as archive:
        return _header(path, archive, spacing_mm, axes)[0]


def read_npz(path: Path, *, spacing_mm: Sequence[float] | None = None, axes: str | None = None) -> Reading:
    """Return an `.npz` as a volume in HU.

    Parameters
    ----------
    path
        It holds the voxels as `ct`, `voxels`, `volume`, `data` or its only array of three axes, and may hold `affine` (4 × 4,
        from index to mm, LPS+), or `spacing_mm` with `axes` and, as wanted, `origin_mm`.
    spacing_mm, axes
        Geometry where the file states none: along the array's axes in mm, and where each runs to, as "IPL".

    Raises
    ------
    ScanError
        With the code `missing_file`, `unreadable_file`, `not_npz`, `not_three_dimensional`, `colour`, `too_large`,
        `truncated`, `corrupt`, `bad_affine`, `no_orientation` or `nan_voxels`.
    """
    with _opened(path) as archive:
        header, name, array = _header(path, archive, spacing_mm, axes)
        stored = _voxels(path, archive, name, array)
    voxels, notes = hu_of_stored(path, stored)
    return Reading(Volume(voxels, header.grid.affine), (*header.notes, *notes))


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise ScanError(path, code="missing_file", found="no such file", expected="an .npz file", do=COPY)
    with opened_file(path, path) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except BROKEN as error:
            stream.seek(0)
            cut = stream.read(4) == b"PK\x03\x04"  # it begins well, and its list at the end is missing
            found = "no list of arrays at its end" if cut else "no archive of arrays"
            raise ScanError(
                path, code="truncated" if cut else "not_npz", found=found, expected="an .npz file", do=COPY
            ) from error
        with archive:
            yield archive


def _header(
    path: Path, archive: zipfile.ZipFile, spacing_mm: Sequence[float] | None, axes: str | None
) -> tuple[VolumeHeader, str, _Array]:
    names = [name for name in archive.namelist() if name.endswith(".npy")]
    if len(names) > MOST_ARRAYS or len(set(names)) < len(names):
        raise ScanError(path, code="not_npz", found="too many arrays, or two of one name", expected="a few arrays", do=COPY)
    arrays = {name.removesuffix(".npy"): _told(path, archive, name) for name in names}
    name, array = _volume(path, arrays)
    info = archive.getinfo(f"{name}.npy")
    there = min(info.compress_size, path.stat().st_size)
    refuse_too_large(path, array.shape, array.dtype.itemsize, there=there, packed=info.compress_type != zipfile.ZIP_STORED)
    stated: dict[str, Any] = {
        what: _small(path, archive, own, arrays[own]) for what, keys in GEOMETRY.items() for own in keys[::-1] if own in arrays
    }
    shape = (array.shape[0], array.shape[1], array.shape[2])
    return header_of(path, shape, _affine(path, stated, spacing_mm, axes)), name, array


def _volume(path: Path, arrays: Mapping[str, _Array]) -> tuple[str, _Array]:
    """Return the array that is the volume: by its name, or since no other has three axes."""
    solid = [name for name, array in arrays.items() if len(array.shape) == 3]
    name = next((name for name in VOXELS if name in arrays), solid[0] if len(solid) == 1 else "")
    if not name or len(arrays[name].shape) != 3:
        raise refuse_axes(path, f"{len(solid)} arrays of three axes, none of them named ct or voxels")
    if arrays[name].dtype.hasobject:
        raise ScanError(path, code="not_npz", found="pickled objects", expected="plain numbers", do="Save plain numbers.")
    if arrays[name].dtype.kind not in "iuf":
        raise refuse_colour(path, f"voxels of type {arrays[name].dtype}"[:60])
    return name, arrays[name]


def _told(path: Path, archive: zipfile.ZipFile, name: str) -> _Array:
    try:
        with archive.open(name) as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream)
            return _Array(shape, fortran, dtype, stream.tell(), archive.getinfo(name).file_size)
    except (*BROKEN, MemoryError) as error:  # a header that nests too deep is told as want of memory
        raise _corrupt(path, error) from error


def _voxels(path: Path, archive: zipfile.ZipFile, name: str, array: _Array) -> Shaped[np.ndarray, "z y x"]:
    x, y, z = array.shape if array.fortran else array.shape[::-1]
    with _behind_header(path, archive, name, array) as stream:
        stored = stored_voxels(path, stream, (z, y, x), array.dtype, "raw")
    return stored.T if array.fortran else stored


def _small(path: Path, archive: zipfile.ZipFile, name: str, array: _Array) -> Shaped[np.ndarray, "..."]:
    count = int(np.prod(array.shape, dtype=np.float64))
    if count > LARGEST_SMALL or array.dtype.kind not in "iufUS" or array.size > 2 * LARGEST_SMALL:
        raise ScanError(
            path, code="bad_affine", found=f"a large array {name}"[:60], expected="a few numbers", do="Save it again."
        )
    with _behind_header(path, archive, name, array) as stream:
        raw = stream.read()
    try:
        return np.frombuffer(raw, dtype=array.dtype).reshape(array.shape, order="F" if array.fortran else "C")
    except ValueError as error:
        raise _corrupt(path, error) from error


@contextmanager
def _behind_header(path: Path, archive: zipfile.ZipFile, name: str, array: _Array) -> Iterator[IO[bytes]]:
    try:
        with archive.open(f"{name}.npy") as stream:
            stream.read(array.start)
            yield stream
    except BROKEN as error:
        raise _corrupt(path, error) from error


@np.errstate(all="ignore")  # what overflows is judged in the end, by `header_of`
def _affine(path: Path, stated: Mapping[str, Any], spacing_mm: Sequence[float] | None, axes: str | None) -> Affine:
    spacing, letters = stated.get("spacing", spacing_mm), stated.get("axes", axes)
    if "affine" not in stated and (spacing is None or letters is None):
        found, do = "no word on where its voxels lie", "Save `affine` with it, or set npz_spacing_mm and npz_axes."
        raise ScanError(path, code="no_orientation", found=found, expected="an affine, or spacing and axes", do=do)
    try:
        if "affine" in stated:
            return np.asarray(stated["affine"], dtype=np.float64).reshape(4, 4)
        affine = np.zeros((4, 4))
        affine[:3, 3], affine[3, 3] = np.asarray(stated.get("origin", np.zeros(3)), dtype=np.float64).reshape(3), 1.0
        steps = np.asarray(spacing, dtype=np.float64).reshape(3)
        for axis, letter in enumerate(_letters(letters)):
            world, sign = AXES[letter]
            affine[world, axis] = sign * (steps[axis] if steps[axis] > 0 else np.nan)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        found, expected = "a stated geometry that is none", "affine, or spacing_mm and axes"
        raise ScanError(path, code="bad_affine", found=found, expected=expected, do="Save it again.") from error
    return affine


def _letters(told: Any) -> str:
    """Return axes that were saved as one word or as three letters, as text or as bytes."""
    parts = [part.decode("ascii") if isinstance(part, bytes) else str(part) for part in np.ravel(told).tolist()]
    return "".join(parts).upper()


def _corrupt(path: Path, error: BaseException) -> ScanError:
    found = (str(error) or type(error).__name__).splitlines()[0][:200]
    cut = isinstance(error, EOFError)
    return ScanError(path, code="truncated" if cut else "corrupt", found=found, expected="a whole file", do=COPY)
