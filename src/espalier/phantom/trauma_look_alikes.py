"""What resembles an injury of the abdomen and is none; drawn without a look at who is injured."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from jaxtyping import Bool

from espalier.phantom.draw import Share, blob, ellipsoid, paint, tilt
from espalier.phantom.trauma_anatomy import Scene
from espalier.phantom.trauma_findings import CONTRAST_HU, laceration, near_bowel

Where = Bool[np.ndarray, "z y x"]


def paint_look_alikes(scene: Scene) -> tuple[str, ...]:
    """Paint them all and return the names of those that found a place."""
    return tuple(name for name, paint_one in PAINTERS.items() if paint_one(scene))


def _count(rng: np.random.Generator, rate: float) -> int:
    """Return how many of a kind a patient has, `rate` on average: most have none, some have many."""
    return int(rng.poisson(rate * rng.gamma(0.6, 1 / 0.6)))


def _cysts(scene: Scene) -> bool:
    places = scene.pick(scene.abdomen.soft > 0.9, _count(scene.rng, 1.8))
    for centre in places:
        laceration(scene, centre, scene.rng.uniform(15, 36), within=scene.abdomen.soft, hu=scene.abdomen.soft_hu)
    return bool(places)


def _blobs(
    scene: Scene, where: Where, rate: float, *, radii_mm: tuple[float, float], hu: tuple[float, float], within: Share
) -> bool:
    """Paint blobs at `rate` places on average."""
    places = scene.pick(where, _count(scene.rng, rate))
    for centre in places:
        patch = blob(scene.canvas, scene.rng, centre, scene.rng.uniform(*radii_mm))
        paint(scene.canvas, patch, scene.rng.uniform(*hu), within)
    return bool(places)


def _muscle_hu(scene: Scene) -> tuple[float, float]:
    muscle = scene.abdomen.torso.muscle_hu
    return muscle - CONTRAST_HU[1], muscle - CONTRAST_HU[0]


def _wall(scene: Scene) -> Where:
    torso = scene.abdomen.torso
    return (torso.muscle_mm < -0.4 * scene.canvas.edge_mm) & (torso.cavity < 0.1)


def _free(scene: Scene) -> Where:
    return scene.abdomen.free > 0.85


def _room(scene: Scene) -> Share:
    abdomen = scene.abdomen
    return abdomen.torso.room * (1 - np.maximum(np.maximum(abdomen.solid.taken, abdomen.soft), abdomen.bowel))


def _muscle_haematoma(scene: Scene) -> bool:
    body = scene.abdomen.torso.body
    return _blobs(scene, _wall(scene), 0.5, radii_mm=(12, 24), hu=_muscle_hu(scene), within=body)


def _psoas_haematoma(scene: Scene) -> bool:
    psoas = scene.abdomen.torso.psoas
    return _blobs(scene, psoas > 0.8, 0.7, radii_mm=(13, 24), hu=_muscle_hu(scene), within=psoas)


def _mesenteric_node(scene: Scene) -> bool:
    return _blobs(scene, _free(scene), 1.5, radii_mm=(9, 15), hu=(0, 60), within=scene.abdomen.free)


def _mesenteric_cyst(scene: Scene) -> bool:
    count = _count(scene.rng, 0.8)
    if not count:
        return False
    places = scene.pick(_free(scene) & ~near_bowel(scene), count)
    for centre in places:
        patch = blob(scene.canvas, scene.rng, centre, scene.rng.uniform(20, 42))
        paint(scene.canvas, patch, scene.rng.uniform(25, 60), scene.abdomen.free)
    return bool(places)


def _gallbladder(scene: Scene) -> bool:
    """Paint a gallbladder under the liver in 7 patients of 10."""
    u, canvas, liver = scene.rng.uniform, scene.canvas, scene.abdomen.solid.shares["liver"]
    if scene.rng.random() >= 0.7:
        return False
    front = canvas.y < 0.1 * scene.abdomen.torso.cavity_y_mm
    places = scene.pick((np.abs(liver - 0.5) < 0.4) & front & (canvas.z < 40) & (canvas.x < 0), 1)
    for centre in places:
        patch = ellipsoid(canvas, centre, (u(11, 17), u(12, 18), u(16, 26)), tilt(scene.rng, 0.7))
        paint(canvas, patch, u(0, 25), scene.abdomen.torso.room * (1 - np.float32(0.7) * liver))
    return bool(places)


def _bright(scene: Scene) -> tuple[float, float]:
    blood = scene.abdomen.phase.blood_hu
    return blood + 100, blood + 240


def _wall_calcification(scene: Scene) -> bool:
    body = scene.abdomen.torso.body
    return _blobs(scene, _wall(scene), 1.8, radii_mm=(14, 20), hu=_bright(scene), within=body)


def _oral_contrast(scene: Scene) -> bool:
    bowel = scene.abdomen.bowel
    return _blobs(scene, bowel > 0.9, 1.8, radii_mm=(14, 20), hu=_bright(scene), within=bowel)


def _bowel_gas(scene: Scene) -> bool:
    """Paint gas into loops; never worth a name."""
    bowel = scene.abdomen.bowel
    _blobs(scene, bowel > 0.9, 2.5, radii_mm=(9, 18), hu=(-850, -850), within=bowel)
    return False


def _subcutaneous_gas(scene: Scene) -> bool:
    torso = scene.abdomen.torso
    fat = (torso.body > 0.95) & (torso.muscle_mm > 0)
    return _blobs(scene, fat, 0.6, radii_mm=(10, 18), hu=(-850, -850), within=torso.body)


def _streaks(scene: Scene) -> bool:
    """Paint streaks of motion or beam hardening over some slices in 3 patients of 10."""
    if scene.rng.random() >= 0.3:
        return False
    u, canvas = scene.rng.uniform, scene.canvas
    angle, per_mm, strength, start, middle, width = u(0, np.pi), u(0.11, 0.22), u(5, 20), u(0, 6), u(-110, 110), u(18, 54)
    wave = canvas.x * np.float32(np.cos(angle) * per_mm) + canvas.y * np.float32(np.sin(angle) * per_mm) + np.float32(start)
    fade = np.exp(-np.square((canvas.z - np.float32(middle)) / np.float32(width)))
    canvas.hu[...] += np.float32(strength) * np.sin(wave) * fade * scene.abdomen.torso.body
    return True


PAINTERS: Final[Mapping[str, Callable[[Scene], bool]]] = {
    "pancreatic_cyst": _cysts,
    "muscle_haematoma": _muscle_haematoma,
    "psoas_haematoma": _psoas_haematoma,
    "mesenteric_node": _mesenteric_node,
    "mesenteric_cyst": _mesenteric_cyst,
    "gallbladder": _gallbladder,
    "wall_calcification": _wall_calcification,
    "oral_contrast": _oral_contrast,
    "bowel_gas": _bowel_gas,
    "subcutaneous_gas": _subcutaneous_gas,
    "streaks": _streaks,
}
