"""NIfTI files to volumes in HU: the header is judged before memory is taken, and RAS turned to LPS here only."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import nibabel as nib
import numpy as np
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from espalier.cohort.stored import (
    CHUNK,
    CONVERT,
    COPY,
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

GZIP_MAGIC: Final = b"\x1f\x8b"
SINGLE: Final = {348: b"n+1", 540: b"n+2"}
"""What marks a file that holds its own voxels, by the size of its header."""
LONGEST_EXTENSION: Final = 2**26
FORMS_TOLERANCE_MM: Final = 0.1
NoOrientation = Literal["set_aside", "RAS", "LPS"]
MM_OF: Final = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Codes of the unit of length (NIfTI-1, xyzt_units): unset, which means mm to every program, m, mm, µm."""
LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
BROKEN: Final = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    zlib.error,
    HeaderDataError,
    WrapStructError,
)


def read_nifti_header(path: Path, *, no_orientation: NoOrientation = "set_aside") -> VolumeHeader:
    """Return the grid of a NIfTI file without reading its voxels; raise `ScanError` as `read_nifti` does."""
    with _opened(path) as stream:
        return _judged(path, _header(path, stream), no_orientation)


def read_nifti(
    path: Path, *, no_orientation: NoOrientation = "set_aside", rescale: tuple[float, float] = (1.0, 0.0)
) -> Reading:
    """Return a NIfTI file as a volume in HU.

    Parameters
    ----------
    path
        `.nii` or `.nii.gz`, whatever the name says.
    no_orientation
        What to do where neither sform nor qform is set: raise, or assume that the array's axes run to RAS or LPS.
    rescale
        Slope and intercept that turn the file's values into HU, where they are not HU yet.

    Raises
    ------
    ScanError
        With the code `missing_file`, `unreadable_file`, `not_nifti`, `not_three_dimensional`, `colour`, `too_large`,
        `truncated`, `corrupt`, `bad_affine`, `no_orientation`, `handedness_differs` or `nan_voxels`.
    """
    with _opened(path) as stream:
        header = _header(path, stream)
        judged = _judged(path, header, no_orientation)
        _pass_over(stream, int(header["vox_offset"]) - len(header.binaryblock))
        stored = stored_voxels(path, stream, judged.grid.shape, header.get_data_dtype(), "raw")
    slope, intercept = _scaling(header)
    slope, intercept = rescale[0] * slope, rescale[0] * intercept + rescale[1]
    voxels, notes = hu_of_stored(path, stored, slope=slope, intercept=intercept)
    return Reading(Volume(voxels, judged.grid.affine), (*judged.notes, *notes))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield the file's bytes, unpacked by what they are and not by the name, twice if it was packed twice."""
    if not path.is_file():
        do = "Correct its name or copy it."
        raise ScanError(path, code="missing_file", found="no such file", expected="a NIfTI file", do=do)
    with opened_file(path, path) as raw:
        try:
            stream: Any = raw
            for _ in range(2):
                if stream.peek(2)[:2] == GZIP_MAGIC:
                    stream = gzip.GzipFile(fileobj=stream, mode="rb")
            yield stream
        except BROKEN as error:
            code = "truncated" if isinstance(error, EOFError) else "corrupt"
            found = (str(error) or type(error).__name__)[:200]
            raise ScanError(path, code=code, found=found, expected="a whole file", do=COPY) from error


def _header(path: Path, stream: Any) -> Any:
    """Return nibabel's view of the header; only the one of a file that holds its own voxels will do."""
    start = stream.peek(4)[:4]
    size = next((size for size in SINGLE if size in {int.from_bytes(start, "little"), int.from_bytes(start, "big")}), None)
    if size is None:
        raise _not_nifti(path, "no NIfTI header")
    kind = nib.Nifti1Header if size == 348 else nib.Nifti2Header
    block = stream.read(size)
    if len(block) < size:
        raise EOFError("the header ends before its end")
    try:
        with LoggingOutputSuppressor():  # what matters of it is judged below; its bytes may be anything
            header = kind(block)
    except BROKEN as error:
        raise _not_nifti(path, (str(error) or type(error).__name__)[:200]) from error
    offset = float(header["vox_offset"])
    if header["magic"].item()[:3] != SINGLE[size] or not size <= offset <= LONGEST_EXTENSION or not offset.is_integer():
        raise _not_nifti(path, "a header whose voxels lie elsewhere")
    return header


