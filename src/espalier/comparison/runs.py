"""What the runs behind a comparison leave: settings, cost, training curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from espalier.errors import MissingError
from espalier.evaluation.metrics import macro_auroc
from espalier.labels.probabilities import outputs_of, probabilities_of
from espalier.outputs import read_json, read_table

COST_MEASURES: Final = {"seconds_per_step": "seconds_per_step", "bytes_per_step": "peak_memory_bytes"}
"""What a comparison calls a cost, and what a run calls it."""
Curve = tuple[list[float], list[float]]


def run_folder(folder: Path, arm: str, seed: int) -> Path:
    """Return where one run lies."""
    return folder / "runs" / arm / f"seed-{seed}"


def cost_of(folder: Path, arm: str, seeds: Sequence[int]) -> dict[str, float]:
    """Return an arm's measured cost of a training step, averaged over its seeds; empty where none was measured."""
    found = []
    for seed in seeds:
        path = run_folder(folder, arm, seed) / "cost.json"
        if path.is_file():
            found.append(read_json(path, kind="cost"))
    return {
        name: float(np.mean([one[of_run] for one in found]))
        for name, of_run in COST_MEASURES.items()
        if found and all(one.get(of_run) is not None for one in found)
    }


def settings_of(folder: Path, arm: str, seeds: Sequence[int]) -> dict[str, str]:
    """Return an arm's settings as they were recorded, each under its dotted name; empty where the run is not there."""
    path = run_folder(folder, arm, seeds[0]) / "run.json"
    return _dotted(read_json(path, kind="run").get("options", {})) if path.is_file() else {}


def _dotted(table: Mapping[str, Any], above: str = "") -> dict[str, str]:
    out: dict[str, str] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            out |= _dotted(value, f"{above}{name}.")
        else:
            out[above + name] = (
                "not set" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            )
    return out


def loss_curve(folder: Path, arm: str, seed: int, column: str) -> Curve:
    """Return the mean of one loss in each epoch of a run; empty where it was not written."""
    try:
        curves = read_table(run_folder(folder, arm, seed) / "curves.parquet", kind="curves")
    except MissingError:
        return [], []
    if column not in curves.columns or "epoch" not in curves.columns:
        return [], []
    means = curves.group_by("epoch").mean().sort("epoch").drop_nulls(column)
    return [float(e) for e in means["epoch"]], [float(v) for v in means[column]]


def validation_curve(folder: Path, arm: str, seed: int) -> Curve:
    """Return the macro AUROC on the validation scans after each epoch whose logits the training wrote."""
    epochs: list[float] = []
    areas: list[float] = []
    for path in sorted((run_folder(folder, arm, seed) / "validation").glob("epoch-*.parquet")):
        frame = read_table(path, kind="validation")
        findings = tuple(frame["finding"].unique(maintain_order=True))
        logits, targets, weights = (
            frame[name].to_numpy().astype(np.float64).reshape(-1, len(findings)) for name in ("logit", "target", "weight")
        )
        _, probabilities = probabilities_of(logits[:, : outputs_of(findings)], findings)
        area = macro_auroc(probabilities, targets, weights)
        if area is not None:
            epochs.append(float(path.stem.removeprefix("epoch-")))
            areas.append(area)
    return epochs, areas
