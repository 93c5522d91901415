"""What an audit proves: totals estimated from strata, how sure they are, and how far two readers agree.

Every report gets a random weight that all its cells share (the Bayesian bootstrap of Rubin, 1981, over reports), and every
stratum of a finding one unseen positive and one unseen negative cell of weight Gamma(1/2): for a single stratum this is the
interval of Jeffreys, which also holds where no error was seen. In a mean over findings, one such pair is shared by all of them:
what is cautious once would add up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from espalier.labels.audit_draw import STRATA, Side, Stratum

MEASURES: Final = ("precision", "recall", "f1", "specificity")
Totals = tuple[Float[np.ndarray, " r"], Float[np.ndarray, " r"]]
DRAWS: Final = 2000
_Z: Final = 1.959963984540054
_UNSEEN: Final = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """The answered cells of one finding, n of them, in the strata that they were drawn from.

    Parameters
    ----------
    strata
        (n,) places in `STRATA`.
    reports
        (n,) places in the list of all reports.
    positive, negative
        (n,) how much each cell counts as either, in [0, 1]; both 0 for a truth that counts as neither.
    sizes
        Labels in each stratum.
    uncertain
        What a label "uncertain" counts as.
    """

    strata: Int[np.ndarray, " n"]
    reports: Int[np.ndarray, " n"]
    positive: Float[np.ndarray, " n"]
    negative: Float[np.ndarray, " n"]
    sizes: Mapping[Stratum, int]
    uncertain: Side


def wilson(hits: float, total: float) -> Estimate | None:
    """Return a proportion with its interval by Wilson (1927), None of nothing; `total` may be an effective number.

    Examples
    --------
    >>> estimate = wilson(18, 20)
    >>> round(estimate.low, 3), round(estimate.high, 3)
    (0.699, 0.972)
    """
    if total <= 0:
        return None
    share = min(1.0, hits / total)
    middle = (share + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    half = _Z / (1 + _Z**2 / total) * (share * (1 - share) / total + _Z**2 / (4 * total**2)) ** 0.5
    # At 0 and 1 the bounds are exact, but for rounding.
    return Estimate(share, min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half)))


def report_weights(reports: int, *, seed: int, draws: int = DRAWS) -> Float[np.ndarray, "p r"]:
    """Return the random weight of each of `p` reports in `r` draws; in the first draw all weigh 1."""
    weights = np.random.Generator(np.random.PCG64(seed)).standard_exponential((reports, draws + 1))
    weights[:, 0] = 1.0
    return weights


def unseen_weights(draws: int, *, seed: int | Sequence[int]) -> Float[np.ndarray, "3 2 r"]:
    """Return the weight of one unseen positive and one unseen negative cell per stratum in `r` draws; none in the first."""
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = generator.standard_gamma(_UNSEEN, size=(len(STRATA), 2, draws + 1))
    weights[:, :, 0] = 0.0
    return weights


def measures(
    judged: Judged, weights: Float[np.ndarray, "p r"], unseen: Float[np.ndarray, "3 2 r"]
) -> dict[str, Float[np.ndarray, " r"]]:
    """Return precision, recall, F1 and specificity under each draw; NaN where an answer is lacking that they rest on.

    Parameters
    ----------
    judged
        The answered cells of a finding.
    weights
        How much each report counts in each draw; the first one is the estimate itself.
    unseen
        What unseen cells weigh in each stratum as positive and as negative; 0 in the first draw (`unseen_weights`).
    """
    zero = np.zeros(weights.shape[1])
    totals: dict[Side, Totals] = dict.fromkeys(("positive", "negative", "out"), (zero, zero))
    for place, name in enumerate(STRATA):
        size = judged.sizes[name]
        if size == 0:
            continue
        side: Side = judged.uncertain if name == "uncertain" else "positive" if name == "present" else "negative"
        own = _estimated(judged, place, size, weights, unseen[place])
        totals[side] = (totals[side][0] + own[0], totals[side][1] + own[1])
    (tp, fp), (fn, tn) = totals["positive"], totals["negative"]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "specificity": tn / (tn + fp),
        }


def _estimated(
    judged: Judged, place: int, size: int, weights: Float[np.ndarray, "p r"], unseen: Float[np.ndarray, "2 r"]
) -> Totals:
    """Return the positives and negatives of a stratum as a whole: each answered cell stands for `size / n` labels."""
    mine = judged.strata == place
    if not mine.any():
        return np.full(weights.shape[1], np.nan), np.full(weights.shape[1], np.nan)
    own = weights[judged.reports[mine]]
    positive, negative = judged.positive[mine] @ own + unseen[0], judged.negative[mine] @ own + unseen[1]
    each = size / (own.sum(axis=0) + unseen.sum(axis=0))
    return each * positive, each * negative


def interval(values: Float[np.ndarray, " r"]) -> Estimate | None:
    """Return the first value with the middle 95 % of the others, None where it is not known."""
    value = float(values[0])
    drawn = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(value) or not len(drawn):
        return None
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def precision_of(judged: Judged) -> Estimate | None:
    """Return the precision with its interval by Wilson, on the effective number of cells (Kish, 1965)."""
    counted: tuple[Stratum, ...] = ("present", "uncertain") if judged.uncertain == "positive" else ("present",)
    weight = np.zeros(len(judged.strata))
    for name in counted:
        mine = judged.strata == STRATA.index(name)
        if judged.sizes[name] and not mine.any():
            return None
        weight[mine] = judged.sizes[name] / max(1, int(mine.sum()))
    known = weight * (judged.positive + judged.negative)
    if not known.any():
        return None
    effective = float(known.sum() ** 2 / (known**2).sum())
    return wilson(effective * float((weight * judged.positive).sum() / known.sum()), effective)


def macro(each: Sequence[Mapping[str, Float[np.ndarray, " r"]]]) -> dict[str, tuple[Estimate | None, int]]:
    """Return the mean of each measure over the findings that have it, and how many have."""
    out: dict[str, tuple[Estimate | None, int]] = {}
    for name in MEASURES:
        known = [own[name] for own in each if np.isfinite(own[name][0])]
        out[name] = (interval(np.mean(known, axis=0)) if known else None, len(known))
    return out


def kappas(
    first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"], weights: Float[np.ndarray, "n r"], *, seed: int
) -> tuple[Estimate | None, Estimate | None]:
    """Return Cohen's kappa of two readers, and the one weighted linearly (absent, uncertain, present), with intervals.

    Parameters
    ----------
    first, second
        (n,) answers as 0 (absent), 1 (uncertain), 2 (present).
    weights
        (n, r) how much each cell counts in each draw, the first one 1; cells of one report count alike.
    seed
        Of the unseen cells: half a cell of agreement and half a cell of disagreement, spread as the answers are.
    """
    table = np.zeros((3, 3, weights.shape[1]))
    np.add.at(table, (first, second), weights)
    seen = table[:, :, 0].copy()
    chance = np.outer(seen.sum(axis=1), seen.sum(axis=0))
    generator = np.random.Generator(np.random.PCG64(seed))
    for where in (np.eye(3, dtype=bool), ~np.eye(3, dtype=bool)):
        spread = np.where(where, (chance + chance.T) / 2, 0.0)
        if spread.sum() > 0:
            unseen = np.asarray(generator.standard_gamma(_UNSEEN, size=weights.shape[1]))
            unseen[0] = 0.0
            table += spread[:, :, None] / spread.sum() * unseen
    distance = np.abs(np.subtract.outer(np.arange(3), np.arange(3))) / 2
    return interval(_kappa(table, (distance > 0).astype(float))), interval(_kappa(table, distance))


def _kappa(table: Float[np.ndarray, "3 3 r"], cost: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, " r"]:
    share = table / np.maximum(table.sum(axis=(0, 1)), 1e-300)
    expected = np.einsum("ir,jr,ij->r", share.sum(axis=1), share.sum(axis=0), cost)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - np.einsum("ijr,ij->r", share, cost) / expected
