"""How a made-up patient is scanned: who, on what machine, on which grids, with what noise."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Int16

from espalier.geometry import Affine, Grid, affine_from
from espalier.phantom.draw import Box, Canvas, Share, mix, rotation
from espalier.phantom.findings import Anatomy
from espalier.phantom.options import PhantomOptions

MANUFACTURERS: Final = ("Phantom Optics", "Imaginary Imaging", "Lattice Scanners")
SLICES_MM: Final = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
USUAL: Final = 0.8
TWO_SERIES: Final = 0.08
OBLIQUE: Final = 0.15
FEET_FIRST: Final = 0.15
CRANIAL_FIRST: Final = 0.5
AIR_HU: Final = -1000.0
LIMITS_HU: Final = (-1024, 3071)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What differs between chest and abdomen: field of view, length, pose (mm, degrees, most on either side) and girth.

    `flatness` is depth over width of the body; `reach` how far it is drawn, as a share of half its width and in mm of z.
    """

    field_mm: tuple[float, float]
    length_mm: tuple[float, float]
    turn_degrees: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    noise_hu: tuple[float, float]
    half_x_mm: tuple[float, float]
    flatness: tuple[float, float]
    reach: tuple[float, float]


SETTINGS: Final[dict[Anatomy, Setting]] = {
    "trauma": Setting(
        field_mm=(350, 405),
        length_mm=(235, 275),
        turn_degrees=(8, 8, 15),
        shift_mm=(20, 18, 25),
        noise_hu=(6, 20),
        half_x_mm=(138, 172),
        flatness=(0.65, 0.8),
        reach=(1.12, 175),
    ),
    "chest": Setting(
        field_mm=(345, 415),
        length_mm=(290, 350),
        turn_degrees=(6, 5, 10),
        shift_mm=(20, 15, 25),
        noise_hu=(10, 35),
        half_x_mm=(140, 180),
        flatness=(0.62, 0.75),
        reach=(1.4, 210),
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Who a made-up patient is, as DICOM and the tables say it."""

    patient: str
    study: str
    accession: str
    age_years: int
    sex: Literal["F", "M"]
    study_date: str
    manufacturer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One reconstruction: its grid in world space, where the body lies in it, and how it looks."""

    number: int
    kernel: Literal["soft", "sharp"]
    slice_mm: float
    position: Literal["HFS", "FFS"]
    grid: Grid
    pose: Affine
    noise_hu: float
    seed: int


def draw_person(rng: np.random.Generator, number: int) -> Person:
    """Return patient `number`, counted from 0."""
    days = np.datetime64("2024-01-01") + int(rng.integers(0, 700))
    return Person(
        patient=f"phantom-{number + 1:04d}",
        study=f"study-{number + 1:04d}",
        accession=f"A{number + 1:05d}",
        age_years=int(rng.integers(18, 91)),
        sex="F" if rng.random() < 0.5 else "M",
        study_date=str(days).replace("-", ""),
        manufacturer=MANUFACTURERS[rng.integers(len(MANUFACTURERS))],
    )


@dataclass(frozen=True, slots=True)
class Girth:
    """Half width and half depth of a body at the skin, in mm."""

    half_x_mm: float
    half_y_mm: float


def draw_girth(rng: np.random.Generator, anatomy: Anatomy) -> Girth:
    """Return how large a patient is."""
    setting = SETTINGS[anatomy]
    half_x = rng.uniform(*setting.half_x_mm)
    return Girth(half_x, half_x * rng.uniform(*setting.flatness))


def body_box(series: Series, girth: Girth, anatomy: Anatomy) -> Box:
    """Return the part of the grid that holds the body and what lies on its skin; only this needs to be drawn."""
    to_index = np.linalg.inv(series.grid.affine) @ series.pose
    share, half_z = SETTINGS[anatomy].reach
    round_part = np.hypot(to_index[:3, 0] * girth.half_x_mm, to_index[:3, 1] * girth.half_y_mm) * share
    reach = round_part + np.abs(to_index[:3, 2]) * half_z + 1
    lows = np.clip(np.floor(to_index[:3, 3] - reach), 0, series.grid.shape).astype(int)
    highs = np.clip(np.ceil(to_index[:3, 3] + reach) + 1, lows, series.grid.shape).astype(int)
    z, y, x = (slice(int(low), int(high)) for low, high in zip(lows, highs, strict=True))
    return z, y, x


def draw_series(rng: np.random.Generator, options: PhantomOptions) -> tuple[Series, ...]:
    """Return one series, in 8 % of patients two: the same body with another kernel, thickness and noise."""
    setting = SETTINGS[options.anatomy]
    turn = np.radians(rng.uniform(-1, 1, 3) * setting.turn_degrees)
    shift = rng.uniform(-1, 1, 3) * setting.shift_mm
    middle = np.array([0.0, rng.uniform(-200, 0), rng.uniform(-1500, 500)]).round(1)
    pose = np.eye(4)
    pose[:3, :3] = rotation(*turn)
    pose[:3, 3] = middle + shift
    feet_first = rng.random() < FEET_FIRST
    direction = _direction(rng, feet_first=feet_first)
    field, length, noise = rng.uniform(*setting.field_mm), rng.uniform(*setting.length_mm), rng.uniform(*setting.noise_hu)
    two = rng.random() < TWO_SERIES
    first_kernel = rng.random() < 0.85
    thick = [_slice_mm(rng, options), _thinner_mm(rng, options)]
    seeds = rng.integers(0, 2**62, 2)
    series = []
    for number in range(2 if two else 1):
        sharp = (number == 1) == first_kernel
        spacing = (thick[number], round(field / options.pixels, 6), round(field / options.pixels, 6))
        shape = (max(1, round(length / thick[number])), options.pixels, options.pixels)
        series.append(
            Series(
                number=number + 1,
                kernel="sharp" if sharp else "soft",
                slice_mm=thick[number],
                position="FFS" if feet_first else "HFS",
                grid=_grid(middle, direction, spacing, shape),
                pose=pose,
                noise_hu=noise * (1.6 if sharp else 1.0),
                seed=int(seeds[number]),
            )
        )
    return tuple(series)


def _direction(rng: np.random.Generator, *, feet_first: bool) -> np.ndarray:
    """Return the world directions of the index axes z, y, x as columns: mostly square, some tilted by 3 to 9 degrees."""
    tilted, sign = rng.random() < OBLIQUE, rng.choice((-1, 1))
    about_x, about_y = np.radians([sign * rng.uniform(3, 9), rng.uniform(-4, 4)])
    up = -1.0 if feet_first or rng.random() < CRANIAL_FIRST else 1.0
    left = -1.0 if feet_first else 1.0
    square = np.array([[0, 0, left], [0, 1, 0], [up, 0, 0]], dtype=np.float64)
    return np.asarray(rotation(about_x, about_y, 0) @ square if tilted else square)


def _grid(middle: np.ndarray, direction: np.ndarray, spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> Grid:
    """Return the grid of this shape around a world position."""
    direction = direction.round(8) + 0.0
    origin = middle - direction @ (np.asarray(spacing) * (np.asarray(shape) - 1) / 2)
    return Grid(shape, affine_from(spacing_mm=spacing, origin_mm=[float(v) for v in origin.round(4)], direction=direction))


def _slice_mm(rng: np.random.Generator, options: PhantomOptions) -> float:
    """Return the thickest slice in four of five, else any that scanners make in the range."""
    low, high = options.slice_mm
    other = rng.choice([low, *(s for s in SLICES_MM if low < s < high)])
    return high if rng.random() < USUAL else float(other)


def _thinner_mm(rng: np.random.Generator, options: PhantomOptions) -> float:
    """Return a slice for the second series."""
    low, high = options.slice_mm
    return float(rng.choice([low, *(s for s in SLICES_MM if low < s <= max(low, 0.8 * high))]))


def add_noise(canvas: Canvas, body: Share, series: Series) -> Int16[np.ndarray, "z y x"]:
    """Return what the scanner stores, in HU: noise less in air than in the body, smoothed in plane by the soft kernel."""
    rng = np.random.default_rng(series.seed)
    noise = rng.standard_normal(canvas.hu.shape, dtype=np.float32)
    if series.kernel == "soft":
        noise[:, 1:] += np.float32(0.4) * noise[:, :-1]
        noise[:, :, 1:] += np.float32(0.4) * noise[:, :, :-1]
        noise *= np.float32(1 / 1.16)
    noise *= (np.float32(0.3) + np.float32(0.7) * body) * np.float32(series.noise_hu)
    noise += canvas.hu
    np.clip(noise, *LIMITS_HU, out=noise)
    return np.asarray(np.rint(noise, out=noise).astype(np.int16))


def draw_table(canvas: Canvas, rng: np.random.Generator, body: Share, half_y_mm: float) -> None:
    """Draw table and mattress under the patient, each in 4 scans of 5; they lie square to the body.

    Foam is as dense as a clouded lung, so that how much of it is in a scan says nothing about the lungs.
    """
    u = rng.uniform
    top = half_y_mm + u(4, 14)
    parts = ((rng.random(), top + 6, u(4, 9), u(-300, 0)), (rng.random(), top + u(18, 30), u(2, 12), u(-750, -450)))
    outside = 1 - body
    for chance, middle, half, hu in parts:
        if chance < 0.8:
            slab = np.float32(0.5 + half / canvas.edge_mm) - np.abs(canvas.y - np.float32(middle)) / np.float32(canvas.edge_mm)
            mix(canvas.hu, np.clip(slab, 0, 1) * outside, hu)
