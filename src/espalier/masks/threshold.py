"""Lungs, airways, mediastinum, bone and body by HU and shape, without any weights: a lattice where no segmenter can be had.

Good enough to supervise and to check a pipeline by; no rival to a trained segmenter. Lungs are bridged over airless parts
of their rim, but end at effusions and at lobes without air; contrast in vessels that touch bone may count as bone.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float32

from espalier.cohort.volume import AIR_HU, Volume
from espalier.errors import ScanError
from espalier.geometry import Grid, Triple, canonical, resample, respaced
from espalier.masks.airways import find_airways
from espalier.masks.body import SMALLEST_BODY_ML, find_body
from espalier.masks.bone import find_bone
from espalier.masks.files import Masks
from espalier.masks.lungs import find_lungs, midline
from espalier.masks.mediastinum import find_mediastinum

WORKING_SPACING_MM: Final[Triple] = (3.0, 2.0, 2.0)
"""No axis is worked on finer than this; coarser scans keep their own grid."""

Hu = Float32[np.ndarray, "z y x"]


def threshold_masks(volume: Volume, structures: Sequence[str], *, source: str = "the volume") -> Masks:
    """Return the wanted ones of the `threshold` structures, on a grid of about 3×2×2 mm.

    A voxel has one value: the others lie over `body`, which is the rest of the trunk (with arms that touch it).

    Parameters
    ----------
    volume
        In any orientation.
    structures
        Wanted ones, in the order of their values.
    source
        What to call the volume in an error.

    Raises
    ------
    ScanError
        `body_not_found`, when there is no piece of tissue of a body's size.
    """
    hu, grid = _working(volume)
    spacing = grid.spacing_mm
    body = find_body(hu, spacing)
    if not body.any():
        raise ScanError(
            source,
            code="body_not_found",
            found=f"no piece of tissue of {SMALLEST_BODY_ML:.0f} ml",
            expected="a patient",
            do="Look at the scan: it may be a localiser, a phantom or not in HU.",
        )
    bone = find_bone(hu, body, spacing)
    middle = midline(body, bone)
    airways = find_airways(hu, body, middle, spacing)
    left, right = find_lungs(hu, body, bone, airways, spacing)
    within = body & ~airways
    found = {
        "body": body,
        "mediastinum": find_mediastinum(left, right, within, bone, middle, spacing),
        "bone": bone & ~left & ~right,
        "lung_left": left,
        "lung_right": right,
        "airways": airways,
    }
    voxels = np.zeros(hu.shape, dtype=np.uint8)
    for name, mask in found.items():
        if name in structures:
            voxels[mask] = structures.index(name) + 1
    return Masks(voxels, grid.affine, dict(enumerate(structures, start=1)))


def _working(volume: Volume) -> tuple[Hu, Grid]:
    """Return the scan turned, thinned to the working spacing, and with all padding at the value of air."""
    turned, affine = canonical(volume.voxels, volume.affine)
    z, y, x = turned.shape
    grid = Grid((z, y, x), affine)
    own = grid.spacing_mm
    coarser = respaced(grid, (max(own[0], WORKING_SPACING_MM[0]), max(own[1], 2.0), max(own[2], 2.0)))
    hu = resample(np.maximum(turned, AIR_HU), affine, onto=coarser, kind="linear", outside=float(AIR_HU))
    return np.nan_to_num(hu, nan=float(AIR_HU)), coarser
