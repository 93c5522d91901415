"""A CT volume: voxels in HU and where they lie."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from espalier.geometry import Affine, Grid, Shape, Triple, Voxels, spacing_mm

Format = Literal["dicom", "nifti", "nrrd", "metaimage", "npz"]
"""How a scan is stored: slices in DICOM, or a single file of a volume."""
AIR_HU: Final = -1024
"""The lowest HU that a volume holds; padding outside the scanner's field of view is given this value."""


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Voxels in HU with their place in the patient.

    Parameters
    ----------
    voxels
        Shape (z, y, x), int16 where every value is a whole number that fits, else float32; never below `AIR_HU`.
    affine
        From index (z, y, x, 1) to world position (x, y, z, 1) in mm, LPS+, as in `espalier.geometry`.
    """

    voxels: Voxels
    affine: Affine

    @property
    def shape(self) -> Shape:
        """Number of voxels along z, y, x."""
        z, y, x = self.voxels.shape
        return int(z), int(y), int(x)

    @property
    def spacing_mm(self) -> Triple:
        """Distance between neighbouring voxel centres along z, y, x in mm."""
        return spacing_mm(self.affine)

    @property
    def grid(self) -> Grid:
        """The lattice of voxel centres."""
        return Grid(self.shape, self.affine)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A volume as it came from its files, with what had to be mended on the way.

    Parameters
    ----------
    volume
        The voxels in HU.
    notes
        Reason codes of everything that was repaired or is unusual.
    files
        The files that were used, in the order of the slices; names as they were given. Empty for single files.
    widest_gap_mm
        The largest distance between neighbouring slices as they were scanned, where it is not the volume's spacing.
    """

    volume: Volume
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    widest_gap_mm: float | None = None


def smallest_dtype(voxels: Voxels) -> Voxels:
    """Return the voxels as int16 where that loses nothing, else as float32."""
    if voxels.dtype == np.int16:
        return voxels
    limits = np.iinfo(np.int16)
    if voxels.size and limits.min <= voxels.min() and voxels.max() <= limits.max:
        whole = voxels.astype(np.int16)
        if np.issubdtype(voxels.dtype, np.integer) or np.array_equal(whole, voxels):
            return whole
    return voxels.astype(np.float32)
