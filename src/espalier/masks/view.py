"""A scan and its masks side by side on one coarse grid, which is all that the checks look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8
from scipy import ndimage

from espalier.cohort.body_part import anatomy_of
from espalier.cohort.volume import AIR_HU, Volume
from espalier.geometry import Affine, Grid, Triple, canonical, resample, spacing_mm
from espalier.masks.files import Masks
from espalier.masks.shapes import IN_PLANE, Mask

BLOCK_MM: Final = 4.0
"""Blocks are as near to this as whole numbers of voxels allow from below; gross faults are far larger."""

Labels = UInt8[np.ndarray, "z y x"]


@dataclass(frozen=True, eq=False)
class View:
    """One scan in blocks of about 4 mm, canonical: z up, y to the back, x to the left.

    Attributes
    ----------
    hu
        Mean of each block.
    labels
        The mask value at each block's middle; 0 where the masks end.
    affine
        From block (z, y, x) to world, LPS+, in mm.
    names
        What each value stands for.
    """

    hu: Float32[np.ndarray, "z y x"]
    labels: Labels
    affine: Affine
    names: Mapping[int, str]

    @property
    def spacing_mm(self) -> Triple:
        """Size of a block along z, y, x."""
        return spacing_mm(self.affine)

    @property
    def reach_mm(self) -> tuple[float, float]:
        """How far the field goes, lowest and highest, in mm above the first block."""
        shown = np.flatnonzero(self.field.any(axis=(1, 2)))
        step = self.spacing_mm[0]
        return (float(shown[0]) * step, float(shown[-1]) * step) if shown.size else (0.0, 0.0)

    @property
    def block_ml(self) -> float:
        """Volume of a block."""
        return float(np.prod(self.spacing_mm)) / 1000

    @cached_property
    def values(self) -> Mapping[str, int]:
        """The value of each structure that is there."""
        return {name: value for value, name in sorted(self.names.items()) if value < 256 and self._counts[value]}

    def shown_ml(self, structure: str) -> float:
        """Return how much of a structure the blocks show; 0 where there is none."""
        return float(self._counts[self.values[structure]]) * self.block_ml if structure in self.values else 0.0

    @cached_property
    def _counts(self) -> Int64[np.ndarray, " 256"]:
        return np.bincount(self.labels.ravel(), minlength=256)

    @cached_property
    def centres(self) -> Mapping[str, Float64[np.ndarray, "3"]]:
        """World position (x, y, z) of the middle of each structure that is there."""
        values = list(self.values.values())
        found = ndimage.center_of_mass(self.labels > 0, self.labels, values) if values else []
        return {
            name: np.asarray(self.affine[:3, :3] @ np.array(index) + self.affine[:3, 3])
            for name, index in zip(self.values, found, strict=True)
        }

    @cached_property
    def lungs(self) -> Mask:
        """What thresholds on these blocks take for lung, whichever masks there are."""
        return self._anatomy[0]

    @cached_property
    def body(self) -> Mask:
        """The patient by thresholds, with all air inside and a block of margin."""
        return self._anatomy[1]

    @cached_property
    def _anatomy(self) -> tuple[Mask, Mask]:
        found = anatomy_of(Volume(self.hu, self.affine))
        return found.lungs, ndimage.binary_dilation(found.body | found.lungs, IN_PLANE)

    @cached_property
    def field(self) -> Mask:
        """Where the scan holds data: without padding around a round field of view, and without padded slices."""
        padding = self.hu <= max(float(self.hu.min()), AIR_HU) + 0.5
        padding = ndimage.binary_opening(padding, np.ones((1, 3, 3)))
        blank = padding.all(axis=(1, 2))
        # A block on its edge is padding in part. Air around the patient may be as dark; then it is no loss to leave it out.
        return ~ndimage.binary_dilation(padding | blank[:, None, None])

    def extent_mm(self, mask: Mask) -> tuple[float, float]:
        """Return the lowest and the highest slice of a mask that is not empty, in mm above the first block."""
        shown = np.flatnonzero(mask.any(axis=(1, 2)))
        return float(shown[0]) * self.spacing_mm[0], float(shown[-1]) * self.spacing_mm[0]

    def is_cut(self, mask: Mask) -> bool:
        """Tell whether a mask reaches the edge of the field."""
        return bool((mask & self._edge).any())

    @cached_property
    def _edge(self) -> Mask:
        return ~ndimage.binary_erosion(self.field, np.ones((3, 3, 3)))

    def of(self, *structures: str) -> Mask:
        """Return the blocks of some structures together."""
        if len(structures) == 1:
            return np.asarray(self.labels == self.values.get(structures[0], 256))
        wanted = np.zeros(256, dtype=bool)
        wanted[[self.values[name] for name in structures if name in self.values]] = True
        return wanted[self.labels]


def view_of(masks: Masks, volume: Volume) -> View:
    """Return a scan and its masks on the grid of the checks.

    Parameters
    ----------
    masks
        On any grid of the same patient.
    volume
        In any orientation.
    """
    hu, affine = _blocks(volume)
    z, y, x = hu.shape
    voxels, own = canonical(masks.voxels, masks.affine)
    labels = resample(voxels, own, onto=Grid((z, y, x), affine), kind="nearest", outside=0)
    return View(hu, labels, affine, dict(masks.names))


def _blocks(volume: Volume) -> tuple[Float32[np.ndarray, "z y x"], Affine]:
    """Return means over whole numbers of voxels and where the blocks' middles lie."""
    counts = [min(size, max(1, int(BLOCK_MM / mm + 0.01))) for size, mm in zip(volume.shape, volume.spacing_mm, strict=True)]
    sizes = [size // count for size, count in zip(volume.shape, counts, strict=True)]
    height, width = sizes[1] * counts[1], sizes[2] * counts[2]
    means = np.empty(sizes, dtype=np.float32)
    # Slab by slab, so that a scan of a gigabyte is not copied as float.
    for n in range(sizes[0]):
        slab = volume.voxels[n * counts[0] : (n + 1) * counts[0], :height, :width].sum(axis=0, dtype=np.float32)
        means[n] = slab.reshape(sizes[1], counts[1], sizes[2], counts[2]).sum(axis=(1, 3))
    means /= np.float32(np.prod(counts))
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((np.asarray(counts) - 1) / 2)
    affine[:3, :3] *= counts
    turned, affine = canonical(np.maximum(means, AIR_HU), affine)
    return turned, affine
