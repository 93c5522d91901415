"""A study of three arms and two seeds whose predictions, runs and store are written by hand, without any training."""

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from espalier.evaluation.measure import run_metrics
from espalier.evaluation.options import EvaluationOptions
from espalier.evaluation.predictions import evaluation_folder, predictions_path
from espalier.outputs import hash_file, write_json, write_table
from espalier.store.format import write_array
from espalier.store.options import StoreOptions

FINDINGS = ("lung_nodule", "emphysema", "pleural_effusion", "cardiomegaly", "hiatal_hernia")
ARMS = ("plain", "placebo", "masks")
SEEDS = (0, 1)
LIFT = {"plain": 0.6, "placebo": 0.65, "masks": 1.5}
STORE = StoreOptions(shape=(20, 24, 24))


def targets_of(number: int, seed: int) -> np.ndarray:
    """Four findings from common to rare, and one that nobody has."""
    return (np.random.default_rng(seed).random((number, 5)) < [0.4, 0.3, 0.2, 0.1, 0.0]).astype(np.float32)


def write_predictions(
    folder: Path, arm: str, seed: int, *, number: int = 120, split: str = "test", scans: list[str] | None = None
) -> None:
    targets = targets_of(number, seed=7 if split == "test" else 8)
    noise = np.random.default_rng(11).normal(size=targets.shape)
    own = np.random.default_rng([ARMS.index(arm), seed, len(split)]).normal(size=targets.shape)
    logits = (LIFT[arm] * targets + 0.8 * noise + 0.6 * own).astype(np.float32)
    names = scans or [f"{split}-{n:03d}" for n in range(number)]
    f = len(FINDINGS)
    frame = pl.DataFrame(
        {
            "scan": [name for name in names for _ in range(f)],
            "patient": [f"patient-{split}-{n // 2}" for n in range(number) for _ in range(f)],
            "finding": list(FINDINGS) * number,
            "target": targets.ravel(),
            "weight": np.ones(targets.size, dtype=np.float32),
            "logit": logits.ravel().astype(np.float64),
            "probability": 1 / (1 + np.exp(-logits.ravel().astype(np.float64))),
        }
    )
    write_table(
        predictions_path(folder, arm, seed, split), frame, kind="predictions", key=f"{arm}{seed}", more={"weights": "0"}
    )


def write_run(folder: Path, arm: str, seed: int) -> None:
    home = folder / "runs" / arm / f"seed-{seed}"
    supervision = {"weight": 0.0 if arm == "plain" else 1.0, "masks_of": "other scans" if arm == "placebo" else "own scan"}
    options = {
        "network": "r3d_18",
        "network_size": {"width": 8, "depths": [1, 1]},
        "crop": [16, 16, 16],
        "epochs": 3,
        "seeds": list(SEEDS),
        "pretrained": None,
        "supervision": supervision,
    }
    write_json(home / "run.json", {"options": options, "findings": FINDINGS}, kind="run")
    masked = arm != "plain"
    cost = {"seconds_per_step": 0.5 + 0.125 * masked + 0.002 * seed, "peak_memory_bytes": (3 + masked) * 2**29}
    write_json(home / "cost.json", cost, kind="cost")
    epochs = [1, 2, 3]
    curves = pl.DataFrame(
        {
            "epoch": epochs,
            "step": [10 * e for e in epochs],
            "label_loss": [0.7 / e + 0.02 * seed for e in epochs],
            "mask_loss": [1.9 / e if masked else None for e in epochs],
        },
        schema_overrides={"mask_loss": pl.Float64},
    )
    write_table(home / "curves.parquet", curves, kind="curves")
    whole = pl.read_parquet(predictions_path(folder, arm, seed, "validation"))
    for epoch in epochs:
        pull = pl.col("target") * 0.5 * (epoch - 3)
        frame = whole.select("scan", "patient", "finding", "target", "weight", (pl.col("logit") + pull).alias("logit"))
        write_table(home / "validation" / f"epoch-{epoch:03d}.parquet", frame, kind="validation")


def write_store(folder: Path) -> None:
    z, y, x = np.indices(STORE.shape)
    entries = {}
    for n in range(6):
        body = (y - 12) ** 2 + (x - 12) ** 2 < 100
        lungs = body & ((y - 12) ** 2 + (np.abs(x - 12) - 5) ** 2 < 14) & (np.abs(z - 10) < 7)
        hu = np.where(lungs, -850, np.where(body, 40, -1000)).astype(np.int16)
        masks = np.where(lungs, np.where(x < 12, 1, 2), 0).astype(np.uint8)
        scan = f"test-{n:03d}"
        for name, voxels in ((f"{scan}.b2nd", hu), (f"{scan}.mask.b2nd", masks)):
            write_array(folder / "store" / name, voxels, np.diag([3.0, 1.5, 1.5, 1.0]))
        hashes = {p.name: hash_file(p) for p in sorted((folder / "store").glob(f"{scan}*"))}
        entries[scan] = {"mask": n > 0, "sha256": hashes}
    content = {"options": asdict(STORE), "structures": ["lung_right", "lung_left"], "scans": entries}
    write_json(folder / "store.json", content, kind="store", key="store")


def write_evaluations(folder: Path) -> None:
    for arm in ARMS:
        for seed in SEEDS:
            write_predictions(folder, arm, seed)
            write_predictions(folder, arm, seed, split="validation", number=80)
            metrics = run_metrics(EvaluationOptions(resamples=50), folder, arm, seed)
            write_json(evaluation_folder(folder, arm, seed) / "metrics.json", metrics, kind="metrics", key="m")


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    write_evaluations(folder)
    for arm in ARMS:
        for seed in SEEDS:
            write_run(folder, arm, seed)
    write_store(folder)
    return folder


@pytest.fixture
def study(evaluated: Path, tmp_path: Path) -> Path:
    """A copy of the evaluated study, to be compared."""
    return Path(shutil.copytree(evaluated, tmp_path / "study"))
