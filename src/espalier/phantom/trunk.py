"""Parts that chest and abdomen share: the tubes of skin, muscle and wall, and the spine."""

import numpy as np

from espalier.phantom.draw import Canvas, Share, ellipsoid, mix, paint, step


class Shells:
    """Distance in mm to superelliptic tubes of one power; the powers of x and y (mm) are taken once."""

    def __init__(self, x: Share, y: Share, power: float) -> None:
        self._power = power
        self._x = _power(np.abs(x), power)
        self._y = _power(np.abs(y), power)

    def distance_mm(self, half_x_mm: float, half_y_mm: float) -> Share:
        """Return the distance to the tube of these half axes, in mm; negative inside."""
        radius = self._x * np.float32(half_x_mm**-self._power)
        radius += self._y * np.float32(half_y_mm**-self._power)
        radius = _power(radius, 1 / self._power)
        radius -= np.float32(1)
        radius *= np.float32(half_y_mm)
        return radius


def _power(values: Share, exponent: float) -> Share:
    """Return `values ** exponent`, in place; numpy's exponential and logarithm are far quicker than its power."""
    np.maximum(values, np.float32(1e-6), out=values)
    np.log(values, out=values)
    values *= np.float32(exponent)
    return np.exp(values, out=values)


def fraction(turns: Share) -> Share:
    """Return what is left of whole turns, in place; quicker than the remainder."""
    turns -= np.floor(turns)
    return turns


def draw_spine(canvas: Canvas, rng: np.random.Generator, y_mm: float, radius_mm: float, body: Share) -> Share:
    """Draw vertebrae with gaps, and their spinous processes; return the share of the vertebrae."""
    u = rng.uniform
    every, start, bone_hu = u(32, 40), u(0, 1), u(180, 350)
    across = np.square(canvas.x / np.float32(1.15)) + np.square(canvas.y - y_mm)
    disc = fraction(canvas.z / every + start) > 0.25
    spine = step(np.sqrt(across) - radius_mm, canvas.edge_mm) * (np.float32(0.7) + np.float32(0.3) * disc)
    mix(canvas.hu, spine, bone_hu)
    process = ellipsoid(canvas, (0, y_mm + radius_mm + 14, 0), (6.3, 13.5, 4000))
    paint(canvas, process, bone_hu, body)
    return spine
