"""How many injected faults each detector of the cohort finds, and how many untouched scans it flags.

    python benchmarks/detectors.py OUT.json [--scans 150]

Limits were tuned on the seeds 1 to 9 and looked at once on 101 to 103; everything here is drawn from other seeds. Made-up
chests and abdomens are those of `espalier phantom`, heads, necks, legs and arms those of `other_bodies.py`. With
ESPALIER_DATA set, random cuts of the real scans in its folder `ct` join the untouched ones and carry faults too.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from demo import machine
from other_bodies import PARTS, make_body
from scipy import ndimage

from espalier.cohort.checks import check_hu, check_volume
from espalier.cohort.options import CohortOptions
from espalier.cohort.twins import find_twins, thumbnail
from espalier.cohort.volume import Volume
from espalier.errors import ScanError
from espalier.geometry import canonical
from espalier.masks.structures import STRUCTURES
from espalier.outputs import write_json
from espalier.phantom.findings import Anatomy
from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import Patient, make_patient

SEEDS, FOUND_GOAL, FLAGGED_GOAL = (201, 202, 203), 0.99, 0.02
ANATOMIES: tuple[Anatomy, ...] = ("chest", "trauma")
STUDY = {part: CohortOptions(sources=("x",), body_part=part) for part in ("chest", "abdomen", None)}
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]

HU_FAULTS: dict[str, Change] = {
    "never rescaled": lambda hu, _: hu + 1024,
    "never rescaled, padding of -2000": lambda hu, _: np.where(hu < -990, -2000, hu + 1024),
    "never rescaled, intercept -8192": lambda hu, _: hu + 8192,
    "intercept -1024 twice": lambda hu, _: hu - 1024,
    "intercept -8192 twice": lambda hu, _: hu - 8192,
    "slope 2 twice": lambda hu, _: 2 * hu - 1024,
    "shifted by -1000": lambda hu, _: hu - 1000,
    "shifted by +1000": lambda hu, _: hu + 1000,
    "shifted by 300 to 900, up or down": lambda hu, rng: hu + rng.choice([-1, 1]) * rng.uniform(300, 900),
    "shifted by 100 to 250, up or down": lambda hu, rng: hu + rng.choice([-1, 1]) * rng.uniform(100, 250),
    "all negative values read as unsigned": lambda hu, _: np.where(hu < 0, hu + 65536, hu),
    "8 bits, soft tissue window": lambda hu, _: np.round(np.clip((hu + 160) / 400, 0, 1) * 255),
    "8 bits, lung window": lambda hu, _: np.round(np.clip((hu + 1000) / 1200, 0, 1) * 255),
    "8 bits, intercept applied": lambda hu, _: np.round(np.clip((hu + 160) / 400, 0, 1) * 255) - 1024,
    "scaled to 0..1": lambda hu, _: np.clip((hu + 1000) / 1400, 0, 1),
    "mean 0, deviation 1": lambda hu, _: (hu - hu.mean()) / hu.std(),
    "inverted within 12 bits": lambda hu, _: 4095 - (hu + 1024) - 1024,
    "negative": lambda hu, _: -hu,
}
TWIN_FAULTS: dict[str, Change] = {
    "noise of 10 to 30 HU": lambda hu, rng: hu + rng.normal(0, rng.uniform(10, 30), hu.shape),
    "softer kernel": lambda hu, rng: ndimage.gaussian_filter(hu, (0, *[rng.uniform(0.4, 0.8)] * 2)),
    "sharper kernel": lambda hu, rng: hu + rng.uniform(0.3, 0.8) * (hu - ndimage.gaussian_filter(hu, (0, 0.8, 0.8))),
    "lossy compression": lambda hu, rng: np.round(hu / 16) * 16 + rng.normal(0, 5, hu.shape),
    "one slice less": lambda hu, rng: hu[1:] if rng.random() < 0.5 else hu[:-1],
    "two slices less": lambda hu, rng: (hu[2:], hu[:-2], hu[1:-1])[rng.integers(3)],
    "resampled": lambda hu, rng: ndimage.zoom(hu, (rng.uniform(0.6, 1.3), *[rng.uniform(0.7, 1.3)] * 2), order=1),
    "cut to -1000..400 HU": lambda hu, _: np.clip(hu, -1000, 400),
    "moved": lambda hu, _: hu,
    "mirrored, noise of 20 HU": lambda hu, rng: hu[:, :, ::-1] + rng.normal(0, 20, hu.shape),
    "slice order lost, noise of 20 HU": lambda hu, rng: hu[::-1] + rng.normal(0, 20, hu.shape),
    "cut by 4 % on each side in the plane": lambda hu, _: hu[:, hu.shape[1] // 25 : -(hu.shape[1] // 25), hu.shape[2] // 25 :],
}


def stored(hu: np.ndarray, affine: np.ndarray) -> Volume:
    """Return what a reader makes of such values: nothing below -1024, int16 where that loses nothing."""
    hu = np.maximum(hu, -1024)
    whole = hu.astype(np.int16) if hu.max() < 32768 and np.array_equal(np.round(hu), hu) else hu.astype(np.float32)
    return Volume(whole, affine)


def changed(volume: Volume, change: Change, rng: np.random.Generator) -> Volume:
    hu = change(volume.voxels.astype(np.float64), rng)
    return stored(np.round(hu) if np.ptp(hu) > 300 else hu, volume.affine)


def patients(anatomy: Anatomy, count: int) -> Iterator[tuple[str, Patient]]:
    """Yield made-up patients of the seeds that nothing was tuned on, with slices of 2 to 5 mm."""
    for seed in SEEDS:
        options = PhantomOptions(patients=max(1, count), anatomy=anatomy, seed=seed, pixels=76, slice_mm=(3.0, 5.0))
        for number in range(count // len(SEEDS)):
            yield f"{anatomy} {seed} {number}", make_patient(number, options)


def scans(anatomy: Anatomy, count: int) -> Iterator[tuple[str, Volume]]:
    for patient, made in patients(anatomy, count):
        for scan in made.scans:
            yield patient, Volume(scan.hu, scan.series.grid.affine)


def real_scans() -> dict[str, Volume]:
    """Return the real scans that ESPALIER_DATA names: `chest` and `trauma` (an abdomen), or nothing."""
    root = Path(os.environ.get("ESPALIER_DATA", "")) / "ct"
    files = {
        "trauma": root / "abdomen_nifti_totalsegmentator/example_ct.nii.gz",
        "chest": root / "chest_dicom_64/ct-64.nrrd",
    }
    found = {}
    for name, path in files.items():
        if path.is_file():
            read = sitk.ReadImage(str(path))
            affine = np.eye(4)
            affine[:3, :3] = np.array(read.GetDirection()).reshape(3, 3)[:, ::-1] * read.GetSpacing()[::-1]
            found[name] = stored(sitk.GetArrayFromImage(read).astype(np.float64), affine)
    return found


def cuts(volume: Volume, rng: np.random.Generator, count: int) -> Iterator[Volume]:
    """Yield random cuts with at least 60 % of each axis and an offset of up to 8 HU, as calibration leaves it."""
    for _ in range(count):
        places = []
        for size in volume.shape:
            length = int(rng.integers(int(0.6 * size), size + 1))
            start = int(rng.integers(0, size - length + 1))
            places.append(slice(start, start + length))
        yield stored(volume.voxels[tuple(places)].astype(np.float64) + round(rng.uniform(-8, 8)), volume.affine)


def code_of(volume: Volume, options: CohortOptions, **more: Any) -> set[str]:
    """Return the notes of a scan, or the code that sets it aside."""
    try:
        return set(check_volume(volume, options, source="scan", **more).notes)
    except ScanError as error:
        return {error.code}


class Counts:
    """Hits among scans, per line of the table."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], list[int]] = {}

    def add(self, kind: str, what: str, *, hit: bool) -> None:
        count = self.counts.setdefault((kind, what), [0, 0])
        count[0] += hit
        count[1] += 1

    def rows(self) -> list[dict[str, Any]]:
        rows = []
        for (kind, what), (hits, n) in self.counts.items():
            goal = FOUND_GOAL if kind == "found" else FLAGGED_GOAL
            share = round(hits / n, 4)
            unit = f"share {kind}" + (" of injected faults" if kind == "found" else " of untouched scans")
            ratio = round(share / goal, 3)
            rows.append({"what": what, "ours": share, "other": goal, "ratio": ratio, "unit": unit, "hits": hits, "n": n})
        return rows


