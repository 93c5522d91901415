"""What a scan looks like, kept small: two grey slices for people and a thumbnail to find the same scan again."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Float32, Int16, UInt8

from espalier.cohort.volume import Volume
from espalier.geometry import canonical, spacing_mm
from espalier.outputs import inside, written_whole

AXIAL_SIDE: Final = 96
CORONAL_SIDE: Final = 72
"""At most so many pixels along the longer side of a slice."""
WINDOW_HU: Final = (-1000.0, 400.0)
GREYS: Final = 32
"""More greys would double the file and nobody would see them in a picture of this size."""

BROKEN: Final = (OSError, TypeError, ValueError, KeyError, EOFError, RuntimeError, BadZipFile, zlib.error)
"""What NumPy raises for a file that is absent, cut, damaged or not its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Two slices through the middle of a scan, and its thumbnail.

    Parameters
    ----------
    axial
        Rows run to the patient's back, columns to the patient's left; pixels are square, black is air.
    coronal
        Rows run to the patient's feet, columns to the patient's left.
    thumbnail
        As `espalier.cohort.twins.thumbnail` made it.
    """

    axial: UInt8[np.ndarray, "y x"]
    coronal: UInt8[np.ndarray, "z x"]
    thumbnail: Int16[np.ndarray, "16 16 16"]


def keep_look(folder: Path, scan: str, volume: Volume, thumbnail: Int16[np.ndarray, "16 16 16"]) -> None:
    """Write `records/looks/<scan>.npz`, readable by its owner only; equal volumes give equal bytes.

    Parameters
    ----------
    folder
        The study's folder.
    scan
        The scan's id.
    volume
        The whole scan in HU.
    thumbnail
        As `espalier.cohort.twins.thumbnail` makes it.
    """
    axial, coronal = middle_slices(volume)
    with written_whole(_path(folder, scan), private=True) as partial:
        np.savez_compressed(partial, slice=axial, coronal=coronal, thumbnail=thumbnail)


def read_look(folder: Path, scan: str) -> Look | None:
    """Return what `keep_look` wrote for a scan, or None where there is nothing or it cannot be read."""
    try:
        with _path(folder, scan).open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            look = Look(axial=kept["slice"], coronal=kept["coronal"], thumbnail=kept["thumbnail"])
    except BROKEN:
        return None
    kinds = [(part.dtype.name, part.ndim) for part in (look.axial, look.coronal, look.thumbnail)]
    return look if kinds == [("uint8", 2), ("uint8", 2), ("int16", 3)] else None


def _path(folder: Path, scan: str) -> Path:
    return inside(folder / "records" / "looks", f"{scan}.npz")


def middle_slices(volume: Volume) -> tuple[UInt8[np.ndarray, "y x"], UInt8[np.ndarray, "z x"]]:
    """Return the middle axial and coronal slice in grey with square pixels; `Look` says which way they lie."""
    # Turned one by one, so that a scan of a gigabyte is not copied for the sake of two slices.
    axial = coronal = None
    for axis, count in enumerate(volume.shape):
        plane, affine = canonical(_thin(volume.voxels, axis, count // 2), volume.affine)
        z, y, x = spacing_mm(affine)
        if plane.shape[0] == 1 and axial is None:
            axial = _grey(plane[0], (y, x), AXIAL_SIDE)
        elif plane.shape[1] == 1:
            coronal = _grey(plane[::-1, 0], (z, x), CORONAL_SIDE)
    assert axial is not None
    return axial, axial[:1] if coronal is None else coronal


def _thin(voxels: Float[np.ndarray, "z y x"], axis: int, place: int) -> Float[np.ndarray, "z y x"]:
    return voxels[tuple(slice(place, place + 1) if own == axis else slice(None) for own in range(3))]


def _grey(
    plane: Float[np.ndarray, "rows columns"], spacing: tuple[float, float], side: int
) -> UInt8[np.ndarray, "height width"]:
    """Return a slice in grey whose pixels are square, none smaller than the finer spacing, at most `side` of them."""
    sizes = [count * step for count, step in zip(plane.shape, spacing, strict=True)]
    pixel = max(max(sizes) / side, min(spacing))
    rows, columns = (
        _shares(count, max(1, min(side, round(size / pixel)))) for count, size in zip(plane.shape, sizes, strict=True)
    )
    low, high = WINDOW_HU
    bright = np.clip((rows @ plane.astype(np.float32) @ columns.T - low) / (high - low), 0, 1)
    return np.round(np.round(bright * (GREYS - 1)) * (255 / (GREYS - 1))).astype(np.uint8)


def _shares(count: int, pixels: int) -> Float32[np.ndarray, "pixels count"]:
    """Return the share of every voxel in every pixel along a row; a voxel on a border belongs to both."""
    edges = np.linspace(0, count, pixels + 1)
    voxels = np.arange(count)
    shared = np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels)
    shared = np.clip(shared, 0, None)
    return (shared / shared.sum(axis=1, keepdims=True)).astype(np.float32)
