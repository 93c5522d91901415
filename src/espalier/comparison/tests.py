"""Tests of a difference, from the same resamples as its interval."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def bootstrap_p(differences: Float[np.ndarray, " r"]) -> float:
    """Return the two-sided p value of no difference: twice the share of resamples on the other side of 0.

    One is added to both counts, so that no finite number of resamples gives 0 (Davison and Hinkley 1997, section 4.2).
    Resamples without a value are left out.
    """
    there = differences[~np.isnan(differences)]
    fewer = min(int((there <= 0).sum()), int((there >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(there) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for their number, in the given order (Holm 1979)."""
    number = len(p_values)
    adjusted = [0.0] * number
    largest = 0.0
    for rank, place in enumerate(sorted(range(number), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (number - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
