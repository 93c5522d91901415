"""The stage `evaluate`: predictions of one run on validation and test scans, thresholds from the former, every metric."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from jaxtyping import Float32

from espalier.cohort.splits import read_splits
from espalier.errors import InputError
from espalier.evaluation.measure import metrics_words, run_metrics
from espalier.evaluation.options import EvaluationOptions
from espalier.evaluation.predictions import (
    SPLITS,
    Predictions,
    evaluation_folder,
    predictions_frame,
    predictions_path,
    read_metrics,
)
from espalier.labels.label import read_labels
from espalier.labels.probabilities import outputs_of, probabilities_of
from espalier.labels.targets import target_arrays
from espalier.outputs import hash_of, key_of, read_table, write_json, write_table
from espalier.settings import parse
from espalier.stage import Summary, progress
from espalier.store.read import Store, open_store
from espalier.training.options import TrainingOptions

BATCHES_A_PART: Final = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    folder: Path
    arm: str
    seed: int
    record: Mapping[str, Any]
    options: TrainingOptions
    store: Store

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(self.record["findings"])

    @property
    def weights_hash(self) -> str:
        return str(self.record["weights"])

    @property
    def weights(self) -> Path:
        return self.folder / "runs" / self.arm / f"seed-{self.seed}" / "weights.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Split:
    name: str
    scans: tuple[str, ...]
    patients: tuple[str, ...]
    targets: Float32[np.ndarray, "n f"]
    weights: Float32[np.ndarray, "n f"]


def evaluate(options: EvaluationOptions, *, folder: Path, arm: str, seed: int) -> Summary:
    """Predict every validation and test scan of a run, choose thresholds on validation, and measure.

    Writes `predictions/validation.parquet`, `predictions/test.parquet` and `metrics.json` below
    `evaluation/<arm>/seed-<n>/`; what is whole and up to date is left as it is.

    Parameters
    ----------
    options
        Batch size, threads, rule for the thresholds.
    folder
        The study's folder, with the run, the store, the labels and the splits.
    arm, seed
        Which run.

    Raises
    ------
    MissingError
        When an earlier stage's output is not there.
    AlteredError
        When the weights are not those that the run recorded.
    InputError
        When no test scan is in the store, or the store has other settings than the run was trained on.
    """
    from espalier.training.run import read_run

    record = read_run(folder, arm, seed)
    training = parse(TrainingOptions, record["options"], source=f"run {arm}/seed-{seed}")
    run = _Run(folder=folder, arm=arm, seed=seed, record=record, options=training, store=open_store(folder))
    _check_store(run)
    home = evaluation_folder(folder, arm, seed)
    fresh = False
    keys = {}
    for split in _splits(run):
        keys[split.name] = _split_key(options, run, split)
        path = predictions_path(folder, arm, seed, split.name)
        if key_of(path) != keys[split.name]:
            fresh = True
            _write_predictions(path, options, run, split, key=keys[split.name])
    shutil.rmtree(home / "predictions" / "parts", ignore_errors=True)
    key = hash_of(options, keys)
    if key_of(home / "metrics.json") != key:
        fresh = True
        write_json(home / "metrics.json", run_metrics(options, folder, arm, seed), kind="metrics", key=key)
    return Summary(
        verb="evaluate", done=int(fresh), words=metrics_words(arm, seed, read_metrics(folder, arm, seed)), wrote=(home,)
    )


def _check_store(run: _Run) -> None:
    """Refuse a store of other settings than the run was trained on; more scans of the same settings are welcome."""
    trained_on, present = run.record["store"], asdict(run.store.options)
    if hash_of(trained_on) != hash_of(present):
        differing = [name for name in present if hash_of(trained_on.get(name)) != hash_of(present[name])]
        raise InputError(
            run.folder / "store.json",
            found=f"{', '.join(differing) or 'its settings'} changed since {run.arm}/seed-{run.seed} was trained",
            expected=f"{', '.join(f'{name} = {trained_on.get(name)}' for name in differing)}",
            do="Train the run again, or prepare the store as it was.",
        )


def _splits(run: _Run) -> Iterator[_Split]:
    table, labels = read_splits(run.folder), read_labels(run.folder)
    stored = table.filter(pl.col("scan").is_in(list(run.store.scans)))
    for name in SPLITS:
        own = stored.filter(pl.col("split") == name)
        if name == "test" and not own.height:
            raise InputError(
                run.folder / "splits.parquet",
                found="no test scan that is in the store",
                expected="at least one",
                do="Give the splits a test share, or prepare the scans that were set aside.",
            )
        scans = tuple(own["scan"])
        targets, weights = target_arrays(labels, scans, run.findings)
        yield _Split(name=name, scans=scans, patients=tuple(own["patient"]), targets=targets, weights=weights)


def _split_key(options: EvaluationOptions, run: _Run, split: _Split) -> str:
    return hash_of(
        options.batch_size,
        options.threads,
        run.weights_hash,
        run.record["options"],
        run.findings,
        run.store.key,
        asdict(split),
    )


def _write_predictions(path: Path, options: EvaluationOptions, run: _Run, split: _Split, *, key: str) -> None:
    parts = list(_logits(path.parent / "parts", options, run, split, key=key))
    raw = np.concatenate(parts) if parts else np.empty((0, outputs_of(run.findings)))
    logits, probabilities = probabilities_of(raw, run.findings)
    predictions = Predictions(
        scans=split.scans,
        patients=split.patients,
        findings=run.findings,
        targets=split.targets,
        weights=split.weights,
        probabilities=probabilities,
    )
    more = {"weights": run.weights_hash, "arm": run.arm, "seed": str(run.seed), "split": split.name}
    write_table(path, predictions_frame(predictions, logits), kind="predictions", key=key, more=more, private=True)


def _logits(
    home: Path, options: EvaluationOptions, run: _Run, split: _Split, *, key: str
) -> Iterator[Float32[np.ndarray, "n c"]]:
    """Yield the logits of one part of the split after the other; parts that a killed evaluation left are used."""
    at_once = options.batch_size * BATCHES_A_PART
    classifier = None
    with progress(f"{run.arm}/seed-{run.seed} {split.name}", total=len(split.scans)) as advance:
        for number, start in enumerate(range(0, len(split.scans), at_once)):
            scans = split.scans[start : start + at_once]
            part = home / f"{split.name}-{number:05d}.parquet"
            if key_of(part) != key:
                classifier = classifier or _classifier(run)
                write_table(part, _frame(_predict(classifier, options, run, scans)), kind="predictions", key=key, private=True)
            advance(len(scans))
            yield read_table(part, kind="predictions").to_numpy()


def _frame(logits: Float32[np.ndarray, "n c"]) -> pl.DataFrame:
    return pl.DataFrame({f"column_{c}": logits[:, c] for c in range(logits.shape[1])})


def _classifier(run: _Run) -> Any:
    from espalier.evaluation.predict import load_classifier

    outputs = outputs_of(run.findings)
    return load_classifier(run.weights, options=run.options, findings=outputs, expected_hash=run.weights_hash)


def _predict(classifier: Any, options: EvaluationOptions, run: _Run, scans: Sequence[str]) -> Float32[np.ndarray, "n c"]:
    from espalier.evaluation.predict import predict_logits

    batches = predict_logits(
        classifier, run.store, scans, crop=run.options.crop, batch_size=options.batch_size, threads=options.threads
    )
    return np.concatenate(list(batches))
