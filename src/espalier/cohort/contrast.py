"""Whether a contrast agent can be seen, by how much even tissue is brighter than tissue is without one."""

from typing import Final

import numpy as np
from scipy import ndimage

from espalier.cohort.body_part import Anatomy

BRIGHT_HU: Final = (90.0, 500.0)
EVEN_HU: Final = 30.0
"""Within 12 mm blood, liver and kidney vary less than this, bone varies more."""
LEAST_ML: Final = 800.0
SEEN, NOT_SEEN = 0.05, 0.025
WITHOUT: Final = frozenset(
    {"no", "none", "n", "0", "false", "without", "native", "unenhanced", "plain", "noncontrast", "non-contrast", "w/o"}
)


def contrast_seen(anatomy: Anatomy) -> bool | None:
    """Tell whether contrast agent is seen; None where too little even tissue is there, or the answer is not clear.

    Agent in the bowel counts too. A liver dense from iron or amiodarone can be taken for it, and a late or weak phase
    below 90 HU is not seen.
    """
    solid = ndimage.binary_erosion(anatomy.body & ~anatomy.lungs & ~anatomy.gas, iterations=2)
    mean = ndimage.uniform_filter(anatomy.hu, 3)
    spread = ndimage.uniform_filter(np.square(anatomy.hu), 3) - np.square(mean)
    even = solid & (spread < EVEN_HU**2) & (mean > 0) & (mean < BRIGHT_HU[1])
    blocks = int(even.sum())
    if blocks * float(np.prod(anatomy.spacing_mm)) / 1000 < LEAST_ML:
        return None
    bright = float((mean[even] > BRIGHT_HU[0]).sum()) / blocks
    return True if bright > SEEN else False if bright < NOT_SEEN else None


def contrast_differs(tag: str, *, seen: bool | None) -> bool:
    """Tell whether what the header says of contrast is clearly not what the voxels show; an empty tag says nothing."""
    words = tag.strip().lower()
    return bool(words) and seen is not None and seen == (words in WITHOUT)
