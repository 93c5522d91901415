"""NIfTI files to volumes in HU: the header is judged before memory is taken, and RAS turned to LPS here only."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from jaxtyping import Shaped
from nibabel.spatialimages import HeaderDataError

from espalier.cohort.dicom import MAX_VOXELS
from espalier.cohort.volume import AIR_HU, Reading, Volume, smallest_dtype
from espalier.errors import ScanError
from espalier.geometry import Affine, Grid, is_sheared

GZIP_MAGIC: Final = b"\x1f\x8b"
GZIP_BEST: Final = 1100
"""Deflate packs at most 1032 to 1; a header that claims more than this many times the file's bytes is wrong."""
MOST_NAN: Final = 0.01
FORMS_TOLERANCE_MM: Final = 0.1
COPY: Final = "Copy or convert the file again."
LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
BROKEN: Final = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    MemoryError,
    zlib.error,
    HeaderDataError,
)


@dataclass(frozen=True, slots=True, eq=False)
class NiftiHeader:
    """What a NIfTI header says: the grid (z, y, x; LPS+), and notes on how that was found."""

    grid: Grid
    notes: tuple[str, ...]


def read_nifti_header(path: Path) -> NiftiHeader:
    """Return the grid of a NIfTI file without reading its voxels; raise `ScanError` as `read_nifti` does."""
    with _opened(path) as stream:
        return _header(path, _parsed(path, stream))


def read_nifti(path: Path) -> Reading:
    """Return a NIfTI file as a volume in HU.

    Raises
    ------
    ScanError
        With the code `missing_file`, `not_nifti`, `not_three_dimensional`, `colour`, `too_large`, `truncated`,
        `corrupt`, `bad_affine`, `no_orientation`, `handedness_differs` or `nan_voxels`.
    """
    with _opened(path) as stream:
        parsed = _parsed(path, stream)
        header = _header(path, parsed)
        stored = _stored(path, parsed, stream)
    voxels, notes = _hu(path, stored.reshape(header.grid.shape[::-1]).transpose(2, 1, 0))
    return Reading(Volume(voxels, header.grid.affine), (*header.notes, *notes))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield the file's bytes, unpacked by what they are and not by the name, twice if it was packed twice."""
    if not path.is_file():
        raise ScanError(
            path, code="missing_file", found="no such file", expected="a NIfTI file", do="Correct its name or copy it."
        )
    try:
        with path.open("rb") as raw:
            stream: Any = raw
            for _ in range(2):
                if stream.peek(2)[:2] == GZIP_MAGIC:
                    stream = gzip.GzipFile(fileobj=stream, mode="rb")
            yield stream
    except BROKEN as error:
        cut = isinstance(error, EOFError)
        found = str(error) or type(error).__name__
        raise ScanError(path, code="truncated" if cut else "corrupt", found=found, expected="a whole file", do=COPY) from error


def _parsed(path: Path, stream: Any) -> Any:
    """Return nibabel's view of the header; its voxels are not read yet."""
    start = stream.peek(4)[:4]
    sizes = {int.from_bytes(start, "little"), int.from_bytes(start, "big")}
    kind = nib.Nifti1Image if 348 in sizes else nib.Nifti2Image if 540 in sizes else None
    if kind is None:
        raise ScanError(path, code="not_nifti", found="no NIfTI header", expected="NIfTI-1 or NIfTI-2", do=COPY)
    try:
        # Mapped memory would read the packed bytes, and see a file change under its feet.
        return kind.from_file_map(kind.make_file_map({"image": stream}), mmap=False)
    except BROKEN as error:
        raise ScanError(
            path, code="not_nifti", found=str(error) or type(error).__name__, expected="a NIfTI header", do=COPY
        ) from error


