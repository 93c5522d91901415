"""Simple bodies on a grid of 4 mm: enough of a chest, an abdomen, a head, a neck and a leg to tell them apart."""

import numpy as np

from espalier.cohort.volume import Volume

STEP_MM = 4.0


def placed(hu: np.ndarray, *, step_mm: tuple[float, float, float] = (STEP_MM, STEP_MM, STEP_MM)) -> Volume:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = step_mm
    affine[3, 3] = 1.0
    return Volume(hu, affine)


def draw(
    shape: tuple[int, int, int], parts: list[tuple[tuple[float, float, float], tuple[float, float, float], float]]
) -> np.ndarray:
    """Return HU of ellipsoids (middle and half axes along z, y, x in mm from the middle of the field) painted in order."""
    z, y, x = (STEP_MM * (a - (n - 1) / 2) for a, n in zip(np.ogrid[tuple(slice(n) for n in shape)], shape, strict=True))
    hu = np.full(shape, -1000.0)
    for (pz, py, px), (rz, ry, rx), value in parts:
        hu[((z - pz) / rz) ** 2 + ((y - py) / ry) ** 2 + ((x - px) / rx) ** 2 < 1] = value
    noise = np.random.default_rng(len(parts)).normal(0, 8, shape)
    return np.clip(np.round(hu + noise), -1024, 3071).astype(np.int16)


LONG = 1e6


def chest(*, blood_hu: float = 45, lung_hu: float = -850, slices: int = 75) -> np.ndarray:
    sides = [((20.0, 0.0, x), (115.0, 75.0, 60.0), lung_hu) for x in (-72.0, 72.0)]
    return draw(
        (slices, 80, 96),
        [
            ((0, 0, 0), (LONG, 105, 160), -100),
            ((0, 0, 0), (LONG, 92, 145), 50),
            *sides,
            ((10, -20, 0), (60, 50, 45), blood_hu),
            ((-125, 0, 0), (40, 70, 100), 55 + 0.4 * (blood_hu - 45)),
            ((0, 60, 0), (LONG, 18, 18), 550),
        ],
    )


def abdomen() -> np.ndarray:
    return draw(
        (50, 80, 96),
        [
            ((0, 0, 0), (LONG, 105, 160), -100),
            ((0, 0, 0), (LONG, 92, 145), 50),
            ((0, 0, 40), (60, 40, 60), -90),
            ((20, -40, 30), (30, 14, 20), -995),
            ((0, 60, 0), (LONG, 18, 18), 550),
        ],
    )


def head() -> np.ndarray:
    skin, bone, brain = ((0, 0, 0), (94, 96, 78), 0), ((0, 0, 0), (89, 91, 73), 1000), ((0, 0, 0), (81, 83, 65), 32)
    return draw((40, 64, 64), [skin, bone, brain])


def neck() -> np.ndarray:
    return draw(
        (40, 50, 60),
        [
            ((0, 0, 0), (LONG, 58, 62), -95),
            ((0, 0, 0), (LONG, 53, 57), 55),
            ((0, 20, 0), (LONG, 14, 15), 400),
            ((0, -18, 0), (LONG, 9, 9), -990),
        ],
    )


def leg() -> np.ndarray:
    return draw(
        (40, 50, 50), [((0, 0, 0), (LONG, 70, 72), 55), ((0, 4, 4), (LONG, 13, 13), 1100), ((0, 4, 4), (LONG, 7, 7), -50)]
    )
