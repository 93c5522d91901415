"""A small study whose scans show what their labels say, with one trained run."""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from espalier.networks.options import NetworkSize
from espalier.outputs import hash_file, write_json, write_table
from espalier.store.format import write_array
from espalier.store.options import StoreOptions
from espalier.training.options import SupervisionOptions, TrainingOptions
from espalier.training.run import train

FINDINGS = ("lung_nodule", "pleural_effusion", "cardiomegaly")
STORE = StoreOptions(spacing_mm=(3.0, 3.0, 3.0), shape=(12, 16, 16))
SPLITS = ("train",) * 12 + ("validation",) * 8 + ("test",) * 12


def write_store(folder: Path, scans: list[str], bright: np.ndarray) -> None:
    """Voxels are noise; a bright block stands for the first finding, a bright floor for the second."""
    entries = {}
    generator = np.random.default_rng(0)
    for scan, (nodule, effusion) in zip(scans, bright, strict=True):
        hu = generator.normal(-600, 100, STORE.shape)
        if nodule:
            hu[4:8, 4:9, 4:9] += 500
        if effusion:
            hu[:, 11:, :] += 500
        path = folder / "store" / f"{scan}.b2nd"
        write_array(path, hu.astype(np.int16), np.diag([3.0, 3.0, 3.0, 1.0]))
        entries[scan] = {"mask": False, "sha256": {path.name: hash_file(path)}}
    content = {"options": asdict(STORE), "structures": [], "scans": entries}
    write_json(folder / "store.json", content, kind="store", key="one")


def write_study(folder: Path) -> None:
    generator = np.random.default_rng(1)
    scans = [f"{n:016x}" for n in range(len(SPLITS))]
    patients = [f"patient-{n // 2}" for n in range(len(SPLITS))]
    bright = generator.random((len(SPLITS), 2)) < 0.5
    bright[:2] = bright[12:14] = bright[20:22] = [[True, False], [False, True]]
    cardiomegaly = np.arange(len(SPLITS)) < 2  # so that neither validation nor test has any
    targets = np.column_stack([bright, cardiomegaly]).astype(float)
    write_store(folder, scans, bright)
    labels = pl.DataFrame(
        [
            {"report": scan, "scan": scan, "finding": finding, "state": "present", "target": value, "weight": 1.0}
            for scan, row in zip(scans, targets, strict=True)
            for finding, value in zip(FINDINGS, row.tolist(), strict=True)
        ]
    )
    write_table(folder / "labels.parquet", labels, kind="labels")
    splits = pl.DataFrame({"scan": scans, "patient": patients, "split": SPLITS, "why": "hash"})
    write_table(folder / "splits.parquet", splits, kind="splits")


TRAINING = TrainingOptions(
    network_size=NetworkSize(width=4, depths=(1, 1)),
    crop=(8, 12, 12),
    epochs=6,
    batch_size=4,
    learning_rate=0.02,
    supervision=SupervisionOptions(weight=0),
)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder)
    train(TRAINING, folder=folder, arm="plain", seed=0, findings=FINDINGS)
    return folder


@pytest.fixture
def study(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained study, to be evaluated."""
    return Path(shutil.copytree(trained, tmp_path / "study"))
