"""Which part of the body a scan shows, from blocks of about 4 mm and without weights.

Head, neck and limb need evidence of their own: a shell of bone around brain; a narrow body with bone and one airway that
runs on from slice to slice; narrow bodies free in air, with long bones and no gas. Everything else stays unnamed.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy import ndimage

from espalier.cohort.volume import Volume
from espalier.geometry import Triple, canonical

BLOCK_MM: Final = 4.0
AIR_HU: Final = -400.0
OUTSIDE_HU: Final = -930.0
GAS_HU: Final = -965.0
"""Gas in bowel and stomach is darker than this where no wall shares the block; even emphysema is not."""
BONE_HU: Final = 200.0
TABLE_MM: Final = 16.0
"""What is thinner than this and stands in air is table, blanket or tube."""
LUNG_ML: Final = 20.0
"""Smaller pieces are not counted as lung."""
SOME_LUNG_ML: Final = 150.0
GAS_CM2: Final = 0.4
"""A slice of a limb holds less gas than this; a trunk with so little in most slices is rare."""
LEGS_APART_MM: Final = 12.0
CHEST_SHARE: Final = 0.12
"""A slice of the chest has at least this share of lung in its cross-section."""

Blocks = Float32[np.ndarray, "z y x"]
Mask = Bool[np.ndarray, "z y x"]
PerSlice = Float[np.ndarray, " z"]
BOWEL_SHARE: Final = 0.05
"""Of a cross-section; stool and gas mixed can look like so much lung."""
TRUNK_CM2: Final = 200.0
CUT_SHARE: Final = 0.25
IN_PLANE: Final = np.array([np.zeros((3, 3)), [[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.zeros((3, 3))], dtype=bool)


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """A scan in blocks, canonical: z up, y to the back, x to the left.

    Parameters
    ----------
    hu, spacing_mm
        Mean HU of each block, and the blocks' size.
    body, lungs, gas
        The patient with all air inside, what is lung, and other air inside.
    """

    hu: Blocks
    spacing_mm: Triple
    body: Mask
    lungs: Mask
    gas: Mask

    def area_cm2(self, mask: Mask) -> PerSlice:
        """Return the area of a mask in each slice."""
        return np.asarray(mask.sum(axis=(1, 2)) * (self.spacing_mm[1] * self.spacing_mm[2] / 100))

    @property
    def lungs_ml(self) -> float:
        """Volume of the lungs."""
        return float(self.area_cm2(self.lungs).sum() * self.spacing_mm[0] / 10)

    @property
    def coverage_mm(self) -> float:
        """Length of the body that is covered."""
        return float(self.hu.shape[0] * self.spacing_mm[0])


def blocks_of(volume: Volume, block_mm: float = BLOCK_MM) -> tuple[Blocks, Triple]:
    """Return means over whole numbers of voxels, as near to `block_mm` as that allows from below, and the blocks' size."""
    counts = [max(1, int(block_mm / spacing + 0.01)) for spacing in volume.spacing_mm]
    counts = [min(count, size) for count, size in zip(counts, volume.shape, strict=True)]
    sizes = [size // count for count, size in zip(counts, volume.shape, strict=True)]
    means = np.zeros(sizes, dtype=np.float32)
    height, width = sizes[1] * counts[1], sizes[2] * counts[2]
    rows = np.empty((sizes[1], width), dtype=np.float32)
    for n in range(sizes[0]):
        rows[...] = 0
        for plane in volume.voxels[n * counts[0] : (n + 1) * counts[0]]:
            for first in range(counts[1]):
                rows += plane[first : height : counts[1], :width]
        means[n] = rows.reshape(sizes[1], sizes[2], counts[2]).sum(axis=2)
    means /= np.float32(np.prod(counts))
    affine = volume.affine.copy()
    affine[:3, :3] *= counts
    turned, affine = canonical(means, affine)
    z, y_mm, x_mm = np.linalg.norm(affine[:3, :3], axis=0)
    return turned, (float(z), float(y_mm), float(x_mm))


def anatomy_of(volume: Volume) -> Anatomy:
    """Return body, lungs and gas of a volume in HU; all empty where there is no tissue."""
    hu, spacing = blocks_of(volume)
    outside, lungs, gas = _airs(hu, spacing)
    thin = max(1, round(TABLE_MM / 2 / max(spacing[1:])))
    solid = ndimage.binary_opening(~outside, IN_PLANE, iterations=thin)
    pieces, count = ndimage.label(solid)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    large = sizes > 0.1 * sizes.max(initial=1)
    body = large[pieces]
    return Anatomy(hu, spacing, body, lungs & body, gas & body)


def _airs(hu: Blocks, spacing: Triple) -> tuple[Mask, Mask, Mask]:
    """Tell apart the air around the patient, lung, and other air inside, slice by slice."""
    air = hu < AIR_HU
    labels, count = ndimage.label(air, IN_PLANE)
    numbers = np.arange(count + 1)
    left, right = (np.isin(numbers, labels[..., at]) for at in (0, -1))
    front, back = (np.isin(numbers, labels[:, at]) for at in (0, -1))
    mean = _mean(hu, labels, count)
    inner = _mean(hu, np.where(ndimage.binary_erosion(air, IN_PLANE), labels, 0), count)
    # In a narrow field the lungs reach its edge; a mattress does so on both sides.
    at_edge = left | right | front | back
    outside = at_edge & ((mean < OUTSIDE_HU) | (left & right) | back | np.isnan(inner))
    outside[0] = False
    like_lung = ~outside & (inner > GAS_HU) & (inner < AIR_HU)
    like_lung[0] = False
    lungs = like_lung[labels]
    pieces, found = ndimage.label(lungs)
    voxel_ml = float(np.prod(spacing)) / 1000
    large = np.bincount(pieces.ravel(), minlength=found + 1) * voxel_ml >= LUNG_ML
    large[0] = False
    lungs = large[pieces]
    return outside[labels], lungs, air & ~outside[labels] & ~lungs


def _mean(hu: Blocks, labels: Int[np.ndarray, "z y x"], count: int) -> Float[np.ndarray, " n"]:
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    total = np.bincount(labels.ravel(), weights=hu.ravel(), minlength=count + 1)
    return np.asarray(np.where(sizes > 0, total / np.maximum(sizes, 1), np.nan))


def body_part_of(anatomy: Anatomy) -> str:
    """Return `head`, `neck`, `limb`, `chest`, `abdomen`, `chest+abdomen`, or `unknown` where nothing speaks for any."""
    step, lung, body = anatomy.spacing_mm[0], anatomy.area_cm2(anatomy.lungs), anatomy.area_cm2(anatomy.body)
    few_lungs = anatomy.lungs_ml < SOME_LUNG_ML
    head, neck, limb = (float(shown.sum() * step) for shown in (_head(anatomy), _neck(anatomy), _limb(anatomy)))
    whole = anatomy.coverage_mm
    if head >= 30 and (few_lungs or head + neck > 0.5 * whole):
        return "head"
    if neck >= 60 and neck > 0.5 * whole and few_lungs:
        return "neck"
    if limb >= 50 and limb > 0.5 * whole and few_lungs:
        return "limb"
    in_chest = lung > CHEST_SHARE * np.maximum(body, 1)
    chest = float(in_chest.sum() * step)
    first = int(np.argmax(in_chest)) if in_chest.any() else len(body)
    trunk = (body > 180) & (lung < 0.02 * body)
    abdomen = float(trunk[:first].sum() * step)
    if chest >= 60:
        return "chest+abdomen" if abdomen >= 100 else "chest"
    return "abdomen" if abdomen >= 60 else "unknown"


def lungs_are_cut(anatomy: Anatomy) -> bool:
    """Tell whether the lungs reach the first or the last slice with more than a tip; apex and recess end in one."""
    lung = anatomy.area_cm2(anatomy.lungs)
    return bool(max(lung[0], lung[-1]) > CUT_SHARE * lung.max())


def is_trunk_without_lungs(anatomy: Anatomy) -> bool:
    """Tell whether at least 100 mm of a trunk of adult girth are there, whole in the field, with no lung in any slice."""
    body = anatomy.area_cm2(anatomy.body)
    wide = body > TRUNK_CM2
    airless = anatomy.area_cm2(anatomy.lungs) < BOWEL_SHARE * np.maximum(body, 1)
    cut = anatomy.body[:, :, 0].any(axis=1) & anatomy.body[:, :, -1].any(axis=1)
    long_enough = wide.sum() * anatomy.spacing_mm[0] >= 100
    return bool(long_enough and wide.mean() > 0.8 and airless.all() and cut.mean() < 0.3)


def _head(anatomy: Anatomy) -> Bool[np.ndarray, " z"]:
    """Return the slices with a closed shell of bone around nothing but brain."""
    return np.array([_is_skull(anatomy, n, area) for n, area in enumerate(anatomy.area_cm2(anatomy.body))], dtype=bool)


def _is_skull(anatomy: Anatomy, n: int, area_cm2: float) -> bool:
    if not 45 < area_cm2 < 330:
        return False
    hu, body = anatomy.hu[n], anatomy.body[n]
    y, x = np.nonzero(body)
    y_mm, x_mm = (y - y.mean()) * anatomy.spacing_mm[1], (x - x.mean()) * anatomy.spacing_mm[2]
    away = np.hypot(y_mm, x_mm)
    turn = ((np.arctan2(y_mm, x_mm) / np.pi + 1) * 12).astype(int) % 24
    edge = np.zeros(24)
    np.maximum.at(edge, turn, away)
    depth = away / np.maximum(edge[turn], 1)
    inside, values = depth < 0.6, hu[y, x]
    brain = np.mean((values[inside] > -20) & (values[inside] < 110))
    shell = np.unique(turn[(depth > 0.6) & (values > 150)])
    return bool(len(shell) >= 22 and brain > 0.92)


def _neck(anatomy: Anatomy) -> Bool[np.ndarray, " z"]:
    """Return the slices of a narrow body with bone and one airway near its middle that runs on from slice to slice."""
    body = anatomy.area_cm2(anatomy.body)
    bone = anatomy.area_cm2(anatomy.body & (anatomy.hu > BONE_HU))
    width = anatomy.body.any(axis=1).sum(axis=1) * anatomy.spacing_mm[2]
    air = anatomy.area_cm2(anatomy.gas | anatomy.lungs)
    shown = (body > 45) & (body < 280) & (width < 210) & (bone > 0.015 * body) & (air > 0.25) & (air < 9)
    places = np.full((len(shown), 2), np.nan)
    for n in np.flatnonzero(shown):
        _, x = np.nonzero(anatomy.body[n])
        gas_y, gas_x = np.nonzero(anatomy.gas[n] | anatomy.lungs[n])
        places[n] = gas_y.mean() * anatomy.spacing_mm[1], gas_x.mean() * anatomy.spacing_mm[2]
        shown[n] = abs(places[n, 1] - x.mean() * anatomy.spacing_mm[2]) < 0.22 * width[n]
    moved = np.linalg.norm(np.diff(places, axis=0), axis=1) < 10
    runs_on = np.zeros(len(shown), dtype=bool)
    runs_on[1:] |= moved
    runs_on[:-1] |= moved
    return shown & runs_on


def _limb(anatomy: Anatomy) -> Bool[np.ndarray, " z"]:
    """Return the slices where every piece is narrow, free in air and has a bone near its middle; none where most hold gas."""
    none = np.zeros(anatomy.hu.shape[0], dtype=bool)
    gasless = anatomy.area_cm2(anatomy.gas | anatomy.lungs) < GAS_CM2
    if gasless.mean() < 0.6:
        return none
    # Legs that touch come apart once they are made thinner.
    times = max(1, round(LEGS_APART_MM / max(anatomy.spacing_mm[1:])))
    kept_off_cm = times * max(anatomy.spacing_mm[1:]) / 10
    labels, count = ndimage.label(ndimage.binary_erosion(anatomy.body, IN_PLANE, iterations=times, border_value=1), IN_PLANE)
    if count == 0:
        return none
    pixel_cm2 = anatomy.spacing_mm[1] * anatomy.spacing_mm[2] / 100
    bone = np.where(anatomy.hu > BONE_HU, labels, 0)
    inner, hard = (np.bincount(part.ravel(), minlength=count + 1)[1:] * pixel_cm2 for part in (labels, bone))
    radius_cm = np.sqrt(inner / np.pi) + kept_off_cm
    edge = np.zeros_like(anatomy.body)
    edge[:, [0, -1]] = edge[:, :, [0, -1]] = True
    at_edge_cm = np.bincount(labels[edge], minlength=count + 1)[1:] * np.sqrt(pixel_cm2)
    numbers = np.arange(1, count + 1)
    middles = np.asarray(ndimage.center_of_mass(labels > 0, labels, numbers))
    bones = middles.copy()
    with_bone = hard > 0
    if with_bone.any():
        bones[with_bone] = ndimage.center_of_mass(bone > 0, bone, numbers[with_bone])
    off = np.linalg.norm((bones - middles)[:, 1:] * anatomy.spacing_mm[1:], axis=1) / (10 * radius_cm)
    area = np.pi * radius_cm**2
    good = (area < np.where(off < 0.35, 300, 130)) & (off < 0.5) & (hard > 0.01 * area) & (hard < 0.75 * area)
    good &= at_edge_cm < 0.3 * 2 * np.pi * radius_cm
    planes = middles[:, 0].round().astype(int)
    bad = np.bincount(planes[~good & (inner > 1)], minlength=len(none)) > 0
    shown = np.bincount(planes[good], minlength=len(none)) > 0
    return np.asarray(shown & ~bad & gasless)
