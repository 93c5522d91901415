"""The trunk around the abdomen: fat, muscle, cavity, spine, ribs and the diaphragm (all HU and mm; phantom of our own)."""

from dataclasses import dataclass

import numpy as np

from espalier.phantom.draw import Canvas, Share, ellipsoid, mix, paint, step, unite
from espalier.phantom.scanner import Girth
from espalier.phantom.trunk import Shells, draw_spine, fraction


@dataclass(frozen=True, slots=True)
class Torso:
    """The trunk as drawn: half axes of the cavity in mm, tissue in HU, and shares of its parts."""

    cavity_x_mm: float
    cavity_y_mm: float
    muscle_hu: float
    spine_y_mm: float
    spine_radius_mm: float
    skin_mm: Share
    muscle_mm: Share
    depth_mm: Share
    body: Share
    cavity: Share
    below: Share
    spine: Share
    psoas: Share
    room: Share


def draw_torso(canvas: Canvas, girth: Girth, rng: np.random.Generator) -> Torso:
    """Draw skin to diaphragm and return it; `room` is the share where abdominal structures may lie."""
    u = rng.uniform
    half_x, half_y = girth.half_x_mm, girth.half_y_mm
    fat, muscle, power = u(6, 28), u(9, 16), u(2.1, 2.6)
    shells = Shells(canvas.x, canvas.y, power)
    skin_mm = shells.distance_mm(half_x, half_y)
    body = step(skin_mm, canvas.edge_mm)
    mix(canvas.hu, body, -100 + rng.normal(0, 6))
    muscle_mm = shells.distance_mm(half_x - fat, half_y - 0.7 * fat)
    muscle_hu = u(50, 75)
    mix(canvas.hu, step(muscle_mm, canvas.edge_mm), muscle_hu)
    cavity_x, cavity_y = half_x - fat - muscle, half_y - 0.7 * fat - muscle
    depth_mm = shells.distance_mm(cavity_x, cavity_y)
    cavity = step(depth_mm, canvas.edge_mm)
    mix(canvas.hu, cavity, -100)
    below = _below_diaphragm(canvas, rng, cavity_x, cavity_y)
    mix(canvas.hu, cavity * (1 - below), u(-870, -750))
    spine_y, spine_radius = u(0.52, 0.62) * cavity_y, u(17, 22)
    psoas = np.zeros_like(cavity)
    for side in (-1, 1):
        centre = (side * (spine_radius + u(16, 24)), spine_y + u(-2, 10), -60.0)
        unite(psoas, ellipsoid(canvas, centre, (u(15, 24), u(18, 26), 150)))
    psoas *= cavity
    mix(canvas.hu, psoas, muscle_hu)
    spine = draw_spine(canvas, rng, spine_y, spine_radius, body)
    for side in (-1, 1):
        patch = ellipsoid(canvas, (side * u(34, 42), spine_y + spine_radius + 12, 0), (24, 19, 400))
        paint(canvas, patch, muscle_hu, body * (muscle_mm < 0))
    _draw_ribs(canvas, rng, depth_mm, half_x)
    return Torso(
        cavity_x_mm=cavity_x,
        cavity_y_mm=cavity_y,
        muscle_hu=muscle_hu,
        spine_y_mm=spine_y,
        spine_radius_mm=spine_radius,
        skin_mm=skin_mm,
        muscle_mm=muscle_mm,
        depth_mm=depth_mm,
        body=body,
        cavity=cavity,
        below=below,
        spine=spine,
        psoas=psoas * (1 - spine),
        room=cavity * below * (1 - spine),
    )


def _below_diaphragm(canvas: Canvas, rng: np.random.Generator, cavity_x: float, cavity_y: float) -> Share:
    u = rng.uniform
    top = u(85, 115)
    dome = top - 35 * ((np.abs(canvas.x) - 0.5 * cavity_x) / (0.6 * cavity_x)) ** 2
    dome -= 30 * (canvas.y / cavity_y + 0.15) ** 2
    dome += np.float32(u(0, 12)) * (canvas.x < 0)
    return step(canvas.z - dome, canvas.edge_mm)


def _draw_ribs(canvas: Canvas, rng: np.random.Generator, depth_mm: Share, half_x: float) -> None:
    u = rng.uniform
    side = np.abs(canvas.x)
    phase = fraction((canvas.z + 0.35 * canvas.y + 0.1 * side) / u(26, 32) + u(0, 1))
    ribs = step(np.abs(depth_mm - 6) - 5, canvas.edge_mm)
    ribs *= step((np.abs(phase - 0.5) - 0.2) * 28, canvas.edge_mm)
    ribs *= (canvas.z > u(-40, 10) - 0.3 * np.minimum(canvas.y, 0)) & (side > 0.2 * half_x)
    mix(canvas.hu, ribs, u(180, 350))
