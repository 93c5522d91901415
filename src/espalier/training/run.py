"""The stage `train`: one run, of one arm and one seed, from the store to `weights.safetensors` and `run.json`."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from espalier.outputs import hash_file, key_of, locked, read_json, sweep, write_json, write_table
from espalier.stage import Summary, progress
from espalier.training.inputs import Inputs, gather
from espalier.training.options import TrainingOptions
from espalier.training.order import steps_in_epoch

if TYPE_CHECKING:
    from torch import Tensor

    from espalier.training.learner import Learner
    from espalier.training.loop import Progress

RUNS: Final = "runs"
RUN: Final = "run.json"
WEIGHTS: Final = "weights.safetensors"
CURVES: Final = "curves.parquet"
COST: Final = "cost.json"
CURVE_COLUMNS: Final = {
    "epoch": pl.Int64,
    "step": pl.Int64,
    "learning_rate": pl.Float64,
    "label_loss": pl.Float64,
    "mask_loss": pl.Float64,
    "gradient_norm": pl.Float64,
    "validation_loss": pl.Float64,
}


def run_folder(folder: Path, arm: str, seed: int) -> Path:
    """Return where the run of one arm and seed lies in a study's folder."""
    return folder / RUNS / arm / f"seed-{seed}"


def train(options: TrainingOptions, *, folder: Path, arm: str, seed: int, findings: Sequence[str]) -> Summary:
    """Train one classifier; called again it goes on where it stopped, with the same bits as if it had never stopped.

    Parameters
    ----------
    options
        How; the same in every arm but for what the arm is about.
    folder
        The study's folder, with store, labels and splits.
    arm
        Name of the variant.
    seed
        Of weights, order, crops and dropout.
    findings
        What is learned, in the order of the logits.

    Raises
    ------
    MissingError, SettingsError, InputError
        Before training, where something that it reads is not there or does not fit.
    ResourceError
        When another process trains the same run.
    """
    inputs = gather(options, folder=folder, findings=findings, seed=seed)
    run = run_folder(folder, arm, seed)
    if key_of(run / RUN) == inputs.key:
        return _summary(run, arm, seed, inputs, done=0, words="up to date")
    with locked(run):
        sweep(run)
        _clear(run, inputs.key)
        record = _train(run, inputs, options, arm=arm, seed=seed)
        write_json(run / RUN, record, kind="run", key=inputs.key)
    return _summary(run, arm, seed, inputs, done=1, words=f"{options.epochs} epochs, {record['steps']} steps")


def read_run(folder: Path, arm: str, seed: int) -> dict[str, Any]:
    """Return the record of a finished run; raise `MissingError` before its end."""
    return read_json(run_folder(folder, arm, seed) / RUN, kind="run")


def epochs_done(folder: Path, arm: str, seed: int) -> int:
    """Return how many epochs a run has finished, so far or in all; 0 before its first checkpoint."""
    path = run_folder(folder, arm, seed) / "checkpoints" / COST
    return len(read_json(path, kind="cost")["seconds"]) if path.is_file() else 0


def _train(run: Path, inputs: Inputs, options: TrainingOptions, *, arm: str, seed: int) -> dict[str, Any]:
    """Train to the end, write all but the record, and return it."""
    from espalier.training.device import chosen_device, forget_peak_memory, settled
    from espalier.training.learner import build_learner
    from espalier.training.loop import Loop

    with settled(options.threads):
        device = chosen_device()
        forget_peak_memory(device)
        learner = build_learner(inputs, options, seed=seed, device=device)
        steps = steps_in_epoch(len(inputs.train.scans), options.batch_size) * options.epochs
        with progress(f"{arm}, seed {seed}", total=steps) as advance:
            done = Loop(learner, inputs, options, seed, run, advance).go()
    best = done.best if options.keep == "best" else None
    _write_results(run, learner, inputs, done, weights=learner.classifier.state_dict() if best is None else best["weights"])
    _write_cost(run, learner, inputs, options, done)
    return {
        "arm": arm,
        "seed": seed,
        "options": asdict(replace(options, seeds=(seed,))),
        "findings": inputs.findings,
        "structures": inputs.structures,
        "store": asdict(inputs.store.options),
        "store_key": inputs.store.key,
        "scans": {
            "train": len(inputs.train.scans),
            "with_masks": sum(scan is not None for scan in inputs.masks_of),
            "validation": len(inputs.validation.scans),
        },
        "precision": str(learner.dtype).removeprefix("torch."),
        "epoch": options.epochs if best is None else best["epoch"],
        "steps": done.step,
        "weights": hash_file(run / WEIGHTS),
    }


def _clear(run: Path, key: str) -> None:
    """Remove what a run of other settings left, its record first, so that nobody takes it for this one's."""
    marker = run / "checkpoints" / "key.json"
    if key_of(marker) != key:
        (run / RUN).unlink(missing_ok=True)
        for name in ("checkpoints", "validation"):
            shutil.rmtree(run / name, ignore_errors=True)
        for name in (WEIGHTS, CURVES, COST):
            (run / name).unlink(missing_ok=True)
        write_json(marker, {}, kind="checkpoint", key=key)


def _write_results(run: Path, learner: "Learner", inputs: Inputs, done: "Progress", *, weights: Mapping[str, "Tensor"]) -> None:
    from espalier.networks.weights import save_weights

    save_weights(run / WEIGHTS, weights, key=inputs.key)
    columns = CURVE_COLUMNS if learner.branch is not None else {n: t for n, t in CURVE_COLUMNS.items() if n != "mask_loss"}
    rows = [{name: row[name] for name in columns} for row in done.curves]
    write_table(run / CURVES, pl.DataFrame(rows, schema=columns), kind="curves", key=inputs.key)


def _write_cost(run: Path, learner: "Learner", inputs: Inputs, options: TrainingOptions, done: "Progress") -> None:
    from espalier.training.device import device_name

    measured = read_json(run / "checkpoints" / COST, kind="cost")
    cost = {
        "seconds_per_step": median(measured["seconds"]) if measured["seconds"] else None,
        "steps": done.step,
        "peak_memory_bytes": measured["peak_memory_bytes"],
        "device": device_name(learner.device),
        "threads": options.threads,
    }
    write_json(run / COST, cost, kind="cost", key=inputs.key)


def _summary(run: Path, arm: str, seed: int, inputs: Inputs, *, done: int, words: str) -> Summary:
    without = sum(scan is None for scan in inputs.masks_of) if inputs.structures else 0
    told = f"{arm}, seed {seed}: {words}" + (
        f"; {without} training scans have no masks and learn labels only" if without else ""
    )
    return Summary(verb="train", done=done, words=told, wrote=(run / WEIGHTS, run / RUN))
