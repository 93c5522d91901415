"""One run's predictions and metrics as they lie on disk, for whoever compares or draws them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from espalier.errors import InputError
from espalier.evaluation.metrics import UNSURE, counted
from espalier.outputs import read_json, read_table

SPLITS: Final = ("validation", "test")
COLUMNS: Final = ("scan", "patient", "finding", "target", "weight", "logit", "probability")


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """What one run says of one split: a row a scan, a column a finding."""

    scans: tuple[str, ...]
    patients: tuple[str, ...]
    findings: tuple[str, ...]
    targets: Float[np.ndarray, "n f"]
    weights: Float[np.ndarray, "n f"]
    probabilities: Float[np.ndarray, "n f"]

    def column(self, f: int) -> tuple[Bool[np.ndarray, " m"], Float[np.ndarray, " m"]]:
        """Return presence and probability of one finding for the scans that count for it."""
        rows = counted(self.targets[:, f], self.weights[:, f])
        return self.targets[rows, f] > UNSURE, self.probabilities[rows, f]


def evaluation_folder(folder: Path, arm: str, seed: int) -> Path:
    """Return where one run's evaluation lies."""
    return folder / "evaluation" / arm / f"seed-{seed}"


def predictions_path(folder: Path, arm: str, seed: int, split: str) -> Path:
    """Return where one run's predictions of one split lie."""
    return evaluation_folder(folder, arm, seed) / "predictions" / f"{split}.parquet"


def read_metrics(folder: Path, arm: str, seed: int) -> dict[str, Any]:
    """Return one run's `metrics.json`; raise `MissingError` before `evaluate`."""
    return read_json(evaluation_folder(folder, arm, seed) / "metrics.json", kind="metrics")


def read_predictions(path: Path) -> Predictions:
    """Return one file of predictions as arrays; raise `MissingError` before `evaluate`."""
    frame = read_table(path, kind="predictions")
    findings = tuple(frame["finding"].unique(maintain_order=True))
    scans = frame.unique("scan", maintain_order=True)
    if frame.height != len(findings) * scans.height:
        raise InputError(
            path,
            found=f"{frame.height} rows for {scans.height} scans and {len(findings)} findings",
            expected="one row for each scan and finding",
            do="Run `espalier evaluate` again.",
        )
    shape = (scans.height, len(findings))
    targets, weights, probabilities = (
        frame[name].to_numpy().astype(np.float64).reshape(shape) for name in ("target", "weight", "probability")
    )
    return Predictions(
        scans=tuple(scans["scan"]),
        patients=tuple(scans["patient"]),
        findings=findings,
        targets=targets,
        weights=weights,
        probabilities=probabilities,
    )


def predictions_frame(predictions: Predictions, logits: Float[np.ndarray, "n f"]) -> pl.DataFrame:
    """Return predictions as the table that is written: a row for each scan and finding, no logit where it is derived."""
    n, f = predictions.probabilities.shape
    return pl.DataFrame(
        {
            "scan": [scan for scan in predictions.scans for _ in range(f)],
            "patient": [patient for patient in predictions.patients for _ in range(f)],
            "finding": list(predictions.findings) * n,
            "target": predictions.targets.ravel(),
            "weight": predictions.weights.ravel(),
            "logit": logits.ravel(),
            "probability": predictions.probabilities.ravel(),
        },
        schema=dict(zip(COLUMNS, (*[pl.String] * 3, pl.Float32, pl.Float32, pl.Float64, pl.Float64), strict=True)),
    ).with_columns(pl.col("logit").fill_nan(None))
