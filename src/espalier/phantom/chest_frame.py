"""The chest without its content: skin, fat, muscle, the tapering cavity, the diaphragm, bones (all HU and mm)."""

from dataclasses import dataclass

import numpy as np

from espalier.phantom.draw import Canvas, Share, ellipsoid, mix, paint, rotation, step
from espalier.phantom.scanner import Girth
from espalier.phantom.trunk import Shells, draw_spine, fraction


@dataclass(frozen=True, slots=True)
class Frame:
    """The chest wall as drawn: sizes in mm and shares of its parts; distances in mm are negative inside."""

    half_x_mm: float
    half_y_mm: float
    height_mm: float
    cavity_x_mm: float
    cavity_y_mm: float
    fat_mm: float
    dome_mm: tuple[float, float]
    muscle_mm: Share
    wall_mm: Share
    body: Share
    cavity: Share
    above_dome_mm: Share


def draw_frame(
    canvas: Canvas, girth: Girth, rng: np.random.Generator, *, female: bool, emphysema: bool, fibrosis: bool
) -> Frame:
    """Draw the wall and an empty cavity of fat; emphysema flattens the diaphragm and lengthens the chest, fibrosis lifts it."""
    u = rng.uniform
    half_x, half_y, height = girth.half_x_mm, girth.half_y_mm, u(210, 260)
    fat, muscle = u(6, 26), u(9, 16)
    widening = 1 + 0.12 * np.clip((canvas.z / height - 0.3) / 0.25, 0, 1)
    skin_mm = Shells(canvas.x / widening, canvas.y, 2.4).distance_mm(half_x, half_y)
    body = step(skin_mm, canvas.edge_mm)
    mix(canvas.hu, body, -95 + rng.normal(0, 8))
    _draw_breasts(canvas, rng, half_x, half_y, height, female=female)
    muscle_x, muscle_y = half_x - fat, half_y - 0.7 * fat
    muscle_mm = Shells(canvas.x, canvas.y, 2.4).distance_mm(muscle_x, muscle_y)
    mix(canvas.hu, step(muscle_mm, canvas.edge_mm) * body, u(35, 60))
    cavity_x, cavity_y = muscle_x - muscle - 6, muscle_y - muscle - 6
    taper = np.sqrt(np.clip(1 - np.clip(canvas.z / (0.5 * height), 0, 1) ** 3, 1e-4, 1))
    wall_mm = Shells(canvas.x, canvas.y, 2.2).distance_mm(cavity_x, cavity_y)
    wall_mm += (1 - taper) * np.float32(cavity_y)
    cavity = step(wall_mm, canvas.edge_mm) * step(canvas.z - np.float32(0.5 * height), canvas.edge_mm)
    mix(canvas.hu, cavity, -90)
    flat, stretch, lift = u(0.45, 0.75), u(1.02, 1.1), u(8, 22)
    height *= stretch if emphysema else 1
    right = u(28, 55) * (flat if emphysema else 1)
    left = right - u(0, 18)
    right, left = (dome + (lift if fibrosis else 0) for dome in (right, left))
    vault = 1 - ((np.abs(canvas.x) - 0.5 * cavity_x) / (0.75 * cavity_x)) ** 2 - 1.1 * (canvas.y / cavity_y + 0.1) ** 2
    dome = np.where(canvas.x < 0, np.float32(right), np.float32(left)) * vault
    above = canvas.z - dome + np.float32(0.5 * height)
    return Frame(
        half_x_mm=half_x,
        half_y_mm=half_y,
        height_mm=height,
        cavity_x_mm=cavity_x,
        cavity_y_mm=cavity_y,
        fat_mm=fat,
        dome_mm=(right, left),
        muscle_mm=muscle_mm,
        wall_mm=wall_mm,
        body=body,
        cavity=cavity,
        above_dome_mm=above,
    )


def _draw_breasts(
    canvas: Canvas, rng: np.random.Generator, half_x: float, half_y: float, height: float, *, female: bool
) -> None:
    u = rng.uniform
    radius, gland, level = u(35, 60), u(0.3, 0.9), u(-0.05, 0.05) * height
    if not female:
        return
    for side in (-1, 1):
        x, y = side * 0.5 * half_x, -half_y - 0.05 * radius
        paint(canvas, ellipsoid(canvas, (x, y, level), (radius, radius * 0.6, radius)), -95)
        inner = ellipsoid(canvas, (x, y + 0.1 * radius, level), (radius * 0.6, radius * 0.45, radius * 0.6))
        paint(canvas, inner, 30, strength=gland)


def draw_bones(canvas: Canvas, rng: np.random.Generator, frame: Frame) -> None:
    """Draw ribs, spine, sternum and shoulder blades over the content of the chest."""
    u = rng.uniform
    height, every, bone_hu = frame.height_mm, u(24, 30), u(220, 420)
    side = np.abs(canvas.x)
    phase = canvas.y * np.float32(0.18 * height / frame.half_y_mm) + side * np.float32(0.08) + canvas.z
    phase = fraction(phase / np.float32(every) + np.float32(u(0, 1)))
    ribs = step(np.abs(frame.wall_mm - 5) - 4.5, canvas.edge_mm)
    ribs *= step((np.abs(phase - 0.5) - 0.2) * np.float32(every), canvas.edge_mm)
    ribs *= (canvas.z > -0.55 * height) & (canvas.z < 0.47 * height) & (side > 0.18 * frame.half_x_mm)
    mix(canvas.hu, ribs, bone_hu)
    draw_spine(canvas, rng, 0.83 * frame.cavity_y_mm + 6, u(15, 19), frame.body)
    sternum = ellipsoid(canvas, (0, -frame.cavity_y_mm - 7, 0.075 * height), (17, 6, 0.3 * height))
    paint(canvas, sternum, bone_hu * 0.7)
    for x in (-1, 1):
        place = (x * 0.62 * frame.half_x_mm, 0.82 * frame.half_y_mm - frame.fat_mm * 0.5, 0.25 * height)
        paint(canvas, ellipsoid(canvas, place, (38, 5, 45), rotation(0, 0, x * 0.5)), bone_hu * 0.8, frame.body)
