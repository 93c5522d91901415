"""Drawing in a patient's own millimetres: soft ellipsoids in local boxes, painted onto any grid.

Body coordinates are mm: x to the patient's left, y to the back, z to the head. A share is float32 in [0, 1]: how much of
a voxel a shape fills; its edge is as soft as the voxels are coarse.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import Bool, Float, Float32

from espalier.geometry import Affine, Grid

Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]
Share = Float32[np.ndarray, "z y x"]
Turn = Float[np.ndarray, "3 3"]
Kept = TypeVar("Kept")
NO_TURN: Turn = np.eye(3)


@dataclass(frozen=True, slots=True)
class Canvas:
    """A grid laid over a body: where each voxel lies in it (`x`, `y`, `z`, mm) and what is painted so far (`hu`)."""

    x: Share
    y: Share
    z: Share
    hu: Share
    to_body: Float[np.ndarray, "3 4"]
    to_index: Float[np.ndarray, "3 4"]
    edge_mm: float

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(abs(np.linalg.det(self.to_body[:, :3]))) / 1000


@dataclass(frozen=True, slots=True)
class Patch:
    """A shape where it is: a box of the grid and the share of the shape in it."""

    box: Box
    share: Share


def make_canvas(grid: Grid, pose: Affine, *, hu: float, box: Box | None = None) -> Canvas:
    """Return a canvas of a grid, or of a box of it, filled with `hu`.

    `pose` maps body positions (x, y, z, 1) to world positions in mm.
    """
    lows, shape = (0, 0, 0), grid.shape
    if box is not None:
        lows = (box[0].start, box[1].start, box[2].start)
        shape = (box[0].stop - lows[0], box[1].stop - lows[1], box[2].stop - lows[2])
    whole = np.linalg.inv(pose) @ grid.affine
    whole[:3, 3] += whole[:3, :3] @ lows
    x, y, z = (_linear(row, (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))) for row in whole[:3])
    edge_mm = float(abs(np.linalg.det(whole[:3, :3])) ** (1 / 3))
    return Canvas(x, y, z, np.full(shape, hu, np.float32), whole[:3], np.linalg.inv(whole)[:3], edge_mm)


def _linear(row: Float[np.ndarray, "4"], box: Box) -> Share:
    """Return row · (z, y, x, 1) for every index in a box."""
    z, y, x = (np.arange(s.start, s.stop, dtype=np.float32) * np.float32(row[axis]) for axis, s in enumerate(box))
    return z[:, None, None] + (y[:, None] + (x + np.float32(row[3])))


def rotation(about_x: float, about_y: float, about_z: float) -> Turn:
    """Return the matrix that turns about x, then y, then z; angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([about_x, about_y, about_z]), np.sin([about_x, about_y, about_z])
    first = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    second = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    third = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(third @ second @ first)


def tilt(rng: np.random.Generator, most: float) -> Turn:
    """Return a random rotation of up to `most` radians about each axis."""
    return rotation(*rng.uniform(-most, most, 3))


def step(distance_mm: Share, edge_mm: float) -> Share:
    """Return the share of a shape: 1 inside (negative distance), 0 outside, falling over `edge_mm`."""
    out = distance_mm * np.float32(-1 / edge_mm)
    out += np.float32(0.5)
    return np.clip(out, 0, 1, out=out)


def ellipsoid(canvas: Canvas, centre: Point, radii_mm: Point, turn: Turn = NO_TURN) -> Patch:
    """Return a soft ellipsoid; `turn` maps body axes to its own axes."""
    inverse = turn / np.asarray(radii_mm)[:, None]
    middle = canvas.to_index @ np.array([*centre, 1.0])
    # The box is exact: half extents along the index axes of the linear map of the unit ball.
    linear = canvas.to_index[:, :3]
    reach = np.sqrt(np.square(linear @ (turn.T * np.asarray(radii_mm))).sum(axis=1))
    reach += canvas.edge_mm / 2 * np.sqrt(np.square(linear).sum(axis=1))
    lows = np.clip(np.ceil(middle - reach), 0, canvas.hu.shape).astype(int)
    highs = np.clip(np.floor(middle + reach) + 1, lows, canvas.hu.shape).astype(int)
    box = cast("Box", tuple(slice(int(low), int(high)) for low, high in zip(lows, highs, strict=True)))
    own = inverse @ canvas.to_body
    own[:, 3] -= inverse @ np.asarray(centre)
    square = np.square(_linear(own[0], box))
    square += np.square(_linear(own[1], box))
    square += np.square(_linear(own[2], box))
    distance = np.sqrt(square, out=square)
    distance -= np.float32(1)
    # A ball of equal volume tells how steep the edge is; long rods are as steep as they are thin.
    mean_radius = min(float(np.prod(radii_mm)) ** (1 / 3), 1.5 * min(radii_mm))
    return Patch(box, step(distance, canvas.edge_mm / mean_radius))


