"""How sure a number is: the bootstrap over patients, the same resamples for every arm, seed and finding.

A resample draws as many patients as there are, with replacement, and takes all scans of each. It is written as how often
each scan counts, so that the AUROC under it is a weighted one: twice the number of pairs won is a product of small whole
numbers, exact in floating point, and therefore the same on every machine and number of threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Num

from espalier.evaluation.metrics import UNSURE, counted

ENOUGH: Final = 20
"""Fewer positives or negatives than this, and the interval is not to be trusted."""
TRIES: Final = 100
EXACT_IN_FLOAT32: Final = 2**24
ROWS_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval (bootstrap over patients) and the scans behind it."""

    value: float
    low: float
    high: float
    positives: int
    negatives: int

    @property
    def trusted(self) -> bool:
        """Whether there are enough positives and negatives for the interval to mean what it says."""
        return min(self.positives, self.negatives) >= ENOUGH


def draw_resamples(
    patients: Sequence[str],
    targets: Float[np.ndarray, "n f"],
    weights: Float[np.ndarray, "n f"],
    *,
    resamples: int,
    seed: int,
) -> Float[np.ndarray, "n r"]:
    """Return how often each scan counts: 1 in the first column, which is the cohort itself, then one resample a column.

    Scans of one patient always count alike. A resample in which a finding lacks the positives or negatives that it has
    in the cohort is drawn again, up to `TRIES` times.

    Parameters
    ----------
    patients
        Of each scan.
    targets, weights
        Presence of each finding and whether it counts (`metrics.counted`).
    resamples
        How many.
    seed
        Of the draw; equal seeds give equal resamples whatever is compared.
    """
    names, whose = np.unique(np.asarray(patients, dtype=object).astype(str), return_inverse=True)
    sides = _sides_of_patients(targets, weights, whose, len(names))
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = _draw(generator, resamples, len(names))
    for _ in range(TRIES):
        lacking = np.flatnonzero(((drawn @ sides) == 0).any(axis=1))
        if not len(lacking):
            break
        drawn[lacking] = _draw(generator, len(lacking), len(names))
    counts = np.ones((len(whose), resamples + 1), dtype=np.float32)
    counts[:, 1:] = drawn.T[whose]
    return counts


def _draw(generator: np.random.Generator, resamples: int, patients: int) -> Float[np.ndarray, "r p"]:
    chosen = generator.integers(patients, size=(resamples, patients))
    chosen += np.arange(resamples)[:, None] * patients
    return np.bincount(chosen.ravel(), minlength=resamples * patients).reshape(resamples, patients).astype(np.float32)


def _sides_of_patients(
    targets: Float[np.ndarray, "n f"], weights: Float[np.ndarray, "n f"], whose: Num[np.ndarray, " n"], patients: int
) -> Float[np.ndarray, "p s"]:
    """Mark which patients hold each finding's positives and negatives, for the findings that have both."""
    known = counted(targets, weights)
    positive, negative = known & (targets > UNSURE), known & (targets < UNSURE)
    both = positive.any(axis=0) & negative.any(axis=0)
    sides = np.zeros((patients, 2 * int(both.sum())), dtype=np.float32)
    np.maximum.at(sides, whose, np.hstack([positive[:, both], negative[:, both]]).astype(np.float32))
    return sides


def resampled_auroc(
    present: Bool[np.ndarray, " n"], scores: Num[np.ndarray, "k s n"], counts: Float[np.ndarray, "n r"]
) -> Float[np.ndarray, "k r"]:
    """Return under each resample the AUROC of `k` arms, averaged over their `s` seeds; NaN where a resample lacks a side."""
    positives, negatives = counts[present], counts[~present]
    pairs = positives.sum(axis=0, dtype=np.float64) * negatives.sum(axis=0, dtype=np.float64)
    twice_pairs = 2 * scores.shape[1] * pairs
    exact = np.float32 if twice_pairs.max(initial=0) < EXACT_IN_FLOAT32 else np.float64
    positives, negatives = positives.astype(exact), negatives.astype(exact)
    areas = np.full((len(scores), counts.shape[1]), np.nan)
    for arm, own in enumerate(scores):
        twice_won = _twice_won(own[:, present], own[:, ~present], positives, negatives)
        np.divide(twice_won, twice_pairs, out=areas[arm], where=pairs > 0)
    return areas


def _twice_won(
    of_positives: Num[np.ndarray, "s p"],
    of_negatives: Num[np.ndarray, "s m"],
    positives: Float[np.ndarray, "p r"],
    negatives: Float[np.ndarray, "m r"],
) -> Float[np.ndarray, " r"]:
    """Return twice the weight of the pairs in which the positive scores higher (once for a tie), summed over seeds."""
    total = np.zeros(positives.shape[1])
    for start in range(0, of_positives.shape[1], ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        wins = np.zeros((positives[rows].shape[0], negatives.shape[0]), dtype=negatives.dtype)
        for own, others in zip(of_positives[:, rows, None], of_negatives, strict=True):
            wins += own > others
            wins += own >= others
        total += np.einsum("ir,ir->r", positives[rows], wins @ negatives)
    return total


def resampled_aurocs(
    scores: Num[np.ndarray, "k s n f"],
    targets: Float[np.ndarray, "n f"],
    weights: Float[np.ndarray, "n f"],
    counts: Float[np.ndarray, "n r"],
) -> Float[np.ndarray, "k f r"]:
    """Return every finding's AUROC of `k` arms under each resample, averaged over seeds; NaN for one without both sides."""
    known = counted(targets, weights)
    areas = np.full((scores.shape[0], scores.shape[3], counts.shape[1]), np.nan)
    for f in range(scores.shape[3]):
        rows = known[:, f]
        areas[:, f] = resampled_auroc(targets[rows, f] > UNSURE, scores[:, :, rows, f], counts[rows])
    return areas


def macro_of(areas: Float[np.ndarray, "*k f r"]) -> Float[np.ndarray, "*k r"]:
    """Return the mean over the findings that have an AUROC in that resample; NaN where none has."""
    there = ~np.isnan(areas)
    number = there.sum(axis=-2)
    total = np.where(there, areas, 0).sum(axis=-2)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def estimate(values: Float[np.ndarray, " r"], *, positives: int, negatives: int) -> Estimate | None:
    """Return the first value with the 2.5th and 97.5th percentile of the others, or None where there is no value.

    Resamples without a value (a side was missing in `TRIES` draws) are left out of the percentiles.
    """
    own, others = float(values[0]), values[1:][~np.isnan(values[1:])]
    if np.isnan(own):
        return None
    low, high = (float(q) for q in np.percentile(others, [2.5, 97.5])) if len(others) else (own, own)
    return Estimate(own, low, high, positives, negatives)


def sides(targets: Float[np.ndarray, "n f"], weights: Float[np.ndarray, "n f"]) -> list[tuple[int, int]]:
    """Return how many positives and negatives each finding has among the scans that count."""
    known = counted(targets, weights)
    return [
        (int((known[:, f] & (targets[:, f] > UNSURE)).sum()), int((known[:, f] & (targets[:, f] < UNSURE)).sum()))
        for f in range(targets.shape[1])
    ]
