"""Lungs, body and bone by HU and shape, without any weights: a free lattice where no segmenter can be installed.

Good enough to supervise and to check a pipeline by; no rival to a trained segmenter. Lungs end at consolidations and
effusions; contrast in vessels that touch bone may count as bone.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32
from scipy import ndimage

from espalier.cohort.volume import AIR_HU, Volume
from espalier.errors import ScanError
from espalier.geometry import Grid, Triple, canonical, resample, respaced
from espalier.masks.files import Masks
from espalier.masks.lungs import find_lungs
from espalier.masks.shapes import IN_PLANE, Mask, closed, filled, grown, opened, pieces

WORKING_SPACING_MM: Final[Triple] = (3.0, 2.0, 2.0)
"""No axis is worked on finer than this; coarser scans keep their own grid."""

TISSUE_HU: Final = -250.0
OUTER_AIR_HU: Final = -960.0
"""Air around the patient has a median below; lung that the field of view cuts has one above, even with emphysema."""

MOST_CONTACT: Final = 0.48
"""A gap that meets the frame along more of its rim than this is no lung: foam and blankets lie in such gaps."""

LITTLE_CONTACT: Final = 0.2
"""A gap that meets it along less is inside the body whatever its HU: bowel gas or a bulla at the edge."""

BONE_HU: Final = 200.0
SURE_BONE_HU: Final = 500.0
SMALLEST_BONE_ML: Final = 0.5
SMALLEST_BODY_ML: Final = 300.0
Hu = Float32[np.ndarray, "z y x"]


def threshold_masks(volume: Volume, structures: Sequence[str], *, source: str = "the volume") -> Masks:
    """Return the wanted ones of `lung_left`, `lung_right`, `body` and `bone`, on a grid of about 3×2×2 mm.

    A voxel has one value: bone and lungs lie over `body`, which is the rest of the trunk (with arms that touch it).

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
    left, right = find_lungs(hu, body, bone, spacing)
    found = {"body": body, "bone": bone & ~left & ~right, "lung_left": left, "lung_right": right}
    voxels = np.zeros(hu.shape, dtype=np.uint8)
    for name, mask in found.items():
        if name in structures:
            voxels[mask] = structures.index(name) + 1
    return Masks(voxels, grid.affine, dict(enumerate(structures, start=1)))


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


def find_bone(hu: Hu, body: Mask, spacing_mm: Triple) -> Mask:
    """Return bone with its marrow: pieces above 200 HU that hold voxels of cortical density, above 500 HU."""
    likely = pieces(body & (hu > BONE_HU))
    sure = np.zeros(len(likely.order) + 1, dtype=bool)
    sure[np.unique(likely.labels[hu > SURE_BONE_HU])] = True
    sure[0] = False
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    kept = sure[likely.labels] & likely.at_least(SMALLEST_BONE_ML / voxel_ml)
    return filled(closed(kept, max(3.0, *spacing_mm), spacing_mm)) & body


def _working(volume: Volume) -> tuple[Hu, Grid]:
    """Return the scan turned, thinned to the working spacing, and with all padding at the value of air."""
    turned, affine = canonical(volume.voxels, volume.affine)
    z, y, x = turned.shape
    grid = Grid((z, y, x), affine)
    own = grid.spacing_mm
    coarser = respaced(grid, (max(own[0], WORKING_SPACING_MM[0]), max(own[1], 2.0), max(own[2], 2.0)))
    hu = resample(np.maximum(turned, AIR_HU), affine, onto=coarser, kind="linear", outside=float(AIR_HU))
    return np.nan_to_num(hu, nan=float(AIR_HU)), coarser


def _enclosed(hu: Hu, solid: Mask) -> Mask:
    """Return the gaps of each axial slice that belong inside the body: those closed by it, and lung cut by the frame.

    The frame is the border of the slice and the padding around a round field of view.
    """
    padding = ndimage.binary_opening(hu <= float(hu.min()), ndimage.iterate_structure(IN_PLANE, 2)) & ~solid
    gaps, count = ndimage.label(~solid & ~padding, IN_PLANE)
    frame = ndimage.binary_dilation(padding, IN_PLANE) & (gaps > 0)
    for border in (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1]):
        frame[border] = gaps[border] > 0
    reached = np.zeros(count + 1, dtype=bool)
    reached[np.unique(gaps[frame])] = True
    open_gaps = reached[gaps] & (gaps > 0)
    return (~reached[gaps] & (gaps > 0)) | _cut_by_frame(hu, open_gaps, frame, solid)


def _cut_by_frame(hu: Hu, open_gaps: Mask, frame: Mask, solid: Mask) -> Mask:
    """Return those gaps, taken over all slices, that are cut by the frame rather than open to the air around."""
    labels, count = _apart(open_gaps)
    rim = open_gaps & (frame | ndimage.binary_dilation(solid, IN_PLANE))
    share = np.bincount(labels[frame], minlength=count + 1) / np.maximum(1, np.bincount(labels[rim], minlength=count + 1))
    typical = np.full(count + 1, float(AIR_HU))
    if count:
        typical[1:] = ndimage.median(hu, labels, np.arange(1, count + 1))
    cut = ((share < MOST_CONTACT) & (typical > OUTER_AIR_HU)) | (share < LITTLE_CONTACT)
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
