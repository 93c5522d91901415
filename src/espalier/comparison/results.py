"""The numbers of a comparison: every arm, every difference, on the same resamples of the same patients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from espalier.comparison.options import ComparisonOptions
from espalier.comparison.pairs import Pairs
from espalier.comparison.tests import bootstrap_p, holm
from espalier.evaluation.intervals import (
    ENOUGH,
    draw_resamples,
    estimate,
    macro_of,
    resampled_aurocs,
    sides,
)
from espalier.evaluation.metrics import UNSURE, auroc, counted

Areas = Float[np.ndarray, "f r"]


def compared(pairs: Pairs, options: ComparisonOptions) -> dict[str, Any]:
    """Return what `comparison.json` says of the predictions.

    An arm's macro AUROC is the mean over its seeds of the mean over findings. Each resample draws patients once for all
    arms and seeds; intervals are the 2.5th to 97.5th percentile.
    """
    counts = draw_resamples(pairs.patients, pairs.targets, pairs.weights, resamples=options.resamples, seed=options.seed)
    areas = dict(zip(pairs.arms, resampled_aurocs(pairs.probabilities, pairs.targets, pairs.weights, counts), strict=True))
    others = [arm for arm in pairs.arms if arm != options.baseline]
    differences = {arm: areas[arm] - areas[options.baseline] for arm in others}
    out: dict[str, Any] = {
        "baseline": options.baseline,
        "placebo": options.placebo,
        "seeds": list(pairs.seeds),
        "scans": len(pairs.scans),
        "patients": len(set(pairs.patients)),
        "findings": _findings(pairs),
        "left_out": _left_out(pairs),
        "arms": {arm: _estimates(own, pairs) for arm, own in areas.items()},
        "differences": {arm: _estimates(own, pairs) for arm, own in differences.items()},
    }
    if options.placebo is not None:
        against = {arm: areas[arm] - areas[options.placebo] for arm in others if arm != options.placebo}
        out["against_placebo"] = {arm: _estimates(own, pairs) for arm, own in against.items()}
    out["tests"] = {arm: _tests(own, pairs) for arm, own in differences.items()}
    out["per_seed"] = {arm: _per_seed(pairs, k) for k, arm in enumerate(pairs.arms)}
    return out


def _findings(pairs: Pairs) -> dict[str, Any]:
    return {
        finding: {"positives": p, "negatives": n, "trusted": min(p, n) >= ENOUGH}
        for finding, (p, n) in zip(pairs.findings, sides(pairs.targets, pairs.weights), strict=True)
        if p and n
    }


def _left_out(pairs: Pairs) -> dict[str, str]:
    return {
        finding: "no positives" if n else "no negatives" if p else "no scan with a label"
        for finding, (p, n) in zip(pairs.findings, sides(pairs.targets, pairs.weights), strict=True)
        if not (p and n)
    }


def _estimates(areas: Areas, pairs: Pairs) -> dict[str, Any]:
    """Return macro and findings of one arm or difference, each as value, low, high, seeds and patients."""
    known = counted(pairs.targets, pairs.weights)
    patients = np.asarray(pairs.patients, dtype=str)
    findings = {}
    for f, finding in enumerate(pairs.findings):
        if (own := _plain(areas[f], pairs, patients=len(set(patients[known[:, f]])))) is not None:
            findings[finding] = {"auroc": own}
    # A difference is the difference of the means over the same findings: the mean of the differences.
    macro = _plain(macro_of(areas), pairs, patients=len(set(pairs.patients)))
    return {"macro": {"auroc": macro} if macro else {}, "findings": findings}


def _plain(values: Float[np.ndarray, " r"], pairs: Pairs, *, patients: int) -> Mapping[str, float | int] | None:
    own = estimate(values, positives=0, negatives=0)
    if own is None:
        return None
    return {"value": own.value, "low": own.low, "high": own.high, "seeds": len(pairs.seeds), "patients": patients}


def _tests(difference: Areas, pairs: Pairs) -> dict[str, Any]:
    whole = [f for f in range(len(pairs.findings)) if not np.isnan(difference[f, 0])]
    p_values = [bootstrap_p(difference[f, 1:]) for f in whole]
    return {
        "macro": {"p": bootstrap_p(macro_of(difference)[1:])} if whole else {},
        "findings": {
            pairs.findings[f]: {"p": p, "p_holm": adjusted}
            for f, p, adjusted in zip(whole, p_values, holm(p_values), strict=True)
        },
    }


def _per_seed(pairs: Pairs, arm: int) -> list[float | None]:
    """Return the macro AUROC of each seed."""
    known = counted(pairs.targets, pairs.weights)
    out: list[float | None] = []
    for s in range(len(pairs.seeds)):
        found = [
            auroc(pairs.targets[known[:, f], f] > UNSURE, pairs.probabilities[arm, s, known[:, f], f])
            for f in range(len(pairs.findings))
        ]
        own = [area for area in found if area is not None]
        out.append(float(np.mean(own)) if own else None)
    return out
