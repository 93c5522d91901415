"""Lesions of the chest, sized for voxels of about 11 x 9 x 9 mm: half again as large as in life."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from espalier.phantom.chest_anatomy import STRUCTURES, Scene, lobe
from espalier.phantom.draw import Patch, Point, Share, blob, mix, mottle, paint, step
from espalier.phantom.findings import CHEST, Detail

LOBES: Final = STRUCTURES[:5]
SMALLEST_LOBE_ML: Final = 25.0
CALCIUM_MM: Final = (6.0, 9.8)
CALCIUM_HU: Final = (400.0, 900.0)


def draw_findings(rng: np.random.Generator, prevalence: float) -> dict[str, int]:
    """Draw each finding independently."""
    return {name: int(there) for name, there in zip(CHEST, rng.random(len(CHEST)) < prevalence, strict=True)}


def paint_findings(scene: Scene, findings: Mapping[str, int]) -> dict[str, Detail]:
    """Paint the lesions of these findings, air first and calcium last; return the details of `Truth`."""
    details: dict[str, Detail] = dict(scene.thorax.details)
    for name, paint_one in PAINTERS.items():
        if findings[name]:
            details |= paint_one(scene)
    return {key: details[key] for name in CHEST for key in sorted(details) if key.startswith(name)}


def calcium(scene: Scene, places: list[Point]) -> None:
    """Paint one bright spot at each place."""
    for centre in places:
        patch = blob(scene.canvas, scene.rng, centre, scene.rng.uniform(*CALCIUM_MM), spread=0.3)
        paint(scene.canvas, patch, scene.rng.uniform(*CALCIUM_HU))


def _emphysema(scene: Scene) -> dict[str, Detail]:
    upper = scene.canvas.z > scene.rng.uniform(-0.3, 0) * scene.thorax.frame.height_mm
    for centre in scene.pick((scene.thorax.aerated > 0.95) & upper, int(scene.rng.integers(8, 17))):
        patch = blob(scene.canvas, scene.rng, centre, scene.rng.uniform(15, 28), spread=0.35)
        paint(scene.canvas, patch, -990, scene.thorax.aerated, strength=scene.rng.uniform(0.7, 1))
    return {}


def _lobar(scene: Scene, radii_mm: list[float]) -> list[tuple[str, Patch, Share]]:
    """Return for each radius a lobe, a blob in it, and the share of the blob that the lobe holds."""
    thorax, canvas = scene.thorax, scene.canvas
    inner = (thorax.aerated > 0.95) * thorax.lobes
    sizes = scene.sites.once(lambda: np.bincount(inner.ravel(), minlength=len(LOBES) + 1) * canvas.voxel_ml)
    large = [name for name in LOBES if sizes[lobe(name)] > SMALLEST_LOBE_ML]
    found = []
    for radius in radii_mm:
        choice = scene.rng.random()
        if not large:
            continue
        name = large[int(choice * len(large))]
        for centre in scene.pick(inner == lobe(name), 1):
            patch = blob(canvas, scene.rng, centre, radius, spread=0.35)
            within = thorax.aerated[patch.box] * (thorax.lobes[patch.box] == lobe(name))
            found.append((name, patch, within))
    return found


def _lung_opacity(scene: Scene) -> dict[str, Detail]:
    u = scene.rng.uniform
    radii = sorted((u(30, 60) for _ in range(scene.rng.integers(1, 4))), reverse=True)
    found = _lobar(scene, radii)
    for _, patch, within in found:
        scene.canvas.hu[patch.box] += patch.share * within * np.float32(u(150, 320))
    return {"lung_opacity_lobe": found[0][0]} if found else {}


def _consolidation(scene: Scene) -> dict[str, Detail]:
    u = scene.rng.uniform
    radii = sorted((u(22, 45) for _ in range(scene.rng.integers(1, 3))), reverse=True)
    found = _lobar(scene, radii)
    for _, patch, within in found:
        mix(scene.canvas.hu[patch.box], patch.share * within * np.float32(u(0.8, 1)), u(10, 50))
    return {"consolidation_lobe": found[0][0]} if found else {}


def _fibrosis(scene: Scene) -> dict[str, Detail]:
    u, frame, canvas = scene.rng.uniform, scene.thorax.frame, scene.canvas
    rim = step(-frame.wall_mm - np.float32(u(8, 16)), canvas.edge_mm) * scene.thorax.aerated
    rim *= step(canvas.z + np.float32(u(0, 0.2) * frame.height_mm), canvas.edge_mm)
    rim *= np.float32(0.55) + np.float32(0.45) * np.clip(mottle(canvas, scene.rng, (18, 30)), -1, 1)
    canvas.hu[...] += rim * np.float32(u(200, 420))
    return {}


def _atelectasis(scene: Scene) -> dict[str, Detail]:
    u, thorax, canvas = scene.rng.uniform, scene.thorax, scene.canvas
    plate, band = u(6, 12), u(8, 18)
    side = canvas.x < 0 if thorax.details["atelectasis_side"] == "right" else canvas.x >= 0
    lung = thorax.aerated * side
    sheet = step(np.abs(canvas.z - thorax.fissure_mm + plate * 0.5) - np.float32(plate * 0.5), canvas.edge_mm)
    mix(canvas.hu, sheet * lung * np.float32(0.8), 30)
    floor = step(thorax.frame.above_dome_mm - np.float32(band), canvas.edge_mm)
    floor *= lung * (canvas.y > -0.2 * thorax.frame.cavity_y_mm)
    mix(canvas.hu, floor * np.float32(0.7), 30)
    return {}


def _lung_nodule(scene: Scene) -> dict[str, Detail]:
    thorax = scene.thorax
    radii = np.sort(scene.rng.uniform(9.8, 15, scene.rng.integers(2, 6)))[::-1]
    places = scene.pick((thorax.aerated > 0.95) & (thorax.lobes > 0), len(radii))
    for radius, centre in zip(radii, places, strict=False):
        patch = blob(scene.canvas, scene.rng, centre, float(radius), spread=0.15)
        paint(scene.canvas, patch, scene.rng.uniform(20, 60), thorax.aerated)
    if not places:
        return {}
    largest = scene.sites.once(lambda: _lobe_at(scene, places[0]))
    details: dict[str, Detail] = {"lung_nodule_count": len(places), "lung_nodule_size_mm": round(2 * float(radii[0]))}
    return details | ({"lung_nodule_lobe": largest} if largest else {})


def _lobe_at(scene: Scene, centre: Point) -> str:
    index = np.rint(scene.canvas.to_index @ np.array([*centre, 1.0])).astype(int)
    value = int(scene.thorax.lobes[tuple(np.clip(index, 0, np.array(scene.thorax.lobes.shape) - 1))])
    return LOBES[value - 1] if value else ""


def _lymphadenopathy(scene: Scene) -> dict[str, Detail]:
    thorax, u = scene.thorax, scene.rng.uniform
    height = thorax.frame.height_mm
    where = (thorax.mediastinum > 0.5) & (thorax.aorta < 0.3)
    where &= (scene.canvas.z > -0.12 * height) & (scene.canvas.z < 0.35 * height)
    radii = u(15, 22, scene.rng.integers(3, 8))
    places = scene.pick(where, len(radii))
    for radius, centre in zip(radii, places, strict=False):
        patch = blob(scene.canvas, scene.rng, centre, float(radius), spread=0.25)
        paint(scene.canvas, patch, u(25, 50) + 0.2 * (thorax.blood_hu - 40))
    return {"lymphadenopathy_count": len(radii), "lymphadenopathy_size_mm": round(2 * float(radii.max()))}


def _hiatal_hernia(scene: Scene) -> dict[str, Detail]:
    u, frame = scene.rng.uniform, scene.thorax.frame
    radius = u(20, 32)
    ax, ay = frame.cavity_x_mm, frame.cavity_y_mm
    dome = -0.5 * frame.height_mm + frame.dome_mm[1] * (1 - (0.5 / 0.75) ** 2 - 1.1 * 0.5**2)
    x, y, z = u(0, 0.12) * ax, u(0.35, 0.5) * ay, dome + radius * u(0.7, 1.1)
    paint(scene.canvas, blob(scene.canvas, scene.rng, (x, y, z), radius, spread=0.2), 35)
    gas = blob(scene.canvas, scene.rng, (x, y - 0.3 * radius, z), radius * 0.5, spread=0.2)
    if scene.rng.random() < 0.6:
        paint(scene.canvas, gas, -900)
    return {"hiatal_hernia_size_mm": round(2 * radius)}


def _coronary(scene: Scene) -> dict[str, Detail]:
    heart, canvas = scene.thorax.heart, scene.canvas
    surface = np.zeros(canvas.hu.shape, bool)
    outer, inner = heart.shell(canvas, 2), heart.shell(canvas, -12)
    surface[outer.box] = outer.share > 0.5
    surface[inner.box] &= inner.share < 0.5
    surface &= (canvas.z > heart.centre[2] - 0.5 * heart.radii_mm[2]) & (heart.share > 0.5)
    places = scene.pick(surface, int(scene.rng.integers(3, 8)))
    calcium(scene, places)
    return {"coronary_artery_wall_calcification_count": len(places)}


PAINTERS: Final[Mapping[str, Callable[[Scene], dict[str, Detail]]]] = {
    "emphysema": _emphysema,
    "lung_opacity": _lung_opacity,
    "consolidation": _consolidation,
    "pulmonary_fibrotic_sequela": _fibrosis,
    "atelectasis": _atelectasis,
    "lung_nodule": _lung_nodule,
    "lymphadenopathy": _lymphadenopathy,
    "hiatal_hernia": _hiatal_hernia,
    "coronary_artery_wall_calcification": _coronary,
}
