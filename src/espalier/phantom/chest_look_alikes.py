"""What resembles a finding of the chest and is none; drawn without a look at who has what."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from jaxtyping import Bool

from espalier.phantom.chest_anatomy import Scene
from espalier.phantom.chest_findings import calcium
from espalier.phantom.draw import blob, mix, paint, rod, step

Where = Bool[np.ndarray, "z y x"]


def paint_look_alikes(scene: Scene) -> tuple[str, ...]:
    """Paint each with its own chance; return the names of those that found a place."""
    shown = []
    for name, (chance, paint_one) in PAINTERS.items():
        if scene.rng.random() < chance and paint_one(scene):
            shown.append(name)
    _skin_metal(scene)
    return tuple(shown)


def _outer(scene: Scene) -> Where:
    """Return the fat under the skin."""
    return (scene.thorax.frame.body > 0.95) & (scene.thorax.frame.muscle_mm > 0)


def _blobs(
    scene: Scene, where: Where, counts: tuple[int, int], *, radii_mm: tuple[float, float], hu: tuple[float, float]
) -> bool:
    """Paint blobs within the body at some places."""
    places = scene.pick(where, int(scene.rng.integers(*counts)))
    for centre in places:
        patch = blob(scene.canvas, scene.rng, centre, scene.rng.uniform(*radii_mm), spread=0.2)
        paint(scene.canvas, patch, scene.rng.uniform(*hu), scene.thorax.frame.body)
    return bool(places)


def _calcium(scene: Scene, where: Where, counts: tuple[int, int]) -> bool:
    places = scene.pick(where, int(scene.rng.integers(*counts)))
    calcium(scene, places)
    return bool(places)


def _subcutaneous_nodule(scene: Scene) -> bool:
    return _blobs(scene, _outer(scene), (2, 6), radii_mm=(9.8, 15), hu=(20, 60))


def _subcutaneous_mass(scene: Scene) -> bool:
    return _blobs(scene, _outer(scene), (1, 4), radii_mm=(18, 32), hu=(20, 60))


def _lipoma(scene: Scene) -> bool:
    wall = (scene.thorax.frame.body > 0.9) & (scene.thorax.frame.wall_mm > 10)
    return _blobs(scene, wall, (1, 3), radii_mm=(12, 24), hu=(-95, -95))


def _granuloma_liver(scene: Scene) -> bool:
    return _calcium(scene, scene.thorax.liver > 0.8, (2, 7))


def _granuloma_lung(scene: Scene) -> bool:
    return _calcium(scene, scene.thorax.aerated > 0.9, (1, 4))


def _aortic(scene: Scene) -> bool:
    aorta = scene.thorax.aorta
    return _calcium(scene, (aorta > 0.3) & (aorta < 0.97), (3, 9))


def _mediastinal(scene: Scene) -> bool:
    thorax = scene.thorax
    where = (thorax.mediastinum > 0.3) & (thorax.aorta < 0.1) & (thorax.heart.share < 0.1)
    return _calcium(scene, where, (2, 7))


def _pleural(scene: Scene) -> bool:
    return _calcium(scene, np.abs(scene.thorax.frame.wall_mm + 1) < 4, (2, 7))


def _skin(scene: Scene) -> bool:
    return _calcium(scene, _outer(scene), (2, 7))


def _ascites(scene: Scene) -> bool:
    thorax, edge = scene.thorax, scene.canvas.edge_mm
    wall = thorax.frame.wall_mm
    layer = step(-wall - np.float32(scene.rng.uniform(10, 22)), edge) * (wall > -60)
    fluid = thorax.below * layer * (1 - thorax.liver)
    mix(scene.canvas.hu, fluid, 12)
    return True


def _oesophageal_air(scene: Scene) -> bool:
    frame, u = scene.thorax.frame, scene.rng.uniform
    x, y, z, half = 0.04 * frame.cavity_x_mm, 0.42 * frame.cavity_y_mm, u(-0.2, 0.4) * frame.height_mm, u(12, 30)
    paint(scene.canvas, rod(scene.canvas, (x, y, z - half), (x, y, z + half), 6), -800)
    return True


def _port(scene: Scene) -> bool:
    """Paint a port in the chest wall, or a line from the upper caval vein to the heart."""
    frame, heart, canvas, u = scene.thorax.frame, scene.thorax.heart, scene.canvas, scene.rng.uniform
    if scene.rng.random() < 0.5:
        level = (canvas.z > 0.05 * frame.height_mm) & (canvas.z < 0.4 * frame.height_mm)
        where = (frame.body > 0.95) & (frame.wall_mm > 8) & (canvas.y < -0.3 * frame.half_y_mm) & level
        return _blobs(scene, where, (1, 2), radii_mm=(13, 19), hu=(2000, 2000))
    x, y, top = -0.12 * frame.cavity_x_mm, -0.08 * frame.cavity_y_mm, heart.centre[2] + u(0.35, 0.5) * frame.height_mm
    paint(canvas, rod(canvas, (x, y, heart.centre[2]), (0.7 * x, y, top), 4.5), 2000)
    return True


def _skin_metal(scene: Scene) -> None:
    """Paint leads or zips on the skin of every second patient; they lie outside and have no name in a report."""
    frame, canvas = scene.thorax.frame, scene.canvas
    if scene.rng.random() >= 0.5:
        return
    near = (np.abs(canvas.x) < 1.2 * frame.half_x_mm) & (np.abs(canvas.y) < 1.2 * frame.half_y_mm)
    where = near & (frame.body < 0.05) & (np.abs(canvas.z) < 0.45 * frame.height_mm)
    for centre in scene.pick(where, int(scene.rng.integers(2, 6))):
        paint(canvas, blob(canvas, scene.rng, centre, scene.rng.uniform(6, 12), spread=0.2), 2000)


PAINTERS: Final[Mapping[str, tuple[float, Callable[[Scene], bool]]]] = {
    "subcutaneous_nodule": (0.6, _subcutaneous_nodule),
    "subcutaneous_mass": (0.4, _subcutaneous_mass),
    "lipoma": (0.4, _lipoma),
    "calcified_granuloma_liver": (0.5, _granuloma_liver),
    "calcified_granuloma_lung": (0.5, _granuloma_lung),
    "aortic_calcification": (0.4, _aortic),
    "mediastinal_calcification": (0.6, _mediastinal),
    "pleural_calcification": (0.5, _pleural),
    "skin_calcification": (0.4, _skin),
    "ascites": (0.3, _ascites),
    "oesophageal_air": (0.35, _oesophageal_air),
    "port": (0.25, _port),
}
