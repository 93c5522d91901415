"""How well scores tell presence from absence, recomputed from predictions and never from logs.

A finding without positives or without negatives has no AUROC; it is reported as such and left out of every macro mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Num

UNSURE: Final = 0.5
"""Between absent (0) and present (1)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingMetrics:
    """One finding on one split; a number is None where `why` says that it does not exist."""

    finding: str
    positives: int
    negatives: int
    threshold: float
    auroc: float | None = None
    average_precision: float | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    precision: float | None = None
    f1: float | None = None
    f1_weighted: float | None = None
    why: str = ""


MEASURES: Final = ("auroc", "average_precision", "sensitivity", "specificity", "precision", "f1", "f1_weighted")


def counted(targets: Float[np.ndarray, "..."], weights: Float[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
    """Tell which targets count: those with a weight that say present (1) or absent (0), not something between.

    Weights above 0 all count alike.
    """
    return (weights > 0) & ((targets == 0) | (targets == 1))


def what_is_missing(present: Bool[np.ndarray, " n"]) -> str:
    """Say which side is missing among the scans that count; empty where both are there."""
    if not len(present):
        return "no scan with a label"
    return "no positives" if not present.any() else "no negatives" if present.all() else ""


def auroc(present: Bool[np.ndarray, " n"], scores: Num[np.ndarray, " n"]) -> float | None:
    """Return the area under the ROC curve, ties counted half (Mann and Whitney 1947), or None where a side is missing."""
    if what_is_missing(present):
        return None
    _, place, ties = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(ties)
    ranks = (last - (ties - 1) / 2)[place]
    positives = int(present.sum())
    wins = float(ranks[present].sum()) - positives * (positives + 1) / 2
    return wins / (positives * (len(present) - positives))


def average_precision(present: Bool[np.ndarray, " n"], scores: Num[np.ndarray, " n"]) -> float | None:
    """Return the mean of the precision over the steps of recall, tied scores as one step, or None where a side is missing."""
    if what_is_missing(present):
        return None
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = np.cumsum(present[order])[ends]
    precision = found / (ends + 1)
    return float(np.sum(np.diff(found, prepend=0) * precision) / present.sum())


def at_threshold(present: Bool[np.ndarray, " n"], scores: Num[np.ndarray, " n"], threshold: float) -> dict[str, float]:
    """Return sensitivity, specificity, precision, F1 and support-weighted F1 of `scores >= threshold`.

    Precision is 0 where nothing is called, as in scikit-learn, so that every finding stays in the macro mean. The
    support-weighted F1 is the mean of the F1 of presence and of absence, weighted by their numbers: what Li et al. 2025
    report as F1. Both sides must be there.
    """
    called = scores >= threshold
    hits, false_calls = int((called & present).sum()), int((called & ~present).sum())
    misses, rejections = int((~called & present).sum()), int((~called & ~present).sum())
    f1 = 2 * hits / (2 * hits + false_calls + misses)
    f1_of_absence = 2 * rejections / (2 * rejections + false_calls + misses)
    share = (hits + misses) / len(present)
    return {
        "sensitivity": hits / (hits + misses),
        "specificity": rejections / (rejections + false_calls),
        "precision": hits / (hits + false_calls) if hits + false_calls else 0.0,
        "f1": f1,
        "f1_weighted": share * f1 + (1 - share) * f1_of_absence,
    }


def finding_metrics(
    finding: str, present: Bool[np.ndarray, " n"], scores: Num[np.ndarray, " n"], *, threshold: float
) -> FindingMetrics:
    """Return every measure of one finding over the scans that count for it."""
    positives = int(present.sum())
    negatives = len(present) - positives
    why = what_is_missing(present)
    if why:
        return FindingMetrics(finding=finding, positives=positives, negatives=negatives, threshold=threshold, why=why)
    calls = at_threshold(present, scores, threshold)
    return FindingMetrics(
        finding=finding,
        positives=positives,
        negatives=negatives,
        threshold=threshold,
        auroc=auroc(present, scores),
        average_precision=average_precision(present, scores),
        sensitivity=calls["sensitivity"],
        specificity=calls["specificity"],
        precision=calls["precision"],
        f1=calls["f1"],
        f1_weighted=calls["f1_weighted"],
    )


def macro(findings: Sequence[FindingMetrics]) -> dict[str, float]:
    """Return the plain mean of each measure over the findings that have it; empty where none has."""
    whole = [one for one in findings if not one.why]
    return {name: float(np.mean([getattr(one, name) for one in whole])) for name in MEASURES} if whole else {}


def macro_auroc(
    scores: Num[np.ndarray, "n f"], targets: Float[np.ndarray, "n f"], weights: Float[np.ndarray, "n f"]
) -> float | None:
    """Return the mean AUROC over the findings that have both sides, or None where none has; for training curves."""
    known = counted(targets, weights)
    areas = [
        area
        for f in range(scores.shape[1])
        if (area := auroc(targets[known[:, f], f] > UNSURE, scores[known[:, f], f])) is not None
    ]
    return float(np.mean(areas)) if areas else None
