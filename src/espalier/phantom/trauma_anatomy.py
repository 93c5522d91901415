"""The abdomen of a trauma patient: solid structures of nearly equal HU, bowel, vessels, and the masks of it all.

HU vary independently by structure, neighbours touch, and unlabelled soft tissue lies in the same range: the HU of a
voxel does not say what it belongs to, its place does.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, UInt8

from espalier.phantom.draw import Canvas, Point, Share, Sites, ellipsoid, mix, mottle, paint, rotation, tilt, unite, whole
from espalier.phantom.scanner import Girth
from espalier.phantom.torso import Torso, draw_torso

STRUCTURES: Final = ("liver", "spleen", "kidney_left", "kidney_right", "bowel")


@dataclass(frozen=True, slots=True)
class Solid:
    """Solid structures by name: their shares, their HU, and the share that any of them takes."""

    shares: dict[str, Share]
    hu: dict[str, float]
    taken: Share


@dataclass(frozen=True, slots=True)
class Phase:
    """Contrast of one patient in HU: soft tissue at large, and blood in the arteries."""

    tissue_hu: float
    blood_hu: float


@dataclass(frozen=True, slots=True)
class Loop:
    """One bowel loop: centre and radius in mm."""

    centre: Point
    radius_mm: float


@dataclass(frozen=True, slots=True)
class Abdomen:
    """All that is drawn of a healthy abdomen; injuries and look-alikes are painted upon it."""

    torso: Torso
    solid: Solid
    phase: Phase
    soft: Share
    soft_hu: float
    bowel: Share
    loops: tuple[Loop, ...]
    free: Share


@dataclass(frozen=True, slots=True)
class Scene:
    """What painting upon a healthy abdomen needs: where, whose, and random numbers and places of its own."""

    canvas: Canvas
    abdomen: Abdomen
    rng: np.random.Generator
    sites: Sites

    def pick(self, where: Bool[np.ndarray, "z y x"], count: int) -> list[Point]:
        """Return random positions; see `Sites.pick`."""
        return self.sites.pick(self.canvas, where, count)


def draw_abdomen(canvas: Canvas, girth: Girth, rng: np.random.Generator, sites: Sites) -> Abdomen:
    """Draw a healthy abdomen; `soft` is unlabelled soft tissue, `free` the share of fat where nothing lies."""
    torso = draw_torso(canvas, girth, rng)
    tissue = rng.uniform(100, 150)
    phase = Phase(tissue, tissue + rng.uniform(10, 90))
    solid = _draw_solid(canvas, rng, torso, phase)
    soft_hu = phase.tissue_hu + rng.uniform(-28, 28)
    soft = _draw_soft(canvas, rng, torso, solid, soft_hu)
    room = torso.room * (1 - np.maximum(solid.taken, soft))
    _draw_bladder(canvas, rng, torso, room)
    bowel = np.zeros_like(room)
    loops = _draw_bowel(canvas, rng, torso, phase, room, bowel)
    _draw_vessels(canvas, rng, torso, solid, phase, sites)
    free = room * (1 - bowel)
    return Abdomen(torso, solid, phase, soft, soft_hu, bowel, loops, free)


def draw_masks(abdomen: Abdomen) -> UInt8[np.ndarray, "z y x"]:
    """Return the masks of `STRUCTURES`, value = index + 1; injuries never change them."""
    masks = np.zeros(abdomen.bowel.shape, np.uint8)
    masks[(abdomen.bowel > 0.5) & (abdomen.solid.taken < 0.5)] = STRUCTURES.index("bowel") + 1
    for name, share in abdomen.solid.shares.items():
        masks[share > 0.5] = STRUCTURES.index(name) + 1
    return masks


def _draw_solid(canvas: Canvas, rng: np.random.Generator, torso: Torso, phase: Phase) -> Solid:
    u = rng.uniform
    liver_hu, spleen_hu, kidney_hu = (phase.tissue_hu + u(-28, 28) for _ in range(3))
    hu = {"kidney_right": kidney_hu, "kidney_left": kidney_hu, "spleen": spleen_hu, "liver": liver_hu}
    taken = np.zeros(canvas.hu.shape, np.float32)
    shares: dict[str, Share] = {}
    size, height = u(0.95, 1.3), u(-25, 15)
    for name, side in (("kidney_right", -1), ("kidney_left", 1)):
        shares[name] = _kidney(canvas, rng, torso, side=side, size=size, height_mm=height)
        np.maximum(taken, shares[name], out=taken)
    for name, shape in (("spleen", _spleen), ("liver", _liver)):
        shares[name] = shape(canvas, rng, torso)
        shares[name] *= torso.room * (1 - taken)
        np.maximum(taken, shares[name], out=taken)
    for name, share in shares.items():
        mix(canvas.hu, share, hu[name])
    canvas.hu[...] += np.float32(rng.uniform(0, 8)) * mottle(canvas, rng, (30, 70)) * taken
    return Solid(shares, hu, taken)


def _kidney(canvas: Canvas, rng: np.random.Generator, torso: Torso, *, side: int, size: float, height_mm: float) -> Share:
    u = rng.uniform
    lower = u(-25, 0) if side < 0 else u(-8, 20)
    centre = (side * u(0.42, 0.52) * torso.cavity_x_mm, u(0.42, 0.56) * torso.cavity_y_mm, height_mm + lower)
    radii = (u(25, 32) * size, u(23, 29) * size, u(46, 60) * size)
    turn = rotation(u(-0.2, 0.3), side * u(-0.35, 0), u(-0.4, 0.4))
    share = whole(canvas, ellipsoid(canvas, centre, radii, turn))
    share *= torso.cavity * (1 - torso.spine)
    return share


def _spleen(canvas: Canvas, rng: np.random.Generator, torso: Torso) -> Share:
    u = rng.uniform
    size = u(0.85, 1.35)
    x, y, z = u(0.62, 0.74) * torso.cavity_x_mm, u(0.15, 0.42) * torso.cavity_y_mm, u(25, 60)
    radii = (u(28, 40) * size, u(40, 56) * size, u(38, 58) * size)
    share = whole(canvas, ellipsoid(canvas, (x, y, z), radii, rotation(u(-0.4, 0.4), u(-0.4, 0.4), u(0.1, 0.8))))
    hilum = (x - 0.42 * torso.cavity_x_mm, y - 0.25 * torso.cavity_y_mm, z - 10)
    hollow = ellipsoid(canvas, hilum, (0.30 * torso.cavity_x_mm, 0.42 * torso.cavity_y_mm, 60))
    share[hollow.box] *= 1 - np.float32(0.9) * hollow.share
    return share


def _liver(canvas: Canvas, rng: np.random.Generator, torso: Torso) -> Share:
    u = rng.uniform
    ax, ay, size = torso.cavity_x_mm, torso.cavity_y_mm, u(0.82, 1.2)
    centre = (-0.50 * ax, u(-0.1, 0.1) * ay, u(20, 45))
    right = ellipsoid(canvas, centre, (0.50 * ax * size, 0.78 * ay * size, u(62, 85) * size), tilt(rng, 0.35))
    share = whole(canvas, right)
    centre = (u(-0.12, 0.12) * ax, -0.42 * ay, u(38, 62))
    unite(share, ellipsoid(canvas, centre, (u(0.35, 0.62) * ax * size, 0.34 * ay, u(26, 46) * size), tilt(rng, 0.35)))
    hollow = ellipsoid(canvas, (-0.12 * ax, 0.32 * ay, 10), (0.27 * ax, 0.45 * ay, 75))
    share[hollow.box] *= 1 - np.float32(0.95) * hollow.share
    return share


def _draw_soft(canvas: Canvas, rng: np.random.Generator, torso: Torso, solid: Solid, hu: float) -> Share:
    """Draw pancreas, adrenals, and often a mass or two: soft tissue that no mask names."""
    u = rng.uniform
    soft = np.zeros(canvas.hu.shape, np.float32)
    ax, ay, height = torso.cavity_x_mm, torso.cavity_y_mm, u(-5, 35)
    for k in range(4):
        centre = ((-0.22 + 0.2 * k) * ax * u(0.9, 1.1), (0.02 + 0.06 * k) * ay, height + 7 * k)
        unite(soft, ellipsoid(canvas, centre, (u(20, 28), u(15, 20), u(15, 22))))
    if rng.random() < 0.7:
        centre = (u(-0.35, 0.35) * ax, u(-0.2, 0.5) * ay, u(-105, -60))
        unite(soft, ellipsoid(canvas, centre, (u(25, 40), u(25, 40), u(25, 45)), tilt(rng, 0.7)))
    if rng.random() < 0.4:
        centre = (u(-0.6, 0.6) * ax, u(-0.5, 0.3) * ay, u(-100, 0))
        unite(soft, ellipsoid(canvas, centre, (u(20, 35), u(20, 35), u(20, 35)), tilt(rng, 0.7)))
    soft *= torso.room * (1 - solid.taken)
    mix(canvas.hu, soft, hu)
    return soft


def _draw_bowel(
    canvas: Canvas, rng: np.random.Generator, torso: Torso, phase: Phase, room: Share, bowel: Share
) -> tuple[Loop, ...]:
    """Draw stomach, duodenum, small bowel and colon, in this order; collect their share in `bowel`."""
    u = rng.uniform
    ax, ay = torso.cavity_x_mm, torso.cavity_y_mm
    wall_hu, oral = phase.tissue_hu - u(5, 45), rng.random() < 0.45
    loops: list[Loop] = []

    def loop(centre: Point, radius: float, filling_hu: float, wall_mm: float = 4.0) -> None:
        radii, turn = radius * u(0.8, 1.2, 3), tilt(rng, 0.7)
        outer = ellipsoid(canvas, centre, tuple(radii), turn)
        outer.share[...] *= room[outer.box]
        unite(bowel, outer)
        paint(canvas, outer, wall_hu)
        paint(canvas, ellipsoid(canvas, centre, tuple(np.maximum(radii - wall_mm, 3)), turn), filling_hu, room)
        loops.append(Loop(centre, radius))

    stomach = (u(0.12, 0.38) * ax, u(-0.5, -0.2) * ay, u(30, 62))
    radius = u(30, 48)
    loop(stomach, radius, u(15, 55), 5)
    if rng.random() < 0.7:
        x, y, z = radius * u(0.35, 0.6) * u(0.7, 1.3, 3)
        bubble = ellipsoid(canvas, (stomach[0], stomach[1] - 0.45 * radius, stomach[2]), (x, y, z))
        paint(canvas, bubble, -900, bowel)
    loop((u(0, 0.1) * ax, u(0.25, 0.4) * ay, 75), 10, u(20, 50))
    for x, y, z in ((-0.2, -0.1, 15), (-0.3, 0.05, -5), (-0.28, 0.15, -30), (-0.1, 0.2, -40), (0.08, 0.15, -35)):
        loop((x * ax + u(-8, 8), y * ay + u(-8, 8), z + u(-8, 8)), u(13, 18), _filling(rng, 0.08, oral=oral))
    for _ in range(int(rng.integers(8, 15))):
        centre = (u(-0.6, 0.6) * ax, u(-0.65, 0.25) * ay, u(-120, -25))
        loop(centre, u(13, 23), _filling(rng, 0.12, oral=oral))
    flexure = u(-15, 25)
    for side in (-1, 1):
        for z in np.arange(-105, flexure, 30):
            loop((side * u(0.66, 0.8) * ax, u(-0.05, 0.25) * ay, float(z)), u(17, 27), _filling(rng, 0.35, oral=oral))
    for x in np.linspace(-0.65, 0.65, 7):
        centre = (float(x) * ax, u(-0.75, -0.55) * ay, flexure - u(0, 30) * (1 - float(x) ** 2))
        loop(centre, u(16, 25), _filling(rng, 0.4, oral=oral))
    return tuple(loops)


def _filling(rng: np.random.Generator, gas: float, *, oral: bool) -> float:
    """Return what a loop holds, in HU: gas with probability `gas`, water, oral contrast in some, or chyme."""
    chance, u = rng.random(), rng.uniform
    if chance < gas:
        return u(-950, -600)
    if chance < gas + 0.45:
        return u(10, 45)
    if oral and chance < gas + 0.6:
        return u(180, 400)
    return u(20, 90)


def _draw_bladder(canvas: Canvas, rng: np.random.Generator, torso: Torso, room: Share) -> None:
    """Draw a bladder, empty to very full, whose fluid is as dense as a laceration; take its share from `room`."""
    u = rng.uniform
    size = u(14, 56)
    centre = (u(-8, 8), u(-0.35, -0.05) * torso.cavity_y_mm, -120 + u(0.2, 0.7) * size)
    bladder = ellipsoid(canvas, centre, (size * u(0.9, 1.3), size * u(0.8, 1.1), size * u(0.7, 1.1)))
    paint(canvas, bladder, u(0, 70), room)
    room[bladder.box] *= 1 - bladder.share


def _draw_vessels(canvas: Canvas, rng: np.random.Generator, torso: Torso, solid: Solid, phase: Phase, sites: Sites) -> None:
    """Draw aorta, caval vein and some liver veins."""
    u = rng.uniform
    radius = u(8, 12)
    front = torso.spine_y_mm - torso.spine_radius_mm - radius
    aorta = ellipsoid(canvas, (8, front - 1, 0), (radius, radius, 4000))
    paint(canvas, aorta, phase.blood_hu, torso.body)
    vein = ellipsoid(canvas, (-18, front + 2, 0), (radius * 1.3, radius, 4000))
    paint(canvas, vein, phase.tissue_hu + u(-50, 30), torso.below)
    for centre in sites.pick(canvas, solid.shares["liver"] > 0.95, int(rng.integers(2, 6))):
        patch = ellipsoid(canvas, centre, (u(5, 8), u(5, 8), u(14, 35)), tilt(rng, 1.2))
        paint(canvas, patch, solid.hu["liver"] + u(10, 45), solid.shares["liver"])
