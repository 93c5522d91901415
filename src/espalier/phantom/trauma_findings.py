"""Injuries of the abdomen: who has which, and how they look. Lesions suit voxels of 9 x 7.2 x 7.2 mm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from espalier.phantom.draw import Point, Share, blob, ellipsoid, paint, tilt, unite
from espalier.phantom.findings import SOLID, TRAUMA, Detail, Truth
from espalier.phantom.trauma_anatomy import Scene

CONTRAST_HU: Final = (70.0, 120.0)
"""How far below its structure a laceration lies."""
LOW: Final = (0.36, 0.50)
HIGH: Final = (0.50, 0.78)
"""Radius of a laceration as a share of the radius of a ball of the structure's volume."""
SIZE: Final = {"liver": 0.66, "spleen": 1.25, "kidney": 1.3}
"""Lesions of the liver are smaller shares, those of small structures larger ones: large enough for the voxels, and not so
large that they would show in the HU histogram of the whole scan (benchmarks/phantom.py)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Injuries:
    """What a patient suffered, per group of RATIC; grades 0 healthy, 1-3 low, 4-5 high."""

    bowel: bool
    extravasation: bool
    grades: Mapping[str, int]


def draw_injuries(rng: np.random.Generator, prevalence: float) -> Injuries:
    """Draw each group independently; low and high grades are equally frequent."""
    hurt = rng.random(5) < prevalence
    grades = np.where(rng.random(3) < 0.5, rng.integers(1, 4, 3), rng.integers(4, 6, 3))
    solid = {name: int(grade * is_hurt) for name, grade, is_hurt in zip(SOLID, grades, hurt[2:], strict=True)}
    return Injuries(bowel=bool(hurt[0]), extravasation=bool(hurt[1]), grades=solid)


def trauma_truth(injuries: Injuries, details: Mapping[str, Detail], look_alikes: tuple[str, ...]) -> Truth:
    """Return the truth in the columns of RATIC."""
    grades = injuries.grades
    values = [not injuries.bowel, injuries.bowel, not injuries.extravasation, injuries.extravasation]
    for name in SOLID:
        values += [grades[name] == 0, 1 <= grades[name] <= 3, grades[name] >= 4]
    values.append(injuries.bowel or injuries.extravasation or any(grades.values()))
    findings = dict(zip(TRAUMA, map(int, values), strict=True))
    return Truth(anatomy="trauma", findings=findings, details=details, look_alikes=look_alikes)


def paint_injuries(scene: Scene, injuries: Injuries) -> dict[str, Detail]:
    """Paint every injury of a patient; return the details of `Truth`."""
    details: dict[str, Detail] = {}
    for name in ("liver", "spleen", "kidney"):
        if grade := injuries.grades[name]:
            details |= _paint_lacerations(scene, name, grade=grade)
    if injuries.bowel:
        details |= _paint_bowel(scene)
    if injuries.extravasation:
        details |= _paint_extravasation(scene)
    return details


def laceration(scene: Scene, centre: Point, radius_mm: float, *, within: Share, hu: float) -> None:
    """Paint one hypodense lesion into tissue of `hu`."""
    paint(
        scene.canvas,
        blob(scene.canvas, scene.rng, centre, radius_mm, spread=0.35),
        hu - scene.rng.uniform(*CONTRAST_HU),
        within,
    )


def _paint_lacerations(scene: Scene, name: str, *, grade: int) -> dict[str, Detail]:
    details: dict[str, Detail] = {f"{name}_grade": grade}
    structure = name
    if name == "kidney":
        side = ("left", "right")[scene.rng.integers(2)]
        details["kidney_side"] = side
        structure = f"kidney_{side}"
    share = scene.abdomen.solid.shares[structure]
    ball_mm = scene.sites.once(lambda: float(share.sum() * scene.canvas.voxel_ml * 1000 * 0.75 / np.pi) ** (1 / 3))
    size_mm = ball_mm * SIZE[name]
    radii = [radius * size_mm for radius in _radii(scene.rng, grade)]
    for radius, centre in zip(radii, scene.pick(share > 0.9, len(radii)), strict=False):
        laceration(scene, centre, radius, within=share, hu=scene.abdomen.solid.hu[structure])
    return details | {f"{name}_lesions": len(radii), f"{name}_size_mm": round(2 * max(radii), 0)}


def _radii(rng: np.random.Generator, grade: int) -> list[float]:
    """Return radii of lacerations, as shares: one for grades 1-3, in thirds of `LOW`; one for 4; two or three for 5."""
    if grade <= 3:
        third = (LOW[1] - LOW[0]) / 3
        return [LOW[0] + third * (grade - 1 + rng.random())]
    return [rng.uniform(*HIGH) for _ in range(1 if grade == 4 else rng.integers(2, 4))]


def _paint_bowel(scene: Scene) -> dict[str, Detail]:
    """Paint a mural and mesenteric haematoma, free gas beside a loop, or both."""
    loop = scene.abdomen.loops[scene.rng.integers(8, len(scene.abdomen.loops))]
    kind = scene.rng.random()
    if kind < 0.7:
        _paint_haematoma(scene, loop.centre, loop.radius_mm)
    if kind > 0.4:
        x, y, z = loop.centre
        near = np.square(scene.canvas.x - x) + np.square(scene.canvas.y - y) + np.square(scene.canvas.z - z) < 60**2
        room = scene.abdomen.torso.room * (1 - scene.abdomen.solid.taken)
        for centre in scene.pick((scene.abdomen.free > 0.85) & near, int(scene.rng.integers(2, 5))):
            paint(scene.canvas, blob(scene.canvas, scene.rng, centre, scene.rng.uniform(12, 20)), -850, room)
    return {"bowel_pattern": "haematoma" if kind <= 0.4 else "both" if kind < 0.7 else "free_gas"}


def _paint_haematoma(scene: Scene, centre: Point, radius_mm: float) -> None:
    u, size = scene.rng.uniform, scene.rng.uniform(38, 55)
    patch = ellipsoid(scene.canvas, centre, (size, size * u(0.75, 1), size * u(0.75, 1)), tilt(scene.rng, 0.7))
    paint(scene.canvas, patch, u(25, 60), scene.abdomen.free, strength=0.95)
    wall_hu = scene.abdomen.phase.tissue_hu + u(0, 20)
    paint(scene.canvas, patch, wall_hu, scene.abdomen.bowel, strength=0.8)
    inner = ellipsoid(scene.canvas, centre, (radius_mm * 0.45, radius_mm * 0.45, radius_mm * 0.45))
    paint(scene.canvas, inner, u(10, 40), scene.abdomen.bowel)


def _paint_extravasation(scene: Scene) -> dict[str, Detail]:
    """Paint contrast outside the vessels: bright blobs in one structure or in the mesentery."""
    place = ("liver", "spleen", "kidney", "mesentery")[scene.rng.integers(4)]
    if place == "mesentery":
        where = (scene.abdomen.free > 0.85) & near_bowel(scene)
    elif place == "kidney":
        where = scene.abdomen.solid.shares["kidney_left"] + scene.abdomen.solid.shares["kidney_right"] > 0.8
    else:
        where = scene.abdomen.solid.shares[place] > 0.8
    radii = scene.rng.uniform(14, 20, int(scene.rng.integers(1, 3)))
    for radius, centre in zip(radii, scene.pick(where, len(radii)), strict=False):
        hu = scene.abdomen.phase.blood_hu + scene.rng.uniform(120, 220)
        paint(scene.canvas, blob(scene.canvas, scene.rng, centre, float(radius)), hu, scene.abdomen.torso.room)
    return {"extravasation_place": place, "extravasation_size_mm": round(2 * float(radii.max()), 0)}


def near_bowel(scene: Scene) -> np.ndarray:
    """Return where bowel is at most about 15 mm away, as ellipsoids around the loops."""
    near = np.zeros(scene.canvas.hu.shape, np.float32)
    for loop in scene.abdomen.loops:
        radius = loop.radius_mm + 15
        unite(near, ellipsoid(scene.canvas, loop.centre, (radius, radius, radius)))
    return np.asarray(near > 0.5)
