"""Heart, lungs with their lobes, great vessels, mediastinum and what is seen of the abdomen; and the masks of it all.

Findings that change the anatomy itself (size of the heart, fluid around it, flat or lifted diaphragm, shifted fissure)
are drawn here; lesions are painted upon it by `chest_findings`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, UInt8

from espalier.phantom.chest_frame import Frame, draw_bones, draw_frame
from espalier.phantom.draw import (
    Canvas,
    Patch,
    Point,
    Share,
    Sites,
    Turn,
    ellipsoid,
    mix,
    paint,
    rod,
    rotation,
    step,
    unite,
    whole,
)
from espalier.phantom.findings import Detail
from espalier.phantom.scanner import Girth

STRUCTURES: Final = (
    "lung_upper_lobe_left",
    "lung_lower_lobe_left",
    "lung_upper_lobe_right",
    "lung_middle_lobe_right",
    "lung_lower_lobe_right",
    "heart",
)


@dataclass(frozen=True, slots=True)
class Heart:
    """The heart: an ellipsoid in mm with fluid around it, its share, and the share of heart, fluid and fat together."""

    centre: Point
    radii_mm: Point
    turn: Turn
    fluid_mm: float
    share: Share
    sac: Share

    def shell(self, canvas: Canvas, distance_mm: float) -> Patch:
        """Return the heart grown by so many mm; negative shrinks it."""
        return _grown(canvas, self.centre, self.radii_mm, self.turn, distance_mm)


@dataclass(frozen=True, slots=True)
class Thorax:
    """All that is drawn of a chest before lesions; `lobes` holds values of `STRUCTURES`, `aerated` the share of lung."""

    frame: Frame
    blood_hu: float
    heart: Heart
    lung: Share
    aerated: Share
    lobes: UInt8[np.ndarray, "z y x"]
    fissure_mm: Share
    mediastinum: Share
    aorta: Share
    liver: Share
    below: Share
    details: dict[str, Detail]


@dataclass(frozen=True, slots=True)
class Scene:
    """What painting upon a chest needs: where, whose, and random numbers and places of its own."""

    canvas: Canvas
    thorax: Thorax
    rng: np.random.Generator
    sites: Sites

    def pick(self, where: Bool[np.ndarray, "z y x"], count: int) -> list[Point]:
        """Return random positions; see `Sites.pick`."""
        return self.sites.pick(self.canvas, where, count)


def draw_thorax(canvas: Canvas, girth: Girth, rng: np.random.Generator, findings: Mapping[str, int], *, female: bool) -> Thorax:
    """Draw a chest with these findings as far as they change its anatomy."""
    u = rng.uniform
    details: dict[str, Detail] = {}
    frame = draw_frame(
        canvas,
        girth,
        rng,
        female=female,
        emphysema=bool(findings["emphysema"]),
        fibrosis=bool(findings["pulmonary_fibrotic_sequela"]),
    )
    enhanced, bright, plain = rng.random() < 0.5, u(90, 150), u(35, 48)
    blood_hu = bright if enhanced else plain
    heart = _make_heart(canvas, rng, frame, findings, details)
    lung, gap = _make_lungs(canvas, rng, frame, heart)
    fluid = _make_effusion(canvas, rng, frame, lung, findings, details)
    lung = lung * (1 - fluid)
    lobes, fissure_mm = _make_lobes(canvas, rng, frame, lung, findings, details)
    gradient = np.float32(u(20, 90) / frame.cavity_y_mm) * np.clip(canvas.y, -frame.cavity_y_mm, frame.cavity_y_mm)
    mix(canvas.hu, lung, gradient + np.float32(-850 + rng.normal(0, 25)))
    mix(canvas.hu, fluid, u(0, 22))
    _draw_lung_vessels(canvas, rng, frame, lung, blood_hu)
    liver, below = _draw_abdomen(canvas, rng, frame, heart, blood_hu)
    aorta, mediastinum = _draw_mediastinum(canvas, rng, frame, heart, gap, blood_hu)
    _draw_heart(canvas, rng, heart, frame, aorta, blood_hu)
    draw_bones(canvas, rng, frame)
    aerated = lung * (1 - heart.share) * (1 - aorta)
    return Thorax(frame, blood_hu, heart, lung, aerated, lobes, fissure_mm, mediastinum, aorta, liver, below, details)


def draw_masks(thorax: Thorax) -> UInt8[np.ndarray, "z y x"]:
    """Return the masks of `STRUCTURES`, value = index + 1; lobes keep consolidation and lose effusion."""
    masks = thorax.lobes.copy()
    masks[thorax.aorta > 0.5] = 0
    masks[thorax.heart.share > 0.5] = STRUCTURES.index("heart") + 1
    return masks


def lobe(name: str) -> int:
    """Return the value of a lobe in the masks."""
    return STRUCTURES.index(name) + 1


def _grown(canvas: Canvas, centre: Point, radii_mm: Point, turn: Turn, distance_mm: float) -> Patch:
    factor = max(0.05, 1 + distance_mm / float(np.prod(radii_mm)) ** (1 / 3))
    x, y, z = (radius * factor for radius in radii_mm)
    return ellipsoid(canvas, centre, (x, y, z), turn)


def _make_heart(
    canvas: Canvas, rng: np.random.Generator, frame: Frame, findings: Mapping[str, int], details: dict[str, Detail]
) -> Heart:
    u = rng.uniform
    large, usual = np.clip(rng.normal(0.505, 0.03), 0.45, 0.6), np.clip(rng.normal(0.42, 0.03), 0.33, 0.48)
    ratio = float(large if findings["cardiomegaly"] else usual)
    thickness, fat = u(6, 15), u(0, 10)
    if findings["cardiomegaly"]:
        details["cardiomegaly_ratio"] = round(ratio, 2)
    if findings["pericardial_effusion"]:
        details["pericardial_effusion_mm"] = round(thickness)
    radius = ratio * frame.cavity_x_mm
    radii = (radius, radius * u(0.72, 0.9), radius * u(0.8, 1.0))
    x, y = u(0.10, 0.24) * frame.cavity_x_mm, -u(0.12, 0.3) * frame.cavity_y_mm
    centre = (x, y, -0.5 * frame.height_mm + 0.6 * frame.dome_mm[0] + radii[2] * u(0.72, 0.9))
    turn = rotation(u(-0.3, 0.1), u(0.2, 0.6), u(-0.5, -0.1))
    fluid = thickness if findings["pericardial_effusion"] else 0.0
    share = whole(canvas, _grown(canvas, centre, radii, turn, 0))
    sac = whole(canvas, _grown(canvas, centre, radii, turn, fluid + fat))
    return Heart(centre, radii, turn, fluid, share, sac)


def _make_lungs(canvas: Canvas, rng: np.random.Generator, frame: Frame, heart: Heart) -> tuple[Share, Share]:
    """Return the share of both lungs, and half the width of the mediastinum between them in mm."""
    width = np.float32(frame.cavity_x_mm * rng.uniform(0.13, 0.19))
    gap = width * (1 + np.float32(0.25) * np.clip(canvas.z * np.float32(-1 / (0.3 * frame.height_mm)), 0, 1))
    lung = frame.cavity * step(gap - np.abs(canvas.x), canvas.edge_mm)
    lung *= step(-frame.above_dome_mm, canvas.edge_mm)
    lung *= 1 - heart.sac
    return lung, gap


def _make_effusion(
    canvas: Canvas,
    rng: np.random.Generator,
    frame: Frame,
    lung: Share,
    findings: Mapping[str, int],
    details: dict[str, Detail],
) -> Share:
    """Return fluid that lies behind the lungs and thins out towards its top."""
    depth, top = rng.uniform(9, 24), rng.uniform(-0.15, 0.2) * frame.height_mm
    side = ("right", "left", "both")[rng.integers(3)]
    if not findings["pleural_effusion"]:
        return np.zeros_like(lung)
    details |= {"pleural_effusion_side": side, "pleural_effusion_mm": round(depth)}
    taper = np.sqrt(np.clip(1 - np.clip(canvas.z / (0.5 * frame.height_mm), 0, 1) ** 3, 1e-4, 1))
    level = np.float32(depth) * np.clip((top - canvas.z) / (0.25 * frame.height_mm), 0, 1)
    fluid = step(np.float32(frame.cavity_y_mm) * taper - level - canvas.y, canvas.edge_mm)
    fluid *= step(canvas.z - np.float32(top), canvas.edge_mm) * lung
    if side != "both":
        fluid *= canvas.x < 0 if side == "right" else canvas.x >= 0
    return fluid


def _make_lobes(
    canvas: Canvas,
    rng: np.random.Generator,
    frame: Frame,
    lung: Share,
    findings: Mapping[str, int],
    details: dict[str, Detail],
) -> tuple[UInt8[np.ndarray, "z y x"], Share]:
    """Return the lobes and the height of the oblique fissure in mm; atelectasis draws the fissure of its side down."""
    height = frame.height_mm
    right, left = rng.normal(0, 0.045, 2)
    horizontal = rng.uniform(-0.03, 0.07) * height
    side = ("right", "left")[rng.integers(2)]
    if findings["atelectasis"]:
        details["atelectasis_side"] = side
        right, left = (right - 0.07, left) if side == "right" else (right, left - 0.07)
    is_right = canvas.x < 0
    fissure = np.where(is_right, np.float32((right - 0.1) * height), np.float32((left - 0.1) * height))
    fissure += canvas.y * np.float32(0.36 * height / frame.cavity_y_mm)
    lower, inside = canvas.z < fissure, lung > 0.5
    lobes = np.zeros(lung.shape, np.uint8)
    lobes[inside & ~is_right] = lobe("lung_upper_lobe_left")
    lobes[inside & ~is_right & lower] = lobe("lung_lower_lobe_left")
    lobes[inside & is_right] = lobe("lung_upper_lobe_right")
    lobes[inside & is_right & (canvas.z < horizontal)] = lobe("lung_middle_lobe_right")
    lobes[inside & is_right & lower] = lobe("lung_lower_lobe_right")
    return lobes, fissure


def _draw_lung_vessels(canvas: Canvas, rng: np.random.Generator, frame: Frame, lung: Share, blood_hu: float) -> None:
    """Draw 10-17 bent vessels a lung, from the hilum outwards, each as three thinning rods."""
    u = rng.uniform
    for side in (-1, 1):
        hilum = np.array([side * 0.2 * frame.cavity_x_mm, 0.1 * frame.cavity_y_mm, 0.02 * frame.height_mm])
        for _ in range(int(rng.integers(10, 18))):
            way = np.array([side * u(0.2, 1), u(-1, 1), u(-1, 1)])
            way /= np.linalg.norm(way)
            length, bend, radius = u(50, 120), rng.normal(0, 0.25, 3), u(2.5, 5)
            points = [hilum + length * (way * t + bend * t**2) for t in (0.0, 0.33, 0.67, 1.0)]
            for k in range(3):
                start, end = points[k], points[k + 1]
                patch = rod(canvas, _point(start), _point(end), radius * (0.9 - 0.2 * k))
                paint(canvas, patch, blood_hu, lung, strength=0.8)


def _point(position: np.ndarray) -> Point:
    return float(position[0]), float(position[1]), float(position[2])


def _draw_abdomen(canvas: Canvas, rng: np.random.Generator, frame: Frame, heart: Heart, blood_hu: float) -> tuple[Share, Share]:
    """Draw liver, spleen, stomach and bowel gas under the diaphragm; return the shares of liver and of all below it."""
    u, ax, ay, height = rng.uniform, frame.cavity_x_mm, frame.cavity_y_mm, frame.height_mm
    below = frame.cavity * step(frame.above_dome_mm, canvas.edge_mm) * (1 - heart.share)
    foot = step(frame.wall_mm, canvas.edge_mm) * step(canvas.z + np.float32(0.45 * height), canvas.edge_mm)
    np.maximum(below, foot, out=below)
    mix(canvas.hu, below, -95)
    liver = whole(canvas, ellipsoid(canvas, (-0.3 * ax, -0.1 * ay, -0.62 * height), (0.75 * ax, 0.85 * ay, 0.32 * height)))
    liver *= below
    mix(canvas.hu, liver, 50 + 0.35 * (blood_hu - 40))
    spleen = ellipsoid(canvas, (0.62 * ax, 0.5 * ay, -0.62 * height), (0.3 * ax, 0.35 * ay, 0.18 * height))
    paint(canvas, spleen, 48 + 0.4 * (blood_hu - 40), below)
    centre, radius, surface = (0.4 * ax, -0.25 * ay, -0.58 * height), u(25, 48), u(-0.8, 0.3)
    stomach = ellipsoid(canvas, centre, (radius, radius * 0.9, radius))
    paint(canvas, stomach, 20, below)
    if rng.random() < 0.75:
        gas = step(canvas.y - np.float32(centre[1] + surface * radius), canvas.edge_mm) * below
        paint(canvas, stomach, -950, gas)
    for _ in range(int(rng.integers(0, 4))):
        place = (u(-0.8, 0.8) * ax, -u(0.3, 0.8) * ay, -u(0.55, 0.75) * height)
        paint(canvas, ellipsoid(canvas, place, (u(12, 26), u(12, 26), u(12, 26))), -950, below)
    return liver, below


def _draw_mediastinum(
    canvas: Canvas, rng: np.random.Generator, frame: Frame, heart: Heart, gap: Share, blood_hu: float
) -> tuple[Share, Share]:
    """Draw soft tissue between the lungs, aorta, airways and oesophagus; return the shares of aorta and mediastinum."""
    u, ax, ay, height = rng.uniform, frame.cavity_x_mm, frame.cavity_y_mm, frame.height_mm
    mediastinum = frame.cavity * step(np.abs(canvas.x) - np.float32(0.75) * gap, canvas.edge_mm)
    mediastinum *= step(-frame.above_dome_mm, canvas.edge_mm)
    mix(canvas.hu, mediastinum * np.float32(u(0.3, 0.7)), 30)
    aorta = _make_aorta(canvas, rng, frame, heart)
    mix(canvas.hu, aorta * frame.body, blood_hu)
    windpipe = u(7, 10)
    paint(canvas, rod(canvas, (0, 0.2 * ay, 0.08 * height), (0, 0.2 * ay, 0.7 * height), windpipe), -950, frame.body)
    for side in (-1, 1):
        end = (side * 0.28 * ax, 0.2 * ay, -0.02 * height)
        paint(canvas, rod(canvas, (0, 0.2 * ay, 0.08 * height), end, 6), -900)
    paint(canvas, ellipsoid(canvas, (0.04 * ax, 0.42 * ay, 0), (8, 8, 4000)), 30, frame.cavity)
    return aorta, mediastinum


def _make_aorta(canvas: Canvas, rng: np.random.Generator, frame: Frame, heart: Heart) -> Share:
    """Return ascending aorta, arch and descending aorta."""
    u, ax, ay = rng.uniform, frame.cavity_x_mm, frame.cavity_y_mm
    radius, top = u(13, 18), u(0.15, 0.24) * frame.height_mm
    front, back = (-0.03 * ax, -0.12 * ay), (u(0.1, 0.18) * ax, u(0.45, 0.6) * ay)
    aorta = whole(canvas, ellipsoid(canvas, (*front, 0), (radius, radius, 4000)))
    aorta *= (canvas.z <= top) & (canvas.z >= heart.centre[2])
    descending = ellipsoid(canvas, (*back, 0), (radius * 0.85, radius * 0.85, 4000))
    descending.share[...] *= canvas.z[descending.box] <= top
    unite(aorta, descending)
    unite(aorta, rod(canvas, (*front, top), (*back, top), radius))
    return aorta


def _draw_heart(canvas: Canvas, rng: np.random.Generator, heart: Heart, frame: Frame, aorta: Share, blood_hu: float) -> None:
    """Draw fat and fluid around the heart, then its blood; the aorta stays where it leaves the heart."""
    fluid_hu = rng.uniform(4, 22)
    mix(canvas.hu, heart.sac * frame.cavity, -90)
    if heart.fluid_mm:
        paint(canvas, heart.shell(canvas, heart.fluid_mm), fluid_hu, 1 - aorta)
    leaves = aorta * (canvas.z > heart.centre[2] + 0.6 * heart.radii_mm[2])
    mix(canvas.hu, heart.share * (1 - leaves), blood_hu)
