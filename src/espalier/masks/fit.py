"""Whether masks lie where the scan has its edges: how well they explain its HU here, and how well they would elsewhere.

Each structure, and the rim of background around it, should be of one HU: the share of the variance of HU that these
labels explain is largest where the masks belong, and falls off within millimetres on every side. Masks that are shifted
fit better elsewhere; those of another patient, and flipped ones, fit no better here than beside. The share itself varies
with the patient, the contrast and the noise, so the fit is only held against that of the same masks nearby or mirrored.
"""

from collections.abc import Iterator
from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Float, Int
from scipy import ndimage

from espalier.masks.plausible import LUNGS
from espalier.masks.view import View

WINDOW_HU: Final = (-150.0, 250.0)
"""Fat, soft tissue and contrast; all that is darker is air."""
RIM_MM: Final = 10.0
AWAY_MM: Final = (12.0, 20.0, 28.0)
LEAST_PEAK: Final = 1.03
"""Fit here over the best fit at one of these distances. Untouched masks come to 1.1 and more (benchmarks/mask_faults)."""
ENOUGH: Final = 3
SOME_ML: Final = 20.0
"""So many structures of this size pin masks down, and so do both lungs; one alone may slide along its neighbours."""

PLACES: Final = 40_000
"""About so many blocks are looked at, evenly spread; more change nothing."""

Places = Int[np.ndarray, "n 3"]


def is_misplaced(view: View) -> bool:
    """Tell whether the masks fit the scan no better where they are than 12 to 28 mm away along an axis, or than mirrored."""
    if not _pinned(view):
        return False
    labels = _with_rims(view)
    places, values = np.argwhere(labels > 0), labels[labels > 0]
    thinning = max(1, len(places) // PLACES)
    places, values = places[::thinning], values[::thinning]
    hu = np.clip(view.hu, *WINDOW_HU).astype(np.float64)
    here = _explained(hu, places, values)
    away = max(_explained(hu, places + step, values) for step in _steps(view))
    if here < LEAST_PEAK * away:
        return True
    return any(_explained(hu, other, values) > here for other in _mirrored(places, view))


def _pinned(view: View) -> bool:
    large = [name for name in view.values if view.shown_ml(name) >= SOME_ML]
    return len(large) >= ENOUGH or all(set(large) & set(side) for side in LUNGS.values())


def _with_rims(view: View) -> Int[np.ndarray, "z y x"]:
    """Return the labels with the background around each structure as a label of its own."""
    background = view.labels == 0
    if background.all():
        return view.labels.astype(np.int64)
    distance, nearest = ndimage.distance_transform_edt(background, sampling=view.spacing_mm, return_indices=True)
    rim = background & (distance <= RIM_MM)
    return np.where(rim, view.labels[tuple(nearest)].astype(np.int64) + 256, view.labels)


def _steps(view: View) -> list[Int[np.ndarray, "3"]]:
    steps = []
    for axis, mm in enumerate(view.spacing_mm):
        for blocks in sorted({max(1, round(away / mm)) for away in AWAY_MM}):
            for sign in (-1, 1):
                step = np.zeros(3, dtype=np.int64)
                step[axis] = sign * blocks
                steps.append(step)
    return steps


def _mirrored(places: Places, view: View) -> Iterator[Places]:
    """Yield the places with every choice of axes reversed, within the scan's grid as mistaken orders of axes do it."""
    last = np.asarray(view.labels.shape) - 1
    for flips in product((False, True), repeat=3):
        if any(flips):
            yield np.where(flips, last - places, places)


def _explained(hu: Float[np.ndarray, "z y x"], places: Places, values: Int[np.ndarray, " n"]) -> float:
    """Return the share of the variance of HU between the labels, over the places that lie in the scan."""
    inside = ((places >= 0) & (places < hu.shape)).all(axis=1)
    seen, labels = hu[tuple(places[inside].T)], values[inside]
    if not seen.size or (total := float(seen.var()) * seen.size) == 0:
        return 0.0
    counts = np.maximum(np.bincount(labels), 1)
    sums, squares = np.bincount(labels, seen), np.bincount(labels, seen * seen)
    return 1.0 - float((squares - sums * sums / counts).sum()) / total
