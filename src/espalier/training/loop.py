"""The plain loop: epochs, steps, checkpoints. It computes no metric and knows no arm."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
from torch import Tensor

from espalier.errors import InputError
from espalier.outputs import read_json, write_json
from espalier.training.checkpoint import load_checkpoint, save_checkpoint
from espalier.training.crops import ahead, training_batch
from espalier.training.device import peak_memory_bytes
from espalier.training.inputs import Inputs
from espalier.training.learner import Learner, learn
from espalier.training.options import TrainingOptions
from espalier.training.order import batches_of, step_seed, steps_in_epoch
from espalier.training.schedule import learning_rate
from espalier.training.validation import validate

CHECKPOINT_SECONDS: Final = 600.0
"""A checkpoint is written at the end of each epoch, and within an epoch when the last one is this old."""

Row = dict[str, Any]


@dataclass(slots=True)
class Progress:
    """How far a run is: steps done, losses of the running epoch, one row per finished epoch, the best weights so far."""

    step: int = 0
    losses: list[list[float]] = field(default_factory=list)
    curves: list[Row] = field(default_factory=list)
    best: dict[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """Return plain values and tensors."""
        return {"step": self.step, "losses": self.losses, "curves": self.curves, "best": self.best}


@dataclass(slots=True)
class Loop:
    """One run at work.

    Attributes
    ----------
    learner, inputs, options, seed
        What learns, from what, how.
    run
        The run's folder.
    advance
        Told the number of steps just done.
    """

    learner: Learner
    inputs: Inputs
    options: TrainingOptions
    seed: int
    run: Path
    advance: Callable[[int], None]
    progress: Progress = field(default_factory=Progress)
    seconds: list[float] = field(default_factory=list)
    saved_at: float = 0.0

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return steps_in_epoch(len(self.inputs.train.scans), self.options.batch_size)

    @property
    def steps(self) -> int:
        """Batches in the whole run."""
        return self.steps_per_epoch * self.options.epochs

    def go(self) -> Progress:
        """Train to the last epoch, from the newest checkpoint where there is one."""
        self._take_up()
        self.saved_at = time.monotonic()
        for epoch in range(len(self.progress.curves) + 1, self.options.epochs + 1):
            self._learn_epoch(epoch)
            self._end_epoch(epoch)
        return self.progress

    def _take_up(self) -> None:
        state = load_checkpoint(self.run / "checkpoints", key=self.inputs.key)
        if state is None:
            return
        self.learner.restore(state["learner"])
        self.progress = Progress(**state["progress"])
        self.seconds = read_seconds(self.run)
        self.advance(self.progress.step)

    def _learn_epoch(self, epoch: int) -> None:
        batches = batches_of(len(self.inputs.train.scans), self.options.batch_size, seed=self.seed, epoch=epoch)
        done = self.progress.step - (epoch - 1) * self.steps_per_epoch
        fresh: list[Tensor] = []
        seconds: list[float] = []
        begun = time.monotonic()
        crops = ahead(
            batches[done:],
            lambda numbers: training_batch(self.inputs, self.options, seed=self.seed, epoch=epoch, numbers=numbers),
        )
        for batch in crops:
            rate = self._rate(self.progress.step)
            fresh.append(learn(self.learner, batch, self.options, rate=rate, draws=step_seed(self.seed, self.progress.step)))
            self.progress.step += 1
            self.advance(1)
            now = time.monotonic()
            seconds.append(now - begun)
            if now - self.saved_at >= CHECKPOINT_SECONDS and len(seconds) < len(batches) - done:
                self._note(fresh)
                self._save()
            begun = time.monotonic()
        self._note(fresh)
        if seconds:
            self.seconds.append(median(seconds))

    def _note(self, fresh: list[Tensor]) -> None:
        if fresh:
            self.progress.losses += torch.stack(fresh).tolist()
            fresh.clear()
        if not all(isfinite(number) for row in self.progress.losses for number in row[:2]):
            raise InputError(
                self.run,
                found=f"the loss is no longer a number before step {self.progress.step}",
                do="Lower [training] learning_rate, or set clip_norm above 0, and run the same command again.",
            )

    def _end_epoch(self, epoch: int) -> None:
        labels, masks, norm = (sum(column) / len(column) for column in zip(*self.progress.losses, strict=True))
        row: Row = {
            "epoch": epoch,
            "step": self.progress.step,
            "learning_rate": self._rate(self.progress.step - 1),
            "label_loss": labels,
            "mask_loss": masks if self.learner.branch is not None else None,
            "gradient_norm": norm,
            "validation_loss": self._validate(epoch),
        }
        self.progress.curves.append(row)
        self.progress.losses = []
        self._save()

    def _validate(self, epoch: int) -> float | None:
        due = epoch % self.options.validate_every == 0 or epoch == self.options.epochs
        if not due or not self.inputs.validation.scans:
            return None
        path = self.run / "validation" / f"epoch-{epoch:03d}.parquet"
        loss = validate(self.learner, self.inputs, self.options, path)
        best = self.progress.best
        if self.options.keep == "best" and (best is None or loss < best["loss"]):
            weights = {name: tensor.detach().cpu().clone() for name, tensor in self.learner.classifier.state_dict().items()}
            self.progress.best = {"loss": loss, "epoch": epoch, "weights": weights}
        return loss

    def _rate(self, step: int) -> float:
        return learning_rate(step, steps=self.steps, peak=self.options.learning_rate, warmup=self.options.warmup)

    def _save(self) -> None:
        state = {"learner": self.learner.state(), "progress": self.progress.state()}
        write_seconds(self.run, self.seconds, peak_memory_bytes(self.learner.device))
        save_checkpoint(self.run / "checkpoints", state, step=self.progress.step, key=self.inputs.key)
        self.saved_at = time.monotonic()


def read_seconds(run: Path) -> list[float]:
    """Return the median seconds per step of each epoch so far."""
    path = run / "checkpoints" / "cost.json"
    return list(read_json(path, kind="cost")["seconds"]) if path.is_file() else []


def write_seconds(run: Path, seconds: list[float], peak: int) -> None:
    """Write what the run cost so far; measured, so it stands apart from all that must repeat."""
    path = run / "checkpoints" / "cost.json"
    before = int(read_json(path, kind="cost")["peak_memory_bytes"]) if path.is_file() else 0
    write_json(path, {"seconds": seconds, "peak_memory_bytes": max(before, peak)}, kind="cost")
