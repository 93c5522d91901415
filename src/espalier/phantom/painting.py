"""What painting one body on one canvas leaves besides the HU."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from espalier.phantom.draw import Share
from espalier.phantom.findings import Truth


@dataclass(frozen=True, slots=True)
class Painting:
    """Masks (value = index of the structure + 1), the share of the body, and the truth."""

    masks: UInt8[np.ndarray, "z y x"]
    body: Share
    truth: Truth
