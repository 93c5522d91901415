"""Light checks of masks: is anything there, is it of a plausible size, and is left on the left."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float64, Int64

from espalier.geometry import world_mm
from espalier.masks.files import Masks

Verdict = Literal["trust", "down_weight", "drop"]

PLAUSIBLE_ML: Final[Mapping[str, tuple[float, float]]] = {
    "lung_left": (400.0, 5000.0),
    "lung_right": (500.0, 6000.0),
    "lung_upper_lobe_left": (150.0, 3000.0),
    "lung_lower_lobe_left": (100.0, 2500.0),
    "lung_upper_lobe_right": (150.0, 2500.0),
    "lung_middle_lobe_right": (50.0, 1500.0),
    "lung_lower_lobe_right": (100.0, 2500.0),
    "heart": (200.0, 2000.0),
    "liver": (500.0, 5000.0),
    "spleen": (30.0, 2000.0),
    "kidney_left": (40.0, 600.0),
    "kidney_right": (40.0, 600.0),
    "bowel": (200.0, 6000.0),
    "body": (3000.0, 250000.0),
    "bone": (100.0, 20000.0),
}
"""Wide bounds for adults, disease included; outside them a mask is more likely wrong than the patient unusual."""

LITTLE_OVERLAP: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Found:
    """One structure of one scan: its volume, its centre along world x, and whether the grid cuts it."""

    volume_ml: float
    x_mm: float
    cut: bool


def check_masks(masks: Masks, *, overlap: float = 1.0) -> list[dict[str, Any]]:
    """Return a row per structure with `structure`, `volume_ml`, `verdict` and `reasons`, in the order of the values.

    Verdicts: `drop` where nothing is there or left and right are swapped, `down_weight` where the volume is outside
    the plausible range or the masks cover little of the scan, else `trust`. A structure that the field of view cuts
    may be smaller than the range.

    Parameters
    ----------
    masks
        One scan's, with names.
    overlap
        Share of the smaller of mask and scan that lies in the other.
    """
    found = _measure(masks)
    swapped = _swapped(found)
    rows = []
    for structure, one in found.items():
        reasons = _reasons(structure, one, overlap) + (["sides_swapped"] if structure in swapped else [])
        verdict: Verdict = "trust" if not reasons else "down_weight"
        if {"empty", "sides_swapped"} & set(reasons):
            verdict = "drop"
        rows.append({"structure": structure, "volume_ml": round(one.volume_ml, 3), "verdict": verdict, "reasons": reasons})
    return rows


def is_usable(rows: list[dict[str, Any]]) -> bool:
    """Tell whether a scan's masks may be trained on: something is there, and no side is swapped.

    An empty structure is no fault (a chest scan shows no kidney); swapped sides are, and they taint the whole scan.
    """
    return any(row["verdict"] != "drop" for row in rows) and not any("sides_swapped" in row["reasons"] for row in rows)


def _reasons(structure: str, one: _Found, overlap: float) -> list[str]:
    if one.volume_ml == 0:
        return ["empty"]
    low, high = PLAUSIBLE_ML.get(structure, (0.0, float("inf")))
    reasons = []
    if one.volume_ml < low and not one.cut:
        reasons.append("volume_small")
    if one.volume_ml > high:
        reasons.append("volume_large")
    if overlap < LITTLE_OVERLAP:
        reasons.append("little_overlap")
    return reasons


def _swapped(found: Mapping[str, _Found]) -> set[str]:
    """Return the structures whose left and right parts stand in the wrong order; world x runs to the patient's left."""
    sides: dict[str, dict[str, list[str]]] = {}
    for name, one in found.items():
        stem, _, side = name.rpartition("_")
        if side in {"left", "right"} and one.volume_ml > 0:
            paired = "lung" if stem.startswith("lung") else stem
            sides.setdefault(paired, {"left": [], "right": []})[side].append(name)
    swapped: set[str] = set()
    for pair in sides.values():
        if pair["left"] and pair["right"] and _centre(found, pair["left"]) <= _centre(found, pair["right"]):
            swapped |= {*pair["left"], *pair["right"]}
    return swapped


def _centre(found: Mapping[str, _Found], names: list[str]) -> float:
    weights = [found[n].volume_ml for n in names]
    return float(np.average([found[n].x_mm for n in names], weights=weights))


def _measure(masks: Masks) -> dict[str, _Found]:
    along = [_counts(masks, axis) for axis in range(3)]
    voxel_ml = abs(float(np.linalg.det(masks.affine[:3, :3]))) / 1000.0
    found = {}
    for value, name in sorted(masks.names.items()):
        counts = [profile[value] for profile in along]
        total = int(counts[0].sum())
        centre = [float(_mean_index(c)) for c in counts] if total else [0.0, 0.0, 0.0]
        cut = any(bool(c[0] or c[-1]) for c in counts)
        found[name] = _Found(total * voxel_ml, float(world_mm(masks.affine, centre)[0]), cut)
    return found


def _counts(masks: Masks, axis: int) -> Int64[np.ndarray, "256 n"]:
    planes = np.moveaxis(masks.voxels, axis, 0)
    return np.stack([np.bincount(plane.ravel(), minlength=256) for plane in planes], axis=1)


def _mean_index(counts: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, ""]:
    return np.asarray((counts * np.arange(len(counts))).sum() / counts.sum())
