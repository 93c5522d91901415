"""Volume to array: the one function that training, evaluation and the server share (Li et al. 2025, preprocessing)."""

from typing import Final

import numpy as np
from jaxtyping import Float32, Int16, Num, UInt8

from espalier.cohort.regrid import upright_grid
from espalier.cohort.volume import AIR_HU, Volume
from espalier.errors import ScanError
from espalier.geometry import Grid, canonical, centred, is_sheared, resample, respaced
from espalier.masks.files import Masks
from espalier.store.options import StoreOptions

BACKGROUND: Final = 0


def preprocess(volume: Volume, options: StoreOptions, *, source: str = "the volume") -> Int16[np.ndarray, "z y x"]:
    """Return the scan on the stored grid: canonical, linear, rounded to whole HU, its centre cropped or padded with air.

    Nothing is clipped but to the range of int16, so that one store serves every window; `scale_hu` clips.

    Parameters
    ----------
    volume
        As read, in any orientation.
    options
        Spacing and shape of the result.
    source
        What to call the volume in an error.

    Raises
    ------
    ScanError
        `not_finite`, when the volume holds NaN or infinite values.
    """
    voxels, affine = canonical(volume.voxels, volume.affine)
    onto = stored_grid(Grid(volume.voxels.shape, volume.affine), options)
    sampled = resample(voxels, affine, onto=onto, kind="linear", outside=float(AIR_HU))
    if voxels.dtype.kind == "f" and not np.isfinite(sampled).all():
        raise ScanError(
            source,
            code="not_finite",
            found="voxels that are NaN or infinite",
            expected="HU",
            do="Export the scan again.",
        )
    # SimpleITK truncates toward zero when asked for integers, half a HU too high below 0: hence float32, then rint.
    np.rint(sampled, out=sampled)
    return np.clip(sampled, -32768, 32767, out=sampled).astype(np.int16)


def preprocess_masks(masks: Masks, scan_grid: Grid, options: StoreOptions) -> UInt8[np.ndarray, "z y x"]:
    """Return masks on the very grid of the stored voxels, resampled once by nearest neighbour; 0 beyond the masks.

    Parameters
    ----------
    masks
        On any grid of the same patient.
    scan_grid
        Of the scan, canonical or as read.
    options
        Those the scan is stored with.
    """
    voxels, affine = canonical(masks.voxels, masks.affine)
    return resample(voxels, affine, onto=stored_grid(scan_grid, options), kind="nearest", outside=float(BACKGROUND))


def stored_grid(scan_grid: Grid, options: StoreOptions) -> Grid:
    """Return where the stored voxels of a scan lie.

    Axes stay those of the scan, turned to z up, y back, x left; only a sheared scan (gantry tilt) gets an upright grid
    around its field. A scan that has the stored spacing already keeps its lattice, so its voxels are copied exactly.
    """
    return centred(respaced(_upright(scan_grid), options.spacing_mm), options.shape)


def scale_hu(voxels: Num[np.ndarray, "..."], window_hu: tuple[float, float]) -> Float32[np.ndarray, "..."]:
    """Return HU clipped to the window and scaled to [-1, 1]; the one place where HU are clipped."""
    low, high = np.float32(window_hu[0]), np.float32(window_hu[1])
    scaled = np.clip(voxels, low, high, dtype=np.float32)
    scaled -= low
    scaled *= np.float32(2.0) / (high - low)
    scaled -= np.float32(1.0)
    return scaled


def _upright(grid: Grid) -> Grid:
    turned = _canonical_grid(grid)
    return upright_grid(turned) if is_sheared(grid.affine) else turned


def _canonical_grid(grid: Grid) -> Grid:
    # A view of one voxel has the shape without the memory of an array to turn.
    turned, affine = canonical(np.broadcast_to(np.uint8(0), grid.shape), grid.affine)
    z, y, x = turned.shape
    return Grid((z, y, x), affine)
