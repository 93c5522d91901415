"""Bone in a canonical volume by its density."""

from typing import Final

import numpy as np
from jaxtyping import Float32

from espalier.geometry import Triple
from espalier.masks.shapes import Mask, closed, filled, pieces

BONE_HU: Final = 200.0
SURE_BONE_HU: Final = 500.0
SMALLEST_BONE_ML: Final = 0.5
Hu = Float32[np.ndarray, "z y x"]


def find_bone(hu: Hu, body: Mask, spacing_mm: Triple) -> Mask:
    """Return bone with its marrow: pieces above 200 HU that hold voxels of cortical density, above 500 HU."""
    likely = pieces(body & (hu > BONE_HU))
    sure = np.zeros(len(likely.order) + 1, dtype=bool)
    sure[np.unique(likely.labels[hu > SURE_BONE_HU])] = True
    sure[0] = False
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    kept = sure[likely.labels] & likely.at_least(SMALLEST_BONE_ML / voxel_ml)
    return filled(closed(kept, max(3.0, *spacing_mm), spacing_mm)) & body
