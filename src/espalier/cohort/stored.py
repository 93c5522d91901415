"""What single files of volumes share: sizes judged before memory is taken, packed voxels unpacked whole, numbers to HU."""

import bz2
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import IO, Final, Literal

import numpy as np
from jaxtyping import Shaped

from espalier.cohort.volume import AIR_HU
from espalier.errors import ScanError
from espalier.geometry import Affine, Grid, Voxels, direction_of, is_sheared, spacing_mm

Packing = Literal["raw", "gzip", "zlib", "bzip2"]
MAX_VOXELS: Final = 2**31
"""Larger volumes (1024 × 1024 × 2048) are refused before memory is taken."""
PACKED_BEST: Final = 1100
"""Deflate packs at most 1032 to 1; a header that claims more than this many times the file's bytes is wrong."""
PACKED_USUAL: Final = 200
BOMB_BYTES: Final = 2**26
"""A scan of more bytes that is packed more than 200 to 1 shows nothing; it is refused before it fills the memory."""
MOST_NAN: Final = 0.01
SPACINGS_MM: Final = (0.01, 100.0)
"""Voxels smaller or larger than this are in another unit than mm, or damaged."""
FARTHEST_MM: Final = 1e5
FLATTEST: Final = 0.1
"""Three unit axes that span less than this lie nearly in one plane; a gantry tilted by 30° leaves 0.87."""
COPY: Final = "Copy or convert the file again."
CONVERT: Final = "Convert it again from DICOM."
CHUNK: Final = 1 << 20
BROKEN: Final = (OSError, EOFError, ValueError, RuntimeError, zlib.error, LZMAError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, eq=False)
class VolumeHeader:
    """What a single file's header says: the grid (z, y, x; LPS+), and notes on how that was found."""

    grid: Grid
    notes: tuple[str, ...] = ()


@contextmanager
def opened_file(path: Path, file: Path) -> Iterator[IO[bytes]]:
    """Yield the open file of the scan `path`; raise `ScanError` `unreadable_file` where it may not be read."""
    try:
        stream = file.open("rb")
    except OSError as error:
        found = error.strerror or type(error).__name__
        do = "Mend its permissions, or copy it again."
        raise ScanError(path, code="unreadable_file", found=found, expected="a file that can be read", do=do) from error
    with stream:
        yield stream


def header_of(path: Path, shape: tuple[int, int, int], affine: Affine, notes: tuple[str, ...] = ()) -> VolumeHeader:
    """Return the header of a file whose affine was judged; a sheared one is noted.

    Raises
    ------
    ScanError
        `bad_affine`, where the affine is not finite, its axes span no volume, or its voxels are not of a size in mm.
    """
    found = _flaw(affine)
    if found:
        raise ScanError(path, code="bad_affine", found=found, expected="three independent axes in mm", do=CONVERT)
    return VolumeHeader(Grid(shape, affine), (*notes, *(["sheared"] if is_sheared(affine) else [])))


@np.errstate(all="ignore")
def _flaw(affine: Affine) -> str:
    if not np.isfinite(affine).all():
        return "an affine that is not finite"
    if np.abs(affine).max() > FARTHEST_MM or not np.array_equal(affine[3], [0, 0, 0, 1]):
        return "an affine that leads away from any patient"
    steps = spacing_mm(affine)
    if min(steps) < SPACINGS_MM[0] or max(steps) > SPACINGS_MM[1]:
        return f"voxels of {' × '.join(f'{step:.4g}' for step in steps)} mm"
    return "axes that span no volume" if abs(np.linalg.det(direction_of(affine))) < FLATTEST else ""


def refuse_too_large(path: Path, shape: tuple[int, ...], bytes_each: int, *, there: int, packed: bool) -> None:
    """Raise `ScanError` `too_large` or `truncated` where the claimed size is not one that a file of `there` bytes can hold."""
    voxels = 1
    for n in shape:
        voxels *= n
    if voxels > MAX_VOXELS or min(shape) < 1:
        found = f"{' × '.join(str(n) for n in shape)[:60]} voxels"
        raise ScanError(path, code="too_large", found=found, expected=f"1 to {MAX_VOXELS} voxels", do="Check its header.")
    if voxels * bytes_each > there * (PACKED_BEST if packed else 1):
        found = f"{there} bytes in the file"
        raise ScanError(path, code="truncated", found=found, expected=f"{voxels * bytes_each} bytes of voxels", do=COPY)
    if packed and voxels * bytes_each > max(BOMB_BYTES, there * PACKED_USUAL):
        found = f"{voxels * bytes_each} bytes of voxels packed into {there}"
        do = "Look at what it shows."
        raise ScanError(path, code="too_large", found=found, expected=f"at most {PACKED_USUAL} to 1", do=do)


