"""How many gross faults of masks the checks catch, and how many untouched masks they flag.

Phantom chests and abdomens with their true masks, and the real scans in the folder `ct` of ESPALIER_DATA with the masks
that came with them (TotalSegmentator, a lung annotation) and those that thresholds give. The real scans are few: each is
varied by cuts along the body, coarser voxels, slight turns and, where only the lungs are named, mirroring with the names
exchanged. These variants are not independent patients. A fault is caught when the scan's verdict is not `trust`.

Usage: python benchmarks/mask_faults.py OUT.json [--patients 150] [--variants 12]
"""

import argparse
import os
import platform
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import numpy as np

from espalier.cohort.read import read_path
from espalier.cohort.volume import Volume
from espalier.geometry import Grid, canonical, resample, respaced
from espalier.masks.checks import check_masks
from espalier.masks.existing import wanted
from espalier.masks.files import Masks, read_masks
from espalier.masks.structures import STRUCTURES
from espalier.masks.threshold import threshold_masks
from espalier.masks.verdicts import scan_verdict
from espalier.outputs import write_json
from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import make_patient

SIDES = ("left", "right")
SHIFT_MM = 20.0
SEED = 23
SWAPS = 5
"""Of each scan's pairs of structures, so many are exchanged."""


@dataclass(frozen=True)
class Pair:
    """A scan with masks that are right, both canonical."""

    name: str
    group: str
    volume: Volume
    masks: Masks


def phantoms(patients: int) -> Iterator[Pair]:
    for anatomy, structures in (("chest", STRUCTURES["chest"]), ("trauma", STRUCTURES["abdomen"])):
        options = PhantomOptions(anatomy=anatomy, seed=SEED, pixels=72, slice_mm=(3.0, 5.0))
        for number in range(patients):
            scan = make_patient(number, options).scans[0]
            affine = scan.series.grid.affine
            masks = Masks(scan.masks, affine, dict(enumerate(structures, start=1)))
            yield upright(f"phantom {number}", f"phantom {anatomy}", Volume(scan.hu, affine), masks)


def upright(name: str, group: str, volume: Volume, masks: Masks) -> Pair:
    voxels, affine = canonical(masks.voxels, masks.affine)
    hu, own = canonical(volume.voxels, volume.affine)
    return Pair(name, group, Volume(hu, own), replace(masks, voxels=voxels, affine=affine))


def real_pairs(root: Path) -> Iterator[Pair]:
    """Return the real scans with their masks."""
    abdomen = root / "abdomen_nifti_totalsegmentator"
    whole, small = (read_path(abdomen / f"example_ct{end}.nii.gz") for end in ("", "_sm"))
    for name, volume in (("fast_force_split", whole), ("", small), ("fast", small), ("fast_body_seg", small)):
        masks = read_masks(abdomen / f"example_seg{'_' if name else ''}{name}.nii.gz")
        yield upright(f"abdomen {name}", "real, all 117 structures", volume, masks)
        yield upright(f"abdomen {name}", "real, abdomen", volume, wanted(masks, STRUCTURES["abdomen"], source=abdomen))
    lungs = root / "chest_dicom_64"
    chest = read_path(lungs / "ct64_dicom")
    annotated = read_path(lungs / "wholeLung-64.nrrd")
    yield upright("chest 64, annotated", "real, lungs", chest, _sided(annotated))
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(root / "chest_dicom_5mm" / "series3_kernelB_5mm_dicom.tar.xz") as packed:
            packed.extractall(folder, filter="data")
        thick = read_path(Path(folder))
    for name, volume in (("chest 64", chest), ("chest 5 mm", thick)):
        yield upright(name, "real, thresholds", volume, threshold_masks(volume, STRUCTURES["threshold"]))


def _sided(annotated: Volume) -> Masks:
    voxels, affine = canonical((annotated.voxels > 0).astype(np.uint8), annotated.affine)
    middle = np.average(np.arange(voxels.shape[2]), weights=voxels.sum(axis=(0, 1)))
    voxels[:, :, : round(float(middle))] *= 2
    return Masks(voxels, affine, {1: "lung_left", 2: "lung_right"})