def judge_hu(counts: Counts, count: int, rng: np.random.Generator) -> None:
    groups: list[tuple[str, Sequence[Volume]]] = [(name, [v for _, v in scans(name, count)]) for name in ANATOMIES]
    groups += [(f"real {name}", list(cuts(volume, rng, count // 3))) for name, volume in real_scans().items()]
    groups.append(
        ("head, neck, leg, arm", [make_body(PARTS[n % 4], np.random.default_rng([SEEDS[0], n])) for n in range(count // 3)])
    )
    for name, volumes in groups:
        for volume in volumes:
            counts.add("flagged", f"HU: {name}", hit=not plausible(volume))
            for fault, change in HU_FAULTS.items():
                counts.add("found", f"HU: {fault}: {name}", hit=not plausible(changed(volume, change, rng)))


def plausible(volume: Volume) -> bool:
    try:
        check_hu(volume, source="scan")
    except ScanError:
        return False
    return True


def judge_body_part(counts: Counts, count: int, rng: np.random.Generator) -> None:
    other, wanted = "not_the_body_part", {"chest": STUDY["chest"], "trauma": STUDY["abdomen"]}
    for part in PARTS:
        for n in range(2 * count):
            body = make_body(part, np.random.default_rng([SEEDS[n % 3], n]), pixels=int(rng.choice([56, 72, 110])))
            counts.add("found", f"body part: {part} in a chest study", hit=code_of(body, STUDY["chest"]) == {other})
    for name in ANATOMIES:
        for _, volume in scans(name, 2 * count):
            counts.add("flagged", f"body part: {name}", hit=other in code_of(volume, wanted[name]))
            small = volume.affine.copy()
            small[:3, :3] *= rng.uniform(0.4, 0.75)
            counts.add(
                "flagged",
                f"body part: {name} of a child's size",
                hit=other in code_of(Volume(volume.voxels, small), wanted[name]),
            )
            if name == "trauma":
                low, affine = canonical(volume.voxels, volume.affine)
                below = Volume(low[: round(0.48 * len(low))], affine)
                counts.add("found", "body part: lower abdomen in a chest study", hit=code_of(below, STUDY["chest"]) == {other})
    for name, volume in real_scans().items():
        for cut in cuts(volume, rng, count):
            counts.add("flagged", f"body part: real {name}", hit=other in code_of(cut, wanted[name]))


def judge_coverage(counts: Counts, count: int, rng: np.random.Generator) -> None:
    for _, volume in scans("chest", 2 * count):
        counts.add("flagged", "coverage: chest", hit=bool({"lungs_cut", "short_coverage"} & code_of(volume, STUDY["chest"])))
        size = volume.shape[0]
        part = round(size * rng.uniform(0.45, 0.65))
        cut = volume.voxels[:part] if rng.random() < 0.5 else volume.voxels[-part:]
        counts.add(
            "found",
            "coverage: 35 to 55 % of a chest missing",
            hit="lungs_cut" in code_of(Volume(cut, volume.affine), STUDY["chest"]),
        )
        few = Volume(volume.voxels[: int(75 / volume.spacing_mm[0])], volume.affine)
        counts.add(
            "found", "coverage: 75 mm only", hit=bool({"short_coverage", "not_the_body_part"} & code_of(few, STUDY[None]))
        )
        gap = float(rng.uniform(5.1, 9.9))
        counts.add("found", "slices 5.1 to 9.9 mm apart", hit="thick_slices" in code_of(volume, STUDY[None], widest_gap_mm=gap))
        wide = code_of(volume, STUDY[None], widest_gap_mm=gap + 5)
        counts.add("found", "slices more than 10 mm apart", hit=wide == {"slices_too_thick"})
        counts.add("flagged", "slices up to 5 mm apart", hit="thick_slices" in code_of(volume, STUDY[None]))


def judge_contrast(counts: Counts, count: int) -> None:
    for name in ANATOMIES:
        for _, made in patients(name, 2 * count):
            scan = made.scans[0]
            volume = Volume(scan.hu, scan.series.grid.affine)
            given = name == "trauma" or heart_hu(scan.hu, scan.masks) > 70
            right, wrong = ("Iodine", "none") if given else ("none", "Iodine")
            counts.add(
                "found",
                f"contrast: {name}, header wrong",
                hit="contrast_differs" in code_of(volume, STUDY[None], contrast=wrong),
            )
            counts.add(
                "flagged",
                f"contrast: {name}, header right",
                hit="contrast_differs" in code_of(volume, STUDY[None], contrast=right),
            )
    for name, volume in real_scans().items():
        for cut in cuts(volume, np.random.default_rng(SEEDS[0]), count):
            counts.add(
                "found",
                f"contrast: real {name}, native, header wrong",
                hit="contrast_differs" in code_of(cut, STUDY[None], contrast="Iodine"),
            )
            counts.add(
                "flagged",
                f"contrast: real {name}, native, header right",
                hit="contrast_differs" in code_of(cut, STUDY[None], contrast="none"),
            )


def heart_hu(hu: np.ndarray, masks: np.ndarray) -> float:
    return float(np.median(hu[ndimage.binary_erosion(masks == STRUCTURES["chest"].index("heart") + 1, iterations=2)]))


def judge_twins(counts: Counts, count: int, rng: np.random.Generator) -> np.ndarray:
    """Count twins, and return the thumbnails of all untouched scans."""
    every = []
    for name in ANATOMIES:
        known = list(scans(name, 4 * count))
        owners = [patient for patient, _ in known]
        seen = np.stack([thumbnail(volume) for _, volume in known])
        every.append(seen)
        names = [str(n) for n in range(len(known))]
        pairs = find_twins(names, owners, seen, [""] * len(known))
        flagged = {scan for twins in pairs if not twins.one_patient for scan in (twins.first, twins.second)}
        for scan in names:
            counts.add("flagged", f"twins: {name}, other patients", hit=scan in flagged)
        for fault, change in TWIN_FAULTS.items():
            copies = [
                (n, thumbnail(changed(known[n][1], change, rng))) for n in rng.choice(len(known), count // 2, replace=False)
            ]
            both = np.concatenate([seen, np.stack([copy for _, copy in copies])])
            ids = [*names, *(f"copy of {n}" for n, _ in copies)]
            told = find_twins(ids, [*owners, *(f"other {n}" for n, _ in copies)], both, [""] * len(ids))
            found = {twins.second for twins in told if twins.second == f"copy of {twins.first}"}
            for n, _ in copies:
                counts.add("found", f"twins: {fault}: {name}", hit=f"copy of {n}" in found)
    return np.concatenate(every)


def time_twins(seen: np.ndarray, count: int) -> list[dict[str, Any]]:
    """Return seconds and memory for `count` thumbnails drawn from the spread of the known ones."""
    rng, flat = np.random.default_rng(SEEDS[0]), seen.reshape(len(seen), -1).astype(np.float32)
    middle = flat.mean(axis=0)
    _, sizes, shapes = np.linalg.svd(flat - middle, full_matrices=False)
    many = np.empty((count, 16, 16, 16), dtype=np.int16)
    for start in range(0, count, 1000):
        part = many[start : start + 1000]
        drawn = rng.standard_normal((len(part), len(sizes)), dtype=np.float32) * (sizes / np.sqrt(len(flat)))
        part[...] = np.clip(middle + drawn @ shapes, -1000, 500).reshape(part.shape)
    names = [str(n) for n in range(count)]
    before, start_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    flagged = len(find_twins(names, names, many, [""] * count))
    took, more = time.perf_counter() - start_s, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    what = f"twins among {count} scans"
    told = ((what, took, "s"), (f"{what}, memory beyond them", more, "MB"), (f"{what}, pairs of drawn ones", flagged, "pairs"))
    return [{"what": w, "ours": round(v, 1), "other": None, "ratio": None, "unit": u} for w, v, u in told]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scans", type=int, default=150)
    parser.add_argument("--many", type=int, default=50_000, help="scans in the timing of twins")
    asked = parser.parse_args()
    counts, rng = Counts(), np.random.default_rng(SEEDS[0])
    judge_hu(counts, asked.scans, rng)
    judge_body_part(counts, asked.scans, rng)
    judge_coverage(counts, asked.scans, rng)
    judge_contrast(counts, asked.scans)
    seen = judge_twins(counts, asked.scans, rng)
    rows = counts.rows() + time_twins(seen, asked.many)
    for row in rows:
        print(f"{row['what']:72s} {row['ours']:8.4g} {row['unit']} {row.get('n', '')}")
    settings = {
        "scans": asked.scans,
        "seeds": list(SEEDS),
        "tuned_on_seeds": [*range(1, 10), 101, 102, 103],
        "real_scans": sorted(real_scans()),
        "real_scans_also_used_for_tuning": True,
    }
    about = {"machine": machine(), "date": datetime.now(UTC).date().isoformat()}
    write_json(asked.out, {**about, "settings": settings, "rows": rows}, kind="benchmark")


if __name__ == "__main__":
    main()
