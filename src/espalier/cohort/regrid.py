"""From the lattice a scanner left to an upright, even one: varying distances and shear are interpolated away once."""

import numpy as np
from jaxtyping import Float, Shaped

from espalier.cohort.volume import AIR_HU, Volume, smallest_dtype
from espalier.geometry import Grid, Voxels, direction_of, is_sheared, resample, world_mm


def spaced_evenly(voxels: Voxels, along_mm: Float[np.ndarray, " n"], count: int) -> Voxels:
    """Return slices interpolated linearly along their stack.

    Parameters
    ----------
    voxels
        Shape (n, y, x), in HU.
    along_mm
        Where each slice lies, rising from 0.
    count
        Slices of the result, evenly from the first to the last place.
    """
    wanted = np.linspace(0.0, along_mm[-1], count)
    above = np.clip(np.searchsorted(along_mm, wanted, side="right"), 1, len(along_mm) - 1)
    share = (wanted - along_mm[above - 1]) / (along_mm[above] - along_mm[above - 1])
    out = np.empty((count, *voxels.shape[1:]), dtype=voxels.dtype)
    for n, (upper, part) in enumerate(zip(above, share, strict=True)):
        out[n] = _between(voxels[upper - 1], voxels[upper], float(part), voxels.dtype)
    return out


def _between(low: Shaped[np.ndarray, "y x"], high: Shaped[np.ndarray, "y x"], share: float, dtype: np.dtype) -> np.ndarray:
    mixed = low.astype(np.float32) * np.float32(1 - share) + high.astype(np.float32) * np.float32(share)
    return np.rint(mixed) if np.issubdtype(dtype, np.integer) else mixed


def rectified(volume: Volume) -> Volume:
    """Return a sheared volume on an upright grid that holds it whole; others as they are.

    Rows and columns keep their spacing and rows their direction; planes come to lie along the normal, at the true
    distance between them. What lies outside the scan is `AIR_HU`.
    """
    if not is_sheared(volume.affine):
        return volume
    onto = upright_grid(volume.grid)
    whole = np.issubdtype(volume.voxels.dtype, np.integer)
    voxels = resample(volume.voxels, volume.affine, onto=onto, kind="linear", outside=AIR_HU)
    return Volume(smallest_dtype(np.rint(voxels, out=voxels) if whole else voxels), onto.affine)


def upright_grid(grid: Grid) -> Grid:
    """Return the smallest grid with right angles around a sheared one.

    The axis x keeps its direction, y is made upright to it in their plane, z is their normal; spacings are the distances
    between the sheared grid's lines and planes, so that a tilted series of 5 mm steps has 5 mm × cos(tilt) between slices.
    """
    x = direction_of(grid.affine)[:, 2]
    y = direction_of(grid.affine)[:, 1] - x * (x @ direction_of(grid.affine)[:, 1])
    y /= np.linalg.norm(y)
    z = np.cross(x, y)
    z *= np.sign(z @ grid.affine[:3, 0]) or 1.0
    axes = np.stack([z, y, x], axis=1)
    spacing = np.array([abs(z @ grid.affine[:3, 0]), abs(y @ grid.affine[:3, 1]), grid.spacing_mm[2]])
    ends = [(0, n - 1) for n in grid.shape]
    corners = np.array([world_mm(grid.affine, (k, j, i)) for k in ends[0] for j in ends[1] for i in ends[2]])
    along = (corners - grid.affine[:3, 3]) @ axes / spacing
    low = np.floor(along.min(axis=0) + 1e-6)
    shape = np.ceil(along.max(axis=0) - low - 1e-6).astype(int) + 1
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = grid.affine[:3, 3] + axes @ (low * spacing)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)
