"""Made-up heads, necks, legs and arms of varied size, as a chest study must not meet them (all HU and mm)."""

import numpy as np

from espalier.cohort.volume import Volume
from espalier.geometry import affine_from

PARTS = ("head", "neck", "leg", "arm")


class Canvas:
    """Voxels with the place of each in the body's own frame: x to the left, y to the back, z up, tilted as wanted."""

    def __init__(self, rng: np.random.Generator, field_mm: float, length_mm: float, pixels: int) -> None:
        u = rng.uniform
        self.rng, spacing = rng, (float(rng.choice([2.0, 3.0, 5.0])), field_mm / pixels, field_mm / pixels)
        shape = (max(12, round(length_mm / spacing[0])), pixels, pixels)
        z, y, x = np.meshgrid(
            *((np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij", sparse=True
        )
        z, y, x = z + u(-10, 10), y + u(-0.06, 0.06) * field_mm, x + u(-0.06, 0.06) * field_mm
        a, b = np.radians(u(-12, 12)), np.radians(u(-8, 8))
        y, z = np.cos(a) * y - np.sin(a) * z, np.sin(a) * y + np.cos(a) * z
        self.x, self.z = np.cos(b) * x - np.sin(b) * z, np.sin(b) * x + np.cos(b) * z
        self.y = np.broadcast_to(y, self.x.shape)
        self.hu = np.full(shape, -1000.0, np.float32)
        up = rng.choice([-1.0, 1.0])
        direction = np.array([[0, 0, 1], [0, 1, 0], [up, 0, 0]], dtype=float)
        self.hu_flips = up < 0
        self.affine = affine_from(spacing_mm=spacing, origin_mm=(0, 0, 0), direction=direction)

    def ball(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        """Return where an ellipsoid lies (x, y, z in mm); an infinite radius gives a tube."""
        return sum(((v - c) / r) ** 2 for v, c, r in zip((self.x, self.y, self.z), centre, radii, strict=True)) < 1

    def fill(self, where: np.ndarray, hu: float) -> None:
        self.hu[where] = hu

    def volume(self, *, noise_hu: float, padded: bool) -> Volume:
        """Return what the scanner stores: noise, a table or rest below, and perhaps padding outside a circle."""
        hu = self.hu[::-1] if self.hu_flips else self.hu
        hu = hu + self.rng.normal(0, noise_hu, hu.shape).astype(np.float32)
        if padded:
            n = hu.shape[1]
            y, x = np.ogrid[:n, :n]
            hu[:, np.hypot(y - (n - 1) / 2, x - (n - 1) / 2) > n / 2] = -1024
        return Volume(np.clip(hu, -1024, 3071).astype(np.int16), self.affine)


def make_body(part: str, rng: np.random.Generator, *, pixels: int = 72) -> Volume:
    """Return one scan of `head`, `neck`, `leg` or `arm`."""
    canvas = {"head": _head, "neck": _neck, "leg": _leg, "arm": _arm}[part](rng, pixels)
    return canvas.volume(noise_hu=float(rng.uniform(3, 25)), padded=bool(rng.random() < 0.4))


def _rest(c: Canvas, below_mm: float) -> None:
    if c.rng.random() < 0.7:
        free = c.hu < -900
        c.fill(free & (c.y > below_mm) & (c.y < below_mm + c.rng.uniform(3, 15)) & (np.abs(c.x) < 90), c.rng.uniform(-700, 60))


def _head(rng: np.random.Generator, pixels: int) -> Canvas:
    u = rng.uniform
    child = rng.random() < 0.25
    size = u(0.6, 0.85) if child else u(0.92, 1.1)
    rx, ry, rz = 72 * size * u(0.95, 1.05), 90 * size * u(0.95, 1.05), 90 * size
    c = Canvas(rng, 250 if not child else u(170, 220), u(130, 170) if rng.random() < 0.6 else u(180, 260), pixels)
    c.z = c.z + (-20 * size if c.hu.shape[0] * np.linalg.norm(c.affine[:3, 0]) < 175 else 40 * size) * -1
    scalp, skull, fluid = u(3, 8), (u(2.0, 4) if child else u(4, 9)), u(1, 5)
    bone, tissue = (u(450, 900) if child else u(800, 1400)), u(20, 60)
    c.fill(c.ball((0, 15 * size, -120), (50 * size, 55 * size, 130)) & (c.z < -30), tissue)
    c.fill(c.ball((0, -45 * size, -75 * size), (55 * size, 52 * size, 75 * size)), tissue)
    for shrink, hu in ((0, u(-60, 30)), (scalp, bone), (scalp + skull, 8), (scalp + skull + fluid, u(26, 42))):
        c.fill(c.ball((0, 0, 0), (rx - shrink, ry - shrink, rz - shrink)) & (c.z > -0.55 * rz - shrink * 0.2), hu)
    base = np.abs(c.z + 0.55 * rz) < 6
    c.fill(base & c.ball((0, 0, -0.5 * rz), (rx * 0.85, ry * 0.85, 40)) & (rng.random(c.hu.shape) < 0.7), bone * 0.7)
    for side in (-1, 1):
        c.fill(c.ball((side * 9 * size, 5, 8), (5 * size, 30 * size, 10 * size)), 8)
        c.fill(c.ball((side * 32 * size, -78 * size, -62 * size), (13 * size,) * 3), 5)
        c.fill(c.ball((side * 24 * size, -58 * size, -88 * size), (14 * size, 15 * size, 16 * size)), u(-1000, 30))
        c.fill(c.ball((side * 58 * size, 15 * size, -62 * size), (9 * size, 16 * size, 14 * size)), u(-700, 400))
    c.fill(c.ball((0, -62 * size, -95 * size), (12 * size, 25 * size, 28 * size)), -950)
    c.fill(c.ball((0, 20 * size, -130), (15 * size, 14 * size, 75)) & (c.z < -0.55 * rz), bone * 0.6)
    jaw = c.ball((0, -40 * size, -135 * size), (48 * size, 52 * size, 18 * size))
    c.fill(jaw & ~c.ball((0, -32 * size, -135 * size), (38 * size, 50 * size, 30 * size)), bone)
    if rng.random() < 0.3:
        c.fill(c.ball((u(-30, 30), u(-40, 40), u(0, 40)), (u(5, 20),) * 3), u(55, 80))
    _rest(c, ry + 3)
    return c


def _neck(rng: np.random.Generator, pixels: int) -> Canvas:
    u = rng.uniform
    size = u(0.7, 0.9) if rng.random() < 0.2 else u(0.92, 1.2)
    length = u(120, 240)
    c = Canvas(rng, u(220, 400), length, pixels)
    c.z = c.z - u(-30, 30)
    shoulder = u(-130, -60)
    widen = 1 + np.clip((shoulder - c.z) / 60, 0, 1.6)
    rx, ry = 62 * size, 58 * size
    inside = np.hypot(c.x / (rx * widen), c.y / (ry * (0.85 + 0.15 * widen))) < 1
    c.fill(inside, -95)
    c.fill(np.hypot(c.x / ((rx - 6) * widen), c.y / ((ry - 6) * (0.85 + 0.15 * widen))) < 1, u(45, 65))
    disc = (c.z / u(16, 22)) % 1 > 0.25
    c.fill(c.ball((0, 18 * size, 0), (14 * size, 12 * size, np.inf)) & disc, u(250, 500))
    c.fill(c.ball((0, 38 * size, 0), (12 * size, 11 * size, np.inf)), u(300, 700))
    c.fill(c.ball((0, 36 * size, 0), (8 * size, 7 * size, np.inf)), 15)
    c.fill(c.ball((0, -16 * size, 0), (8.5 * size, 8 * size, np.inf)), -990)
    vessel = u(30, 60) if rng.random() < 0.4 else u(120, 350)
    for side in (-1, 1):
        c.fill(c.ball((side * 27 * size, -4 * size, 0), (5, 5, np.inf)), vessel)
        c.fill(c.ball((side * 17 * size, -18 * size, -35), (9, 9, 22)), u(80, 180))
        c.fill(c.ball((side * 100, 5, shoulder - 70), (25, 22, 40)), 350)
    jaw = c.ball((0, -30 * size, 100), (46 * size, 50 * size, 22)) & ~c.ball((0, -22 * size, 100), (37 * size, 46 * size, 40))
    c.fill(jaw & inside, 1100)
    _rest(c, ry + 4)
    return c


def _limb(c: Canvas, x: float, radius: float, bones: list[tuple[float, float, float]], fat_mm: float) -> None:
    """Draw one straight limb at `x` with bones (x, y, radius) whose ends widen where the joint is."""
    u = c.rng.uniform
    c.fill(c.ball((x, 0, 0), (radius, radius * u(0.9, 1.1), np.inf)), -100)
    c.fill(c.ball((x, 0, 0), (radius - fat_mm, radius - fat_mm, np.inf)), u(45, 65))
    joint = u(-250, 250)
    widen = 1 + 1.2 * np.exp(-(((c.z - joint) / 35) ** 2))
    for bx, by, r in bones:
        away = np.hypot(c.x - x - bx, c.y - by)
        limit = r * widen
        c.fill(away < limit, u(900, 1400))
        c.fill(away < limit - 2 - 0.3 * r / widen**2, u(-60, 40))
        c.fill((away < limit - 2.5) & (np.abs(c.z - joint) < 40), u(120, 300))


def _leg(rng: np.random.Generator, pixels: int) -> Canvas:
    u = rng.uniform
    two, thigh = rng.random() < 0.5, rng.random() < 0.5
    radius = u(52, 90) if thigh else u(38, 65)
    r = radius / 70
    bones = [(u(-8, 8), u(-8, 8), u(11, 15))] if thigh else [(8 * r, -20 * r, u(11, 15)), (-22 * r, 8 * r, u(5, 8))]
    c = Canvas(rng, (4.6 if two else 2.6) * radius, u(100, 450), pixels)
    for x in (-1.06 * radius, 1.06 * radius) if two else (0.0,):
        _limb(c, x, radius, bones, u(4, 16))
    _rest(c, radius + 3)
    return c


def _arm(rng: np.random.Generator, pixels: int) -> Canvas:
    u = rng.uniform
    upper = rng.random() < 0.5
    radius = u(35, 60) if upper else u(25, 45)
    r = radius / 40
    bones = [(u(-5, 5), u(-5, 5), u(9, 13))] if upper else [(-13 * r, 0, u(6, 9)), (13 * r, 2, u(6, 9))]
    c = Canvas(rng, u(2.6, 4) * radius, u(90, 350), pixels)
    _limb(c, 0.0, radius, bones, u(3, 12))
    _rest(c, radius + 3)
    return c