def stored_voxels(path: Path, stream: IO[bytes], shape: tuple[int, int, int], dtype: np.dtype, packing: Packing) -> Voxels:
    """Return the voxels as they are stored, in this machine's byte order, with no second copy of them in memory.

    Parameters
    ----------
    path
        For messages.
    stream
        At the first byte of the packed voxels.
    shape, dtype
        Last axis fastest; judged by `refuse_too_large` before.
    packing
        How they are packed; its own checksum is tested, since only that tells a flipped bit.

    Raises
    ------
    ScanError
        `truncated`, where there are fewer bytes, or `corrupt`, where there are more or the packing is damaged.
    """
    try:
        stored = np.empty(shape, dtype=dtype)
        filled, more = _fill(stored.reshape(-1).view(np.uint8).data, _chunks(stream, packing))
    except BROKEN as error:
        cut = isinstance(error, EOFError)
        found = (str(error) or type(error).__name__)[:200]
        raise ScanError(path, code="truncated" if cut else "corrupt", found=found, expected="a whole file", do=COPY) from error
    if more or filled < stored.nbytes:
        found = "more voxels than its header says" if more else f"{filled} bytes of voxels"
        code = "corrupt" if more else "truncated"
        raise ScanError(path, code=code, found=found, expected=f"{stored.nbytes} bytes of voxels", do=COPY)
    return stored if dtype.isnative else stored.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _fill(target: memoryview, chunks: Iterator[bytes]) -> tuple[int, bool]:
    """Return how many bytes of `target` were filled, and whether there were more; to the end, where a checksum is tested."""
    filled = 0
    for chunk in chunks:
        if filled + len(chunk) > len(target):
            return filled, True
        target[filled : filled + len(chunk)] = chunk
        filled += len(chunk)
    return filled, False


def _chunks(stream: IO[bytes], packing: Packing) -> Iterator[bytes]:
    if packing == "zlib":
        yield from _inflated(stream)
        return
    opened = gzip.GzipFile(fileobj=stream) if packing == "gzip" else bz2.BZ2File(stream) if packing == "bzip2" else stream
    while chunk := opened.read(CHUNK):
        yield chunk


def _inflated(stream: IO[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # with the header of zlib or of gzip
    while not unpacker.eof:
        packed = unpacker.unconsumed_tail or stream.read(CHUNK)
        chunk = unpacker.decompress(packed, CHUNK)
        if not packed and not chunk:
            raise EOFError("the packed voxels end before their end")
        yield chunk
    if unpacker.unused_data or stream.read(1):
        raise ValueError("more bytes behind the packed voxels")


def hu_of_stored(path: Path, stored: Voxels, *, slope: float = 1.0, intercept: float = 0.0) -> tuple[Voxels, tuple[str, ...]]:
    """Return slope × stored + intercept in HU, and notes: no NaN, nothing below `AIR_HU`, the smallest dtype.

    Plane by plane, so that beside the stored voxels only the result takes memory.

    Parameters
    ----------
    path
        For messages.
    stored
        Shape (z, y, x), any real dtype.
    slope, intercept
        From stored values to HU; finite.

    Raises
    ------
    ScanError
        `nan_voxels`, where more than 1 % of the voxels are not numbers.
    """
    bad, low, high, whole = 0, np.inf, -np.inf, True
    for plane in stored:
        hu, good = _hu(plane, slope, intercept)
        bad += 0 if good is None else int(good.size - np.count_nonzero(good))
        low, high = min(low, float(hu.min())), max(high, float(hu.max()))
        whole = whole and (hu.dtype.kind != "f" or np.array_equal(hu, np.rint(hu)))
    if bad > MOST_NAN * stored.size:
        found = f"{100 * bad / stored.size:.1f} % of the voxels are not numbers"
        raise ScanError(path, code="nan_voxels", found=found, expected=f"at most {100 * MOST_NAN:.0f} %", do=COPY)
    notes = (*(["nan_replaced"] if bad else []), *(["padding_replaced"] if low < AIR_HU else []))
    if stored.dtype == np.int16 and (slope, intercept) == (1.0, 0.0) and low >= AIR_HU:
        return np.ascontiguousarray(stored), notes
    voxels = np.empty(stored.shape, dtype=np.int16 if whole and high <= np.iinfo(np.int16).max else np.float32)
    for n, plane in enumerate(stored):
        voxels[n] = np.maximum(_hu(plane, slope, intercept)[0], AIR_HU)
    return voxels, notes


def _hu(
    plane: Shaped[np.ndarray, "y x"], slope: float, intercept: float
) -> tuple[Shaped[np.ndarray, "y x"], Shaped[np.ndarray, "y x"] | None]:
    """Return one plane in HU, and which of its voxels are numbers that float32 can hold (None: all); the others are air."""
    if plane.dtype.kind in "iu" and slope == 1.0 and intercept.is_integer() and abs(intercept) < 2**31 and plane.itemsize <= 4:
        return (plane if plane.dtype == np.int16 and not intercept else plane.astype(np.int64) + int(intercept)), None
    with np.errstate(over="ignore", invalid="ignore"):
        hu = plane if plane.dtype == np.float32 else plane.astype(np.float64)
        if (slope, intercept) != (1.0, 0.0):
            hu = hu.astype(np.float64) * slope + intercept
        good = np.abs(hu) <= np.finfo(np.float32).max
    return (hu, None) if good.all() else (np.where(good, hu, hu.dtype.type(AIR_HU)), good)


def without_edge(voxels: Voxels, *, edge_hu: float) -> Voxels:
    """Return the voxels without a last slice, row or column that holds `edge_hu` only; the place of the others stays.

    Parameters
    ----------
    voxels
        In the axes of the file, in which the resampling runs over the end only.
    edge_hu
        The constant, in HU.
    """
    for axis in range(voxels.ndim):
        last = voxels.take(-1, axis=axis)
        if voxels.shape[axis] > 1 and np.all(last == edge_hu):
            voxels = np.delete(voxels, -1, axis=axis)
    return voxels
