"""Every metric of a run, from its predictions: thresholds from validation, intervals over patients."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from espalier.evaluation.intervals import draw_resamples, estimate, macro_of, resampled_aurocs, sides
from espalier.evaluation.metrics import finding_metrics, macro
from espalier.evaluation.options import EvaluationOptions
from espalier.evaluation.predictions import SPLITS, Predictions, predictions_path, read_predictions
from espalier.evaluation.thresholds import Threshold, choose_threshold


def run_metrics(options: EvaluationOptions, folder: Path, arm: str, seed: int) -> dict[str, Any]:
    """Return what `metrics.json` holds of one run whose predictions are written."""
    validation, test = (read_predictions(predictions_path(folder, arm, seed, split)) for split in SPLITS)
    thresholds = _thresholds(options, validation, test.findings)
    return {
        "arm": arm,
        "seed": seed,
        "thresholds": {finding: asdict(threshold) for finding, threshold in thresholds.items()},
        "validation": measure(validation, thresholds, resamples=options.resamples),
        "test": measure(test, thresholds, resamples=options.resamples),
    }


def _thresholds(options: EvaluationOptions, validation: Predictions, findings: Sequence[str]) -> dict[str, Threshold]:
    out = {}
    for finding in findings:
        if finding in validation.findings:
            present, probabilities = validation.column(validation.findings.index(finding))
        else:
            present, probabilities = np.zeros(0, dtype=bool), np.zeros(0)
        out[finding] = choose_threshold(present, probabilities, rule=options.threshold, at=options.at)
    return out


def measure(predictions: Predictions, thresholds: Mapping[str, Threshold], *, resamples: int) -> dict[str, Any]:
    """Return every metric of one split as plain values, AUROC with its interval over patients.

    Findings without positives or negatives stand under `left_out` with the reason, and in no mean.
    """
    if not predictions.scans:
        return {"scans": 0, "patients": 0, "macro": {}, "findings": {}, "left_out": {}}
    rows = []
    for f, finding in enumerate(predictions.findings):
        present, probabilities = predictions.column(f)
        rows.append(finding_metrics(finding, present, probabilities, threshold=thresholds[finding].value))
    counts = draw_resamples(predictions.patients, predictions.targets, predictions.weights, resamples=resamples, seed=0)
    areas = resampled_aurocs(predictions.probabilities[None, None], predictions.targets, predictions.weights, counts)[0]
    both = sides(predictions.targets, predictions.weights)
    intervals = {
        one.finding: estimate(areas[f], positives=both[f][0], negatives=both[f][1]) for f, one in enumerate(rows) if not one.why
    }
    whole = [pair for pair, one in zip(both, rows, strict=True) if not one.why]
    mean = estimate(macro_of(areas), positives=sum(p for p, _ in whole), negatives=sum(n for _, n in whole))
    return {
        "scans": len(predictions.scans),
        "patients": len(set(predictions.patients)),
        "macro": macro(rows) | ({"auroc_interval": [mean.low, mean.high]} if mean else {}),
        "findings": {
            one.finding: {k: v for k, v in asdict(one).items() if k not in {"finding", "why"}}
            | {"auroc_interval": [own.low, own.high], "trusted": own.trusted}
            for one in rows
            if (own := intervals.get(one.finding))
        },
        "left_out": {one.finding: one.why for one in rows if one.why},
    }


def metrics_words(arm: str, seed: int, metrics: Mapping[str, Any]) -> str:
    """Return one run's result in a sentence."""
    test = metrics["test"]
    left_out = f", {len(test['left_out'])} findings left out" if test["left_out"] else ""
    area = f"macro AUROC {test['macro']['auroc']:.3f}" if test["macro"] else "no finding with both positives and negatives"
    return f"{arm}, seed {seed}: {area} on {test['scans']} test scans of {test['patients']} patients{left_out}"
