"""A study of random little scans, written in the real formats."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from espalier.geometry import Shape
from espalier.labels.label import LABELS
from espalier.networks.options import NetworkSize
from espalier.outputs import write_json, write_table
from espalier.store.format import write_array
from espalier.store.options import StoreOptions
from espalier.training.options import SupervisionOptions, TrainingOptions

FINDINGS = ("bright", "dark")
STRUCTURES = ("left", "right")
TINY = TrainingOptions(
    network_size=NetworkSize(width=4, depths=(1, 1)),
    crop=(8, 10, 12),
    epochs=2,
    batch_size=4,
    learning_rate=1e-3,
    supervision=SupervisionOptions(weight=1.0),
)


def write_study(
    folder: Path, *, train: int = 9, validation: int = 3, shape: Shape = (10, 12, 14), without_masks: int = 1
) -> Path:
    """Write a store, labels and splits; the first `without_masks` training scans have no masks."""
    random = np.random.default_rng(7)
    scans = [f"scan{number:03d}" for number in range(train + validation)]
    present = np.stack([np.arange(len(scans)) % 2, np.arange(len(scans)) % 3 == 0], axis=1).astype(bool)
    masked = {}
    for number, scan in enumerate(scans):
        voxels = random.normal(-400, 100, shape)
        voxels[:, 3:9, 3:6] += 400 * present[number, 0]
        voxels[:, 3:9, 8:11] -= 400 * present[number, 1]
        write_array(folder / "store" / f"{scan}.b2nd", voxels.astype(np.int16), np.eye(4))
        masked[scan] = {"mask": number >= without_masks}
        masks = np.zeros(shape, dtype=np.uint8)
        masks[2:8, 2:10, 1:6], masks[2:8, 2:10, 8 + number % 3 : 13] = 1, 2
        if masked[scan]["mask"]:
            write_array(folder / "store" / f"{scan}.mask.b2nd", masks, np.eye(4))
    write_json(
        folder / "store.json",
        {"options": asdict(StoreOptions(shape=shape)), "structures": STRUCTURES, "scans": masked},
        kind="store",
    )
    rows = [
        {"report": scan, "scan": scan, "finding": finding, "state": "present", "target": float(present[i, f]), "weight": 1.0}
        for i, scan in enumerate(scans)
        for f, finding in enumerate(FINDINGS)
    ]
    write_table(folder / LABELS, pl.DataFrame(rows), kind="labels")
    splits = ["train"] * train + ["validation"] * validation
    frame = pl.DataFrame({"scan": scans, "patient": [f"of-{s}" for s in scans], "split": splits, "why": ["hash"] * len(scans)})
    write_table(folder / "splits.parquet", frame, kind="splits")
    return folder


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study that tests may add runs to, but not change."""
    return write_study(tmp_path_factory.mktemp("study"))
