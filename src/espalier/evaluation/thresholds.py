"""Where a probability becomes a call, chosen on validation scans only."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from espalier.evaluation.metrics import what_is_missing
from espalier.evaluation.options import Rule

DEFAULT: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """A probability from which on a finding is called present, and what the choice rests on."""

    value: float
    rule: str
    positives: int
    negatives: int


def choose_threshold(
    present: Bool[np.ndarray, " n"], probabilities: Float[np.ndarray, " n"], *, rule: Rule, at: float
) -> Threshold:
    """Return the threshold that `rule` picks, half way to the next lower probability that was seen.

    Parameters
    ----------
    present
        Whether the finding is there, for the validation scans that count.
    probabilities
        Of the same scans.
    rule
        `youden`: largest sensitivity + specificity (Youden 1950), the highest such threshold. `sensitivity`: the highest
        threshold that reaches `at`. `specificity`: the lowest that reaches `at`.
    at
        The wanted sensitivity or specificity.

    Returns
    -------
    Threshold
        With rule `default` and value 0.5 where validation lacks positives or negatives.
    """
    positives = int(present.sum())
    negatives = len(present) - positives
    if what_is_missing(present):
        return Threshold(value=DEFAULT, rule="default", positives=positives, negatives=negatives)
    seen = np.unique(probabilities)[::-1]
    # Whole numbers are divided once, so that 9 of 10 reaches 0.9 whatever the rounding.
    sensitivity = (positives - _below_each(probabilities[present], seen)) / positives
    specificity = _below_each(probabilities[~present], seen) / negatives
    if rule == "youden":
        chosen = int(np.argmax(sensitivity + specificity))
    elif rule == "sensitivity":
        chosen = int(np.flatnonzero(sensitivity >= at)[0])
    else:
        reaching = np.flatnonzero(specificity >= at)
        if not len(reaching):
            # Even the highest probability calls too many of the absent ones: call nothing that was seen.
            value = float(np.nextafter(seen[0], 2.0))
            return Threshold(value=value, rule=rule, positives=positives, negatives=negatives)
        chosen = int(reaching[-1])
    return Threshold(value=_below(seen, chosen), rule=rule, positives=positives, negatives=negatives)


def _below_each(probabilities: Float[np.ndarray, " n"], thresholds: Float[np.ndarray, " t"]) -> Int[np.ndarray, " t"]:
    return np.searchsorted(np.sort(probabilities), thresholds, side="left")


def _below(seen: Float[np.ndarray, " t"], chosen: int) -> float:
    """Return the middle between the chosen probability and the next lower one, so that a last digit decides nothing."""
    if chosen + 1 == len(seen):
        return float(seen[chosen])
    middle = float((seen[chosen] + seen[chosen + 1]) / 2)
    return middle if seen[chosen + 1] < middle else float(seen[chosen])