def blob(canvas: Canvas, rng: np.random.Generator, centre: Point, radius_mm: float, *, spread: float = 0.3) -> Patch:
    """Return an ellipsoid of random tilt whose radii are `radius_mm` times 1 ± `spread`."""
    x, y, z = radius_mm * rng.uniform(1 - spread, 1 + spread, 3)
    return ellipsoid(canvas, centre, (x, y, z), tilt(rng, 1.0))


def rod(canvas: Canvas, start: Point, end: Point, radius_mm: float) -> Patch:
    """Return a long ellipsoid of this radius from one point to another."""
    along = np.subtract(end, start)
    length = float(np.linalg.norm(along))
    first = along / length
    second = np.cross(first, np.eye(3)[int(np.argmin(np.abs(first)))])
    second /= np.linalg.norm(second)
    turn = np.stack([first, second, np.cross(first, second)])
    x, y, z = np.add(start, end) / 2
    return ellipsoid(canvas, (float(x), float(y), float(z)), (length / 2 + radius_mm, radius_mm, radius_mm), turn)


def mottle(canvas: Canvas, rng: np.random.Generator, waves_mm: tuple[float, float]) -> Share:
    """Return a random pattern of mean 0 and standard deviation 1, the product of two waves of such lengths."""
    out: Share | None = None
    for _ in range(2):
        wave = rng.normal(0, 1, 3)
        wave *= 2 * np.pi / rng.uniform(*waves_mm) / np.linalg.norm(wave)
        x, y, z = (np.float32(part) for part in wave)
        turns = canvas.x * x
        turns += canvas.y * y
        turns += canvas.z * z
        turns += np.float32(rng.uniform(0, 6.3))
        np.cos(turns, out=turns)
        turns *= np.sqrt(np.float32(2))
        out = turns if out is None else np.multiply(out, turns, out=out)
    assert out is not None
    return out


def paint(canvas: Canvas, patch: Patch, hu: float, within: Share | None = None, *, strength: float = 1.0) -> None:
    """Mix `hu` into the canvas where the patch is, and only within another share if one is given."""
    share = patch.share if within is None else patch.share * within[patch.box]
    mix(canvas.hu[patch.box], share if strength == 1.0 else share * np.float32(strength), hu)


def mix(hu: Share, share: Share, value: float | Share) -> None:
    """Mix `value` into `hu`, in place: all of it where the share is 1."""
    change = (value if isinstance(value, np.ndarray) else np.float32(value)) - hu
    change *= share
    hu += change


def whole(canvas: Canvas, patch: Patch) -> Share:
    """Return a patch on the whole grid, 0 elsewhere."""
    out = np.zeros(canvas.hu.shape, np.float32)
    out[patch.box] = patch.share
    return out


def unite(share: Share, patch: Patch) -> None:
    """Add a patch to a share, in place; where they overlap the larger counts."""
    np.maximum(share[patch.box], patch.share, out=share[patch.box])


class Sites:
    """Random places, chosen on a patient's first grid and kept for the others, so that all series show one body."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._kept: list[Any] = []
        self._next: int | None = None

    def rewind(self) -> None:
        """Give the places kept so far, in their order, from now on."""
        self._next = 0

    def once(self, make: Callable[[], Kept]) -> Kept:
        """Return what `make` gave on the first grid."""
        if self._next is None:
            self._kept.append(make())
            return cast("Kept", self._kept[-1])
        self._next += 1
        return cast("Kept", self._kept[self._next - 1])

    def pick(self, canvas: Canvas, where: Bool[np.ndarray, "z y x"], count: int) -> list[Point]:
        """Return `count` random body positions among the true voxels; none where there are no such voxels."""

        def choose() -> list[Point]:
            found = np.flatnonzero(where)
            if count == 0 or found.size == 0:
                return []
            chosen = found[self._rng.integers(0, found.size, count)]
            return [(float(canvas.x.flat[i]), float(canvas.y.flat[i]), float(canvas.z.flat[i])) for i in chosen]

        return self.once(choose)