def _header(path: Path, parsed: Any) -> NiftiHeader:
    header = parsed.header
    shape = tuple(int(n) for n in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        found = f"{len(shape)} axes of {' × '.join(map(str, shape))}"
        raise ScanError(path, code="not_three_dimensional", found=found, expected="3 axes", do="Split it into volumes.")
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise ScanError(
            path, code="colour", found=f"voxels of type {dtype}", expected="one real number a voxel", do="Take the CT itself."
        )
    _refuse_too_large(path, shape, dtype.itemsize)
    affine, notes = _affine(path, header)
    return NiftiHeader(Grid((shape[2], shape[1], shape[0]), affine), notes)


def _refuse_too_large(path: Path, shape: tuple[int, ...], bytes_each: int) -> None:
    voxels = 1
    for n in shape:
        voxels *= n
    if voxels > MAX_VOXELS:
        found = f"{' × '.join(map(str, shape))} voxels"
        raise ScanError(path, code="too_large", found=found, expected=f"at most {MAX_VOXELS} voxels", do="Check its header.")
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP_MAGIC
    size = path.stat().st_size
    if voxels * bytes_each > size * (GZIP_BEST if packed else 1) or (not packed and voxels * bytes_each + 348 > size):
        found = f"{size} bytes in the file"
        raise ScanError(path, code="truncated", found=found, expected=f"{voxels * bytes_each} bytes of voxels", do=COPY)


def _affine(path: Path, header: Any) -> tuple[Affine, tuple[str, ...]]:
    """Return the affine for indices (z, y, x) in LPS+, from the sform before the qform."""
    try:
        sform, s_code = header.get_sform(coded=True)
        qform, q_code = header.get_qform(coded=True)
    except BROKEN as error:
        raise _bad_affine(path, str(error)) from error
    if not s_code and not q_code:
        found = "neither sform nor qform says where it lies"
        raise ScanError(path, code="no_orientation", found=found, expected="one of the two", do="Convert it again from DICOM.")
    ras = sform if s_code else qform
    if not np.isfinite(ras).all() or abs(np.linalg.det(ras[:3, :3])) < 1e-6:
        raise _bad_affine(path, "an affine with no volume" if np.isfinite(ras).all() else "an affine that is not finite")
    notes = []
    if s_code and q_code and np.isfinite(qform).all():
        if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
            found = "sform and qform are mirror images"
            raise ScanError(
                path, code="handedness_differs", found=found, expected="one place", do="Convert it again from DICOM."
            )
        if np.abs(sform - qform).max() > FORMS_TOLERANCE_MM:
            notes.append("sform_qform_differ")
    affine = (LPS @ ras)[:, [2, 1, 0, 3]]
    if is_sheared(affine):
        notes.append("sheared")
    return affine, tuple(notes)


def _bad_affine(path: Path, found: str) -> ScanError:
    return ScanError(
        path, code="bad_affine", found=found, expected="three independent axes in mm", do="Convert it again from DICOM."
    )


def _stored(path: Path, parsed: Any, stream: Any) -> Shaped[np.ndarray, "..."]:
    """Return the voxels after slope and intercept, and read on to the end so that a checksum there is tested."""
    try:
        stored = np.asanyarray(parsed.dataobj)
    except BROKEN as error:
        found = str(error) or "no memory for its voxels"
        cut = isinstance(error, EOFError) or "expected" in found.lower() or "got" in found.lower()
        raise ScanError(
            path, code="truncated" if cut else "corrupt", found=found[:200], expected="a whole file", do=COPY
        ) from error
    while stream.read(1 << 20):
        pass
    return stored


def _hu(path: Path, stored: Shaped[np.ndarray, "z y x"]) -> tuple[Shaped[np.ndarray, "z y x"], list[str]]:
    notes = []
    if stored.dtype.kind == "f":
        finite = np.isfinite(stored)
        bad = int(stored.size - np.count_nonzero(finite))
        if bad > MOST_NAN * stored.size:
            found = f"{100 * bad / stored.size:.1f} % of the voxels are not numbers"
            raise ScanError(path, code="nan_voxels", found=found, expected=f"at most {100 * MOST_NAN:.0f} %", do=COPY)
        if bad:
            stored = np.where(finite, stored, stored.dtype.type(AIR_HU))
            notes.append("nan_replaced")
    if stored.min() < AIR_HU:
        stored = np.maximum(stored, stored.dtype.type(AIR_HU))
        notes.append("padding_replaced")
    return np.ascontiguousarray(smallest_dtype(stored)), notes