def varied(pair: Pair, rng: np.random.Generator) -> Pair:
    """Return a scan cut, turned and thinned at random, and mirrored where only lungs are named."""
    hu, masks, affine = pair.volume.voxels, pair.masks, pair.volume.affine
    z = hu.shape[0]
    keep = int(z * rng.uniform(0.75, 1.0))
    first = int(rng.integers(0, z - keep + 1))
    grid = Grid((keep, *hu.shape[1:]), affine @ _moved(first))
    grid = respaced(grid, tuple(mm * rng.uniform(1.0, 1.6) for mm in grid.spacing_mm))
    turn = np.eye(4)
    turn[:3, :3] = _turned(rng.uniform(-0.1, 0.1, 3))
    middle = grid.affine @ np.array([*(np.asarray(grid.shape) - 1) / 2, 1])
    away, back = np.eye(4), np.eye(4)
    away[:3, 3], back[:3, 3] = -middle[:3], middle[:3]
    onto = Grid(grid.shape, back @ turn @ away @ grid.affine)
    voxels = resample(hu, affine, onto=onto, kind="linear", outside=-1024.0)
    labels = resample(masks.voxels, masks.affine, onto=onto, kind="nearest", outside=0)
    names = masks.names
    if all("lung" in name or name in {"body", "bone"} for name in names.values()) and rng.random() < 0.5:
        voxels, labels = voxels[:, :, ::-1], labels[:, :, ::-1]
        names = {value: _other_side(name) for value, name in names.items()}
    voxels, labels = np.ascontiguousarray(voxels), np.ascontiguousarray(labels)
    return Pair(pair.name, pair.group, Volume(voxels, onto.affine), Masks(labels, onto.affine, names))


def _moved(first: int) -> np.ndarray:
    move = np.eye(4)
    move[0, 3] = first
    return move


def _turned(angles: np.ndarray) -> np.ndarray:
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x, about_y = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]]), np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return np.asarray(np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ about_y @ about_x)


def _other_side(name: str) -> str:
    one, other = SIDES
    return name.replace(one, other) if one in name else name.replace(other, one)


def faults(pair: Pair, stranger: Pair | None, rng: np.random.Generator) -> Iterator[tuple[str, Masks]]:
    """Return masks with one gross fault each."""
    masks = pair.masks
    for axis, letter in enumerate("zyx"):
        yield f"flip {letter}", replace(masks, voxels=np.ascontiguousarray(np.flip(masks.voxels, axis)))
    for axis, letter in enumerate("xyz"):
        moved = masks.affine.copy()
        moved[axis, 3] += SHIFT_MM * rng.choice((-1, 1))
        yield f"shift 20 mm {letter}", replace(masks, affine=moved)
    for axis, letter in enumerate("zyx"):
        yield f"truncate {letter}", _truncated(masks, axis, rng, None)
    axis, value = int(rng.integers(3)), _any_large(pair, rng)
    yield f"truncate one structure: {masks.names[value]} {'zyx'[axis]}", _truncated(masks, axis, rng, value)
    value = _any_large(pair, rng)
    yield f"empty one structure: {masks.names[value]}", _without(masks, value)
    yield "empty", replace(masks, voxels=np.zeros_like(masks.voxels))
    if any(word in name for name in masks.names.values() for word in SIDES):
        yield "swap sides", replace(masks, names={value: _other_side(name) for value, name in masks.names.items()})
    for one, other in _swaps(pair, rng):
        yield f"swap two structures: {masks.names[one]} {masks.names[other]}", _swapped(masks, one, other)
    random = rng.choice(np.array([0, *masks.names], dtype=np.uint8), masks.voxels.shape)
    yield "random noise", replace(masks, voxels=random)
    if stranger is not None:
        voxels, own = stranger.masks.voxels, stranger.masks.affine.copy()
        own[:3, 3] += _centre(pair.volume.affine, pair.volume.shape) - _centre(own, voxels.shape)
        yield "another patient's", replace(stranger.masks, affine=own)


