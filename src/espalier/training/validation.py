"""Validation logits, written for `evaluation` to draw its curves from; no metric is computed here."""

from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32

from espalier.outputs import write_table
from espalier.training.crops import ahead, centre_batch
from espalier.training.inputs import Inputs
from espalier.training.learner import Learner, loss_of_labels
from espalier.training.options import TrainingOptions


def validate(learner: Learner, inputs: Inputs, options: TrainingOptions, path: Path) -> float:
    """Write the logits of the validation scans' centre crops to `path` (NaN where derived); return the label loss."""
    part = inputs.validation
    logits = _logits(learner, inputs, options)
    scans, findings = np.arange(len(part.scans)), np.arange(len(inputs.findings))
    row, column = (axis.ravel() for axis in np.meshgrid(scans, findings, indexing="ij"))
    frame = pl.DataFrame(
        {
            "scan": [part.scans[i] for i in row],
            "patient": [part.patients[i] for i in row],
            "finding": [inputs.findings[i] for i in column],
            "target": part.targets.ravel(),
            "weight": part.weights.ravel(),
            "logit": np.pad(logits, ((0, 0), (0, len(findings) - logits.shape[1])), constant_values=np.nan).ravel(),
        }
    )
    write_table(path, frame, kind="validation", key=inputs.key, private=True)
    numbers = (torch.from_numpy(n) for n in (logits, part.targets, part.weights))
    return float(loss_of_labels(learner, *numbers))


def _logits(learner: Learner, inputs: Inputs, options: TrainingOptions) -> Float32[np.ndarray, "n f"]:
    scans = inputs.validation.scans
    batches = [scans[i : i + options.batch_size] for i in range(0, len(scans), options.batch_size)]
    answers = []
    learner.classifier.eval()
    with torch.inference_mode():
        for voxels in ahead(batches, lambda some: centre_batch(inputs, options, some)):
            with torch.autocast(learner.device.type, dtype=learner.dtype, enabled=learner.dtype != torch.float32):
                features = learner.classifier.features(voxels.to(learner.device))
                logits, _ = learner.classifier.classify(features)
            answers.append(logits.float().cpu().numpy())
    return np.concatenate(answers)
