"""TotalSegmentator through Espalier beside its own command line called once per scan, interleaved, same weights, same scans.

    espalier doctor --install totalsegmentator
    python benchmarks/segment.py [--tiny] [--rounds 3]

The weights are random, in TotalSegmentator's layout (task total, fast): nnU-Net's full-size network of 3D U-Nets (six stages,
32 to 320 features, patch 128 × 128 × 128, 118 outputs), or with `--tiny` a small one. Ours is `totalsegmentator_masks` and
`write_masks`: the scan is clipped and resampled too, which the command line is spared: it gets the resampled file. CPU
seconds are those of all processes; the network's own inference is timed on both sides around the same function of nnU-Net.
"""

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from demo import machine

from espalier.cohort.volume import Volume
from espalier.geometry import affine_from
from espalier.masks import totalsegmentator, totalsegmentator_process
from espalier.masks.environments import environment_python, installed_versions
from espalier.masks.files import read_masks, write_masks
from espalier.masks.options import TotalSegmentatorOptions
from espalier.masks.totalsegmentator import totalsegmentator_key, totalsegmentator_masks, write_scan
from espalier.outputs import write_json

SHAPE, SPACING = (140, 420, 420), (2.4, 0.8, 0.8)
RANDOM_MODEL = Path(__file__).parents[1] / "tests" / "masks" / "random_totalsegmentator.py"
TICKS = os.sysconf("SC_CLK_TCK")
PEER = """
from totalsegmentator.bin.TotalSegmentator import main

if __name__ == "__main__":
    import json, os, time
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    infer = nnUNetPredictor.predict_logits_from_preprocessed_data

    def timed(own, voxels):
        begun, cpu = time.perf_counter(), time.process_time()
        logits = infer(own, voxels)
        with open(os.environ["INFERENCE"], "w") as out:
            json.dump({"wall": time.perf_counter() - begun, "cpu": time.process_time() - cpu}, out)
        return logits

    nnUNetPredictor.predict_logits_from_preprocessed_data = timed
    main()
"""
"""The command line as its console script starts it, with a clock around the network."""

Times = dict[str, float]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--tiny", action="store_true")
    asked.add_argument("--rounds", type=int, default=3)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="espalier-segment-") as name:
        rows, settings = compare(Path(name), tiny=given.tiny, rounds=given.rounds)
    data = {"machine": machine(), "date": datetime.now(tz=UTC).date().isoformat(), "settings": settings, "rows": rows}
    out = Path(__file__).with_suffix(".json") if not given.tiny else Path("segment-tiny.json")
    write_json(out, data, kind="benchmark")
    for row in rows:
        print(row)


def compare(folder: Path, *, tiny: bool, rounds: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    python = environment_python("totalsegmentator", folder=folder)
    weights = folder / "weights"
    subprocess.run([python, RANDOM_MODEL, weights, *([] if tiny else ["--full"])], check=True)
    options = TotalSegmentatorOptions(weights=str(weights), device="cpu")
    key = totalsegmentator_key(options, folder=folder)
    begun = time.perf_counter()
    running = totalsegmentator_process.running_worker(options, folder, key["weights"])
    start = {"wall": time.perf_counter() - begun, "cpu": cpu_of(running.companion.process.pid)}
    ours: list[Times] = []
    theirs: list[Times] = []
    differ = 0
    for n in range(rounds):
        volume, place = made_up(n), folder / f"round-{n}"
        place.mkdir()
        ours.append(our_way(volume, key, options, folder, place))
        write_scan(volume, place / "scan.nii", window_hu=options.window_hu, spacing_mm=options.spacing_mm)
        theirs.append(their_way(python, weights, place))
        differ += int((read_masks(place / "ours.nii.gz").voxels != read_masks(place / "theirs.nii.gz").voxels).sum())
        print(ours[-1], theirs[-1], differ, flush=True)
    settings = {
        "network": "tiny" if tiny else "full size, random weights",
        "task": "total, fast",
        "rounds": rounds,
        "scan": {"shape": list(SHAPE), "spacing_mm": list(SPACING)},
        "versions": installed_versions(python, ("TotalSegmentator", "nnunetv2", "torch")),
    }
    return [*rows_of(ours, theirs), *other_rows(start, differ)], settings


def made_up(seed: int) -> Volume:
    """Return a body with two lungs and noise."""
    rng = np.random.default_rng(seed)
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE)
    radius = (y[:, None] / 0.6) ** 2 + (x[None, :] / 0.9) ** 2
    hu = np.where(radius < 1, 40, -1000)[None] + np.zeros((len(z), 1, 1), np.int16)
    for side in (-0.42, 0.42):
        lung = (z[:, None, None] / 0.9) ** 2 + (y[None, :, None] / 0.42) ** 2 + ((x[None, None, :] - side) / 0.3) ** 2 < 1
        hu = np.where(lung, -850, hu)
    voxels = (hu + rng.normal(0, 20, SHAPE)).astype(np.int16)
    return Volume(voxels, affine_from(spacing_mm=SPACING, origin_mm=(0.0, 0.0, 0.0), direction=np.eye(3)[:, ::-1]))