def _centre(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(affine[:3, :3] @ ((np.asarray(shape) - 1) / 2) + affine[:3, 3])


def _large(pair: Pair) -> list[int]:
    """Return the values of the structures that the paper's sets and thresholds name, where 40 ml or more are shown."""
    known = {name for names in STRUCTURES.values() for name in names} - {"body", "bone"}
    voxel_ml = abs(np.linalg.det(pair.masks.affine[:3, :3])) / 1000
    counts = np.bincount(pair.masks.voxels.ravel(), minlength=256) * voxel_ml
    return [value for value, name in sorted(pair.masks.names.items()) if name in known and counts[value] >= 40]


def _any_large(pair: Pair, rng: np.random.Generator) -> int:
    return int(rng.choice(_large(pair)))


def _swaps(pair: Pair, rng: np.random.Generator) -> list[tuple[int, int]]:
    pairs = list(combinations(_large(pair), 2))
    return [pairs[n] for n in rng.permutation(len(pairs))[:SWAPS]]


def _swapped(masks: Masks, one: int, other: int) -> Masks:
    table = np.arange(256, dtype=np.uint8)
    table[one], table[other] = other, one
    return replace(masks, voxels=table[masks.voxels])


def _without(masks: Masks, value: int) -> Masks:
    return replace(masks, voxels=np.where(masks.voxels == value, 0, masks.voxels).astype(np.uint8))


def _truncated(masks: Masks, axis: int, rng: np.random.Generator, value: int | None) -> Masks:
    """Return the masks, or one structure, without what lies on one side of a plane through the middle 40 %."""
    own = masks.voxels > 0 if value is None else masks.voxels == value
    shown = np.flatnonzero(own.any(axis=tuple(a for a in range(3) if a != axis)))
    place = round(float(shown[0] + rng.uniform(0.3, 0.7) * (shown[-1] - shown[0])))
    side = slice(place, None) if rng.random() < 0.5 else slice(None, place)
    gone = np.zeros(masks.voxels.shape, dtype=bool)
    gone[tuple(side if a == axis else slice(None) for a in range(3))] = True
    return replace(masks, voxels=np.where(gone & own, 0, masks.voxels).astype(np.uint8))


def judged(masks: Masks, volume: Volume) -> tuple[str, str]:
    rows = check_masks(masks, volume)
    found = {f"{row['structure']}: {reason}" for row in rows for reason in row["reasons"] if row["verdict"] != "trust"}
    return scan_verdict(rows), ", ".join(sorted(found))


def measured(pairs: list[Pair], rng: np.random.Generator, *, strangers: bool) -> Mapping[str, list[tuple[bool, str, str]]]:
    """Return for each fault, and for `untouched`, whether the masks were trusted, whose they were, and why not."""
    found: dict[str, list[tuple[bool, str, str]]] = {}
    for number, pair in enumerate(pairs):
        verdict, why = judged(pair.masks, pair.volume)
        found.setdefault("untouched", []).append((verdict == "trust", pair.name, why))
        stranger = pairs[(number + 1) % len(pairs)] if strangers else None
        for fault, masks in faults(pair, stranger, rng):
            verdict, why = judged(masks, pair.volume)
            found.setdefault(fault.partition(":")[0], []).append((verdict == "trust", pair.name + ", " + fault, why))
    return found


def rows_of(group: str, found: Mapping[str, list[tuple[bool, str, str]]]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for fault, told in found.items():
        trusted = sum(own for own, _, _ in told)
        flagged = len(told) - trusted
        rows.append({"group": group, "fault": fault, "masks": len(told), "flagged": flagged, "share": flagged / len(told)})
        odd = [own for own in told if own[0] != (fault == "untouched")]
        print(f"{group:28s} {fault:26s} {flagged:5d} of {len(told):5d}", *(f"{n} ({why})" for _, n, why in odd[:3]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, default=150)
    parser.add_argument("--variants", type=int, default=12)
    parser.add_argument("--only", default="", help="the groups whose names begin so")
    asked = parser.parse_args()
    rng = np.random.default_rng(SEED)
    groups: dict[str, list[Pair]] = {}
    for pair in phantoms(asked.patients):
        groups.setdefault(pair.group, []).append(pair)
    root = Path(os.environ.get("ESPALIER_DATA", "")) / "ct"
    for pair in real_pairs(root) if root.is_dir() else ():
        groups.setdefault(pair.group, []).extend([pair, *(varied(pair, rng) for _ in range(asked.variants))])
    rows: list[dict[str, object]] = []
    start, count = time.process_time(), 0
    for group, pairs in ((group, pairs) for group, pairs in groups.items() if group.startswith(asked.only)):
        found = measured(pairs, rng, strangers=group.startswith("phantom"))
        rows += rows_of(group, found)
        count += sum(len(told) for told in found.values())
    seconds = (time.process_time() - start) / count
    about = {"machine": f"{platform.machine()}, {platform.system()}", "date": datetime.now(UTC).date().isoformat()}
    settings = {"patients": asked.patients, "variants": asked.variants, "shift_mm": SHIFT_MM, "seed": SEED}
    write_json(asked.out, {**about, "settings": settings, "cpu_s_a_check": round(seconds, 3), "rows": rows}, kind="benchmark")


if __name__ == "__main__":
    main()
