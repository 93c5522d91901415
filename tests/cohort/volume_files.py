"""Small volumes as SimpleITK writes them, what it reads back, and changed bytes, for the readers of single files."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import strategies as st

from espalier.cohort.volume import AIR_HU, Reading
from espalier.errors import ScanError

from .conftest import BRIGHT, body_hu

SPACING_XYZ = (1.25, 1.5, 3.0)
ORIGIN_XYZ = (-30.0, -20.0, 100.0)
TURNED = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, -1.0)
"""Turned about the body's axis, and feet first: the columns are the directions of x, y and z of the array."""


def itk_volume(hu: np.ndarray | None = None, direction: tuple[float, ...] = TURNED) -> sitk.Image:
    volume = sitk.GetImageFromArray(body_hu() if hu is None else hu)
    volume.SetSpacing(SPACING_XYZ)
    volume.SetOrigin(ORIGIN_XYZ)
    volume.SetDirection(direction)
    return volume


def itk_place(path: Path, index: tuple[int, int, int] = BRIGHT) -> tuple[float, ...]:
    """Return where SimpleITK sees the voxel (z, y, x) of a file."""
    return tuple(sitk.ReadImage(path).TransformIndexToPhysicalPoint(index[::-1]))


def code_of(read: Callable[..., Reading], path: Path, **options: object) -> str:
    with pytest.raises(ScanError) as caught:
        read(path, **options)
    assert caught.value.found
    assert caught.value.do
    return caught.value.code


def changed(*seeds: bytes) -> st.SearchStrategy[bytes]:
    """Return bytes that are a sound file but for a few, mostly in its header, and perhaps its end; or any bytes."""

    def change(seed: bytes, edits: list[tuple[int, int]], end: int) -> bytes:
        out = bytearray(seed)
        for place, value in edits:
            out[place % len(out)] = value
        return bytes(out[: len(out) - end % len(out)])

    place = st.integers(0, 400) | st.integers(0, 1 << 20)
    edits = st.lists(st.tuples(place, st.integers(0, 255) | st.sampled_from(b"0123456789 -.\n:=")), max_size=6)
    return st.builds(change, st.sampled_from(seeds), edits, st.just(0) | st.integers(0, 1 << 20)) | st.binary(max_size=600)


def reads_or_says_why(read: Callable[[Path], Reading], name: str, content: bytes) -> Reading | None:
    """Read hostile bytes: what comes out is a volume that keeps its promises, or one of Espalier's reasons."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            reading = read(path)
        except ScanError:
            return None
    voxels = reading.volume.voxels
    assert voxels.ndim == 3
    assert voxels.dtype in {np.dtype(np.int16), np.dtype(np.float32)}
    assert np.isfinite(voxels).all()
    assert voxels.min() >= AIR_HU
    assert np.isfinite(reading.volume.affine).all()
    assert np.linalg.det(reading.volume.affine[:3, :3]) != 0
    return reading
