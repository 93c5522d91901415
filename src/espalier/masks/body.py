"""The patient in a canonical volume, without table and blankets, with the lungs and the gas that the body encloses."""

from typing import Final

import numpy as np
from jaxtyping import Float32, Int32
from scipy import ndimage

from espalier.cohort.volume import AIR_HU
from espalier.geometry import Triple
from espalier.masks.shapes import IN_PLANE, Mask, grown, opened, pieces

TISSUE_HU: Final = -250.0
SMALLEST_BODY_ML: Final = 300.0
OUTER_AIR_HU: Final = -960.0
"""Air around the patient has a median below; lung that the field of view cuts has one above, even with emphysema."""

NOISE_HU: Final = 20.0
"""Noise lifts the median of air this much, where values are cut off at -1024."""

MOST_CONTACT: Final = 0.48
"""A gap that meets the frame along more of its rim than this is no lung: foam and blankets lie in such gaps."""

MOST_CONTACT_INSIDE: Final = 0.75
"""The same where no air around the patient is seen, so that the frame lies inside the body, as in scans of the heart."""

LITTLE_CONTACT: Final = 0.2
"""A gap that meets it along less is inside the body whatever its HU: bowel gas or a bulla at the edge."""

Hu = Float32[np.ndarray, "z y x"]


def find_body(hu: Hu, spacing_mm: Triple) -> Mask:
    """Return the patient without the table: the largest piece of tissue, with the gaps that it encloses.

    Parameters
    ----------
    hu
        On a canonical grid.
    spacing_mm
        Of that grid.
    """
    tissue = hu > TISSUE_HU
    radius_mm = max(3.0, spacing_mm[1], spacing_mm[2])
    largest = pieces(opened(tissue, radius_mm, spacing_mm)).largest()
    if largest.sum() * np.prod(spacing_mm) < SMALLEST_BODY_ML * 1000:
        return np.zeros(hu.shape, dtype=bool)
    # The opening takes off skin folds and a thin chest wall; what lies next to the kept piece is given back.
    solid = tissue & grown(largest, 2 * radius_mm, spacing_mm)
    return solid | _enclosed(hu, solid)


def _enclosed(hu: Hu, solid: Mask) -> Mask:
    """Return the gaps of each axial slice that belong inside the body: those closed by it, and lung cut by the frame.

    The frame is the border of the slice and the padding around a round field of view.
    """
    padding = _padding(hu) & ~solid
    gaps, count = ndimage.label(~solid & ~padding, IN_PLANE)
    frame = ndimage.binary_dilation(padding, IN_PLANE) & (gaps > 0)
    for border in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        frame[border] = gaps[border] > 0
    reached = np.zeros(count + 1, dtype=bool)
    reached[np.unique(gaps[frame])] = True
    open_gaps = reached[gaps] & (gaps > 0)
    return (~reached[gaps] & (gaps > 0)) | _cut_by_frame(hu, open_gaps, frame, solid)


def _padding(hu: Hu) -> Mask:
    """Return what stands around a round field of view: the lowest value, in thick pieces that reach the slice's border.

    Air in emphysema may have the lowest value too, where the scanner cuts all values off at one.
    """
    lowest = ndimage.binary_opening(hu <= float(hu.min()), ndimage.iterate_structure(IN_PLANE, 2))
    labels, count = ndimage.label(lowest, IN_PLANE)
    reaches = np.zeros(count + 1, dtype=bool)
    for border in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        reaches[np.unique(labels[border])] = True
    reaches[0] = False
    return reaches[labels]


def _cut_by_frame(hu: Hu, open_gaps: Mask, frame: Mask, solid: Mask) -> Mask:
    """Return those gaps, taken over all slices, that are cut by the frame rather than open to the air around."""
    labels, count = _apart(open_gaps)
    rim = open_gaps & (frame | ndimage.binary_dilation(solid, IN_PLANE))
    share = np.bincount(labels[frame], minlength=count + 1) / np.maximum(1, np.bincount(labels[rim], minlength=count + 1))
    typical = np.full(count + 1, float(AIR_HU))
    if count:
        typical[1:] = ndimage.median(hu, labels, np.arange(1, count + 1))
    air_around = (typical[1:] <= OUTER_AIR_HU + NOISE_HU) & (share[1:] >= LITTLE_CONTACT)
    most = MOST_CONTACT if air_around.any() else MOST_CONTACT_INSIDE
    cut = ((share < most) & (typical > OUTER_AIR_HU)) | (share < LITTLE_CONTACT)
    cut[0] = False
    return np.asarray(cut[labels])


def _apart(gaps: Mask) -> tuple[Int32[np.ndarray, "z y x"], int]:
    """Return the connected gaps, those that meet in a sliver of a voxel or two told apart."""
    thick = ndimage.binary_erosion(gaps, IN_PLANE)
    labels, count = ndimage.label(thick)
    if not count:
        return labels, 0
    nearest = ndimage.distance_transform_edt(~thick, return_distances=False, return_indices=True)
    return np.where(gaps, labels[tuple(nearest)], 0), count