def _judged(path: Path, header: Any, no_orientation: NoOrientation) -> VolumeHeader:
    shape = tuple(int(n) for n in header.get_data_shape())
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        found = f"{len(shape)} axes of {' × '.join(map(str, shape))}"
        raise ScanError(path, code="not_three_dimensional", found=found, expected="3 axes", do="Split it into volumes.")
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        found = f"voxels of type {dtype}"
        raise ScanError(path, code="colour", found=found, expected="one real number a voxel", do="Take the CT itself.")
    with opened_file(path, path) as stream:
        packed = stream.read(2) == GZIP_MAGIC
    there = path.stat().st_size - (0 if packed else int(header["vox_offset"]))
    refuse_too_large(path, shape, dtype.itemsize, there=max(0, there), packed=packed)
    affine, notes = _affine(path, header, no_orientation)
    return header_of(path, (shape[2], shape[1], shape[0]), affine, notes)


@np.errstate(all="ignore")  # what overflows is judged in the end, by `header_of`
def _affine(path: Path, header: Any, no_orientation: NoOrientation) -> tuple[Affine, tuple[str, ...]]:
    """Return the affine for indices (z, y, x) in LPS+, from the sform before the qform, and notes."""
    notes: tuple[str, ...] = ()
    s_code, q_code = int(header["sform_code"]), int(header["qform_code"])
    if s_code:
        ras = header.get_sform()
        notes = _compared(path, ras, header) if q_code else ()
    elif q_code:
        ras = _qform(header)
        if ras is None:
            raise _bad_affine(path, "a qform that is no rotation")
    elif no_orientation == "set_aside":
        found = "neither sform nor qform says where it lies"
        raise ScanError(path, code="no_orientation", found=found, expected="one of the two", do=CONVERT)
    else:
        signs = (-1.0, -1.0, 1.0) if no_orientation == "LPS" else (1.0, 1.0, 1.0)
        ras = np.diag([*(np.abs(header.get_zooms()[:3]) * signs), 1.0])
        notes = ("orientation_assumed",)
    _refuse_identity(path, header, ras, bool(s_code and not q_code))
    unit = MM_OF.get(int(header["xyzt_units"]) & 7)
    if unit is None:
        raise _bad_affine(path, "lengths in an unknown unit")
    if unit != 1.0:
        ras = np.diag([unit, unit, unit, 1.0]) @ ras
        notes = (*notes, "unit_converted")
    return (LPS @ ras)[:, [2, 1, 0, 3]], notes


def _qform(header: Any) -> Affine | None:
    try:
        return np.asarray(header.get_qform(), dtype=np.float64)
    except BROKEN:
        return None


def _compared(path: Path, sform: Affine, header: Any) -> tuple[str, ...]:
    """Return a note where the qform says another place than the sform, which counts; raise where it is its mirror image."""
    qform = _qform(header)
    if qform is None or not np.isfinite(qform).all():
        return ("sform_qform_differ",)
    if np.isfinite(sform).all() and np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        found = "sform and qform are mirror images"
        raise ScanError(path, code="handedness_differs", found=found, expected="one place", do=CONVERT)
    return ("sform_qform_differ",) if np.abs(sform - qform).max() > FORMS_TOLERANCE_MM else ()


def _scaling(header: Any) -> tuple[float, float]:
    """Return slope and intercept: a slope of 0 or no number means unscaled, and an intercept that is no number means 0."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not np.isfinite(slope) or slope == 0:
        return 1.0, 0.0
    return slope, intercept if np.isfinite(intercept) else 0.0


def _pass_over(stream: Any, count: int) -> None:
    while count > 0 and (chunk := stream.read(min(count, CHUNK))):
        count -= len(chunk)


def _refuse_identity(path: Path, header: Any, ras: Affine, by_sform_alone: bool) -> None:
    """Raise where a writer left the sform at the identity, and meant the spacing that stands beside it."""
    zooms = np.asarray(header.get_zooms()[:3], dtype=np.float64)
    if by_sform_alone and np.array_equal(np.abs(ras[:3, :3]), np.eye(3)) and np.abs(zooms - 1).max() > 0.01:
        found = f"an sform of 1 mm voxels beside a spacing of {' × '.join(f'{zoom:g}' for zoom in zooms)} mm"
        raise ScanError(path, code="bad_affine", found=found, expected="one geometry", do=CONVERT)


def _bad_affine(path: Path, found: str) -> ScanError:
    return ScanError(path, code="bad_affine", found=found, expected="three independent axes in mm", do=CONVERT)


def _not_nifti(path: Path, found: str) -> ScanError:
    return ScanError(path, code="not_nifti", found=found, expected="NIfTI-1 or NIfTI-2 in one file", do=COPY)