def our_way(volume: Volume, key: Mapping[str, Any], options: TotalSegmentatorOptions, folder: Path, place: Path) -> Times:
    told: list[dict[str, Any]] = []

    def noted(*given: Any, **named: Any) -> dict[str, Any]:
        told.append(totalsegmentator_process.segment_file(*given, **named))
        return told[-1]

    totalsegmentator.segment_file = noted
    worker = totalsegmentator_process.running_worker(options, folder, key["weights"]).companion.process.pid
    structures = tuple(key["labels"].values())
    begun, cpu, cpu_there = time.perf_counter(), time.process_time(), cpu_of(worker)
    write_masks(place / "ours.nii.gz", totalsegmentator_masks(volume, structures, options=options, scan="s", folder=folder))
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu + cpu_of(worker) - cpu_there
    took = told[0]["took"]
    return {"wall": wall, "cpu": cpu, "network wall": took["inference_s"], "network cpu": took["inference_cpu_s"]}


def their_way(python: Path, weights: Path, place: Path) -> Times:
    home = place / "home"
    home.mkdir()
    config = {"totalseg_id": "", "send_usage_stats": False, "prediction_counter": 0, "statistics_disclaimer_shown": True}
    (home / "config.json").write_text(json.dumps(config))
    (place / "peer.py").write_text(PEER)
    own = {"TOTALSEG_HOME_DIR": str(home), "TOTALSEG_WEIGHTS_PATH": str(weights), "INFERENCE": str(place / "inference.json")}
    paths = dict.fromkeys(("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"), str(weights))
    command = [
        python,
        place / "peer.py",
        "-i",
        place / "scan.nii",
        "-o",
        place / "theirs.nii.gz",
        "--fast",
        "--ml",
        "-d",
        "cpu",
    ]
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=os.environ | own | paths)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    network = json.loads((place / "inference.json").read_text())
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall, "cpu": cpu, "network wall": network["wall"], "network cpu": network["cpu"]}


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process and of those it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def rows_of(ours: list[Times], theirs: list[Times]) -> list[dict[str, Any]]:
    rows = []
    for clock, unit in (("cpu", "CPU s"), ("wall", "s")):
        for what, of in (
            ("outside the network's inference, per scan", lambda t, c=clock: t[c] - t[f"network {c}"]),
            ("the network's inference, per scan", lambda t, c=clock: t[f"network {c}"]),
            ("all of it, per scan", lambda t, c=clock: t[c]),
        ):
            own, other = median(map(of, ours)), median(map(of, theirs))
            row = {"what": what, "ours": round(own, 2), "other": round(other, 2), "ratio": round(own / other, 3), "unit": unit}
            rows.append({**row, "goal": 0.333, "met": own <= other / 3} if what.startswith("outside") else row)
    return rows


def other_rows(start: Times, differ: int) -> list[dict[str, Any]]:
    return [
        {"what": "start of a worker, once for all its scans", "ours": round(start["cpu"], 2), "unit": "CPU s"},
        {"what": "start of a worker, once for all its scans", "ours": round(start["wall"], 2), "unit": "s"},
        {"what": "voxels that differ from the command line's", "ours": differ, "unit": "voxels", "met": differ == 0},
    ]


if __name__ == "__main__":
    main()
