"""An audit's numbers: per finding precision, recall, F1, specificity, flip rates, and how far two readers agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from espalier.labels.audit_answers import Answer, Answers
from espalier.labels.audit_draw import STRATA, STRATUM_OF, Cell, Drawn, Side
from espalier.labels.audit_statistics import (
    Estimate,
    Judged,
    interval,
    kappas,
    macro,
    measures,
    precision_of,
    report_weights,
    unseen_weights,
    wilson,
)

ENOUGH: Final = 20
"""Fewer positives than this say little."""
_SURE: Final = 0.1
_SEED: Final = 0
_ORDER: Final = ("absent", "uncertain", "present")


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far two readers agree on the cells that both answered; kappa is None where one answer is all there is."""

    cells: int
    agreed: int
    kappa: Estimate | None
    weighted_kappa: Estimate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingScore:
    """What the audit says of one finding.

    Parameters
    ----------
    drawn, answered
        Cells.
    positives
        Answered cells whose truth is positive; half ones where readers differ.
    measures
        By name (`MEASURES`), None where an answer is lacking.
    flip_rates
        By state of the rules how often the truth is positive, and from how many cells.
    agreement
        Of the two readers.
    """

    drawn: int
    answered: int
    positives: float
    measures: Mapping[str, Estimate | None]
    flip_rates: Mapping[str, tuple[Estimate | None, int]]
    agreement: Agreement


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What an audit says; the disagreements are ids of cells that two readers answered differently."""

    number: int
    drawn: int
    answered: int
    reports: int
    blind: bool
    labels: str
    findings: Mapping[str, FindingScore]
    macro: Mapping[str, tuple[Estimate | None, int]]
    agreement: Agreement
    disagreements: tuple[str, ...]
    notes: tuple[str, ...]


def score(drawn: Drawn, answers: Answers, *, seed: int = _SEED) -> Score:
    """Return precision, recall, F1 and specificity of what the rules said, with 95 % intervals, and the readers' agreement.

    Parameters
    ----------
    drawn
        What was drawn.
    answers
        What the readers say. Where two differ and nothing was agreed on, each answer counts half.
    seed
        Of the bootstrap over reports.
    """
    place = {report: n for n, report in enumerate(drawn.reports)}
    weights = report_weights(len(place), seed=seed)
    draws = weights.shape[1] - 1
    # The unseen cells of a finding on its own would add up in a mean; there all findings share one pair.
    shared = unseen_weights(draws, seed=seed) / max(1, len(drawn.findings))
    findings, plain = {}, []
    for number, finding in enumerate(drawn.findings):
        cells = [cell for cell in drawn.cells if cell.finding == finding]
        judged = _judged(cells, answers, drawn, finding, place)
        unseen = unseen_weights(draws, seed=[seed, number + 1])
        own = {name: interval(values) for name, values in measures(judged, weights, unseen).items()}
        plain.append(measures(judged, weights, shared))
        findings[finding] = FindingScore(
            drawn=len(cells),
            answered=len(judged.strata),
            positives=float(judged.positive.sum()),
            measures=own | {"precision": precision_of(judged)},
            flip_rates=_flip_rates(cells, answers, drawn.uncertain[finding]),
            agreement=_agreement(cells, answers, place, weights),
        )
    both = answers.both
    return Score(
        number=drawn.number,
        drawn=len(drawn.cells),
        answered=sum(own.answered for own in findings.values()),
        reports=len({cell.report for cell in drawn.cells if cell.id in answers.answered}),
        blind=drawn.blind,
        labels=drawn.labels,
        findings=findings,
        macro=macro(plain),
        agreement=_agreement(drawn.cells, answers, place, weights),
        disagreements=tuple(c.id for c in drawn.cells if c.id in both and answers.readers[0][c.id] != answers.readers[1][c.id]),
        notes=_notes(findings, drawn, answers),
    )


def _judged(cells: Sequence[Cell], answers: Answers, drawn: Drawn, finding: str, place: Mapping[str, int]) -> Judged:
    answered = [cell for cell in cells if answers.of(cell.id)]
    sides = [_sides(answers.of(cell.id), drawn.uncertain[finding]) for cell in answered]
    return Judged(
        strata=np.array([STRATA.index(cell.stratum) for cell in answered], dtype=np.int64),
        reports=np.array([place[cell.report] for cell in answered], dtype=np.int64),
        positive=np.array([positive for positive, _ in sides], dtype=float),
        negative=np.array([negative for _, negative in sides], dtype=float),
        sizes=drawn.sizes[finding],
        uncertain=drawn.uncertain[finding],
    )


def _sides(told: Sequence[Answer], uncertain: Side) -> tuple[float, float]:
    """Return how much a cell counts as positive and as negative; every answer has an equal part in it."""
    sides = [{"present": "positive", "absent": "negative", "uncertain": uncertain}[answer] for answer in told]
    return sides.count("positive") / len(sides), sides.count("negative") / len(sides)


def _flip_rates(cells: Sequence[Cell], answers: Answers, uncertain: Side) -> dict[str, tuple[Estimate | None, int]]:
    out: dict[str, tuple[Estimate | None, int]] = {}
    for state in STRATUM_OF:
        sides = [_sides(answers.of(c.id), uncertain) for c in cells if c.state == state and answers.of(c.id)]
        positive = sum(one for one, _ in sides)
        out[state] = (wilson(positive, positive + sum(other for _, other in sides)), len(sides))
    return out


def _agreement(
    cells: Sequence[Cell], answers: Answers, place: Mapping[str, int], weights: Float[np.ndarray, "p r"]
) -> Agreement:
    both = [cell for cell in cells if cell.id in answers.both]
    first, second = ([_ORDER.index(own[cell.id]) for cell in both] for own in answers.readers)
    if not both:
        return Agreement(cells=0, agreed=0, kappa=None, weighted_kappa=None)
    counts = weights[[place[cell.report] for cell in both]]
    kappa, weighted = kappas(np.array(first), np.array(second), counts, seed=_SEED)
    agreed = sum(one == other for one, other in zip(first, second, strict=True))
    return Agreement(cells=len(both), agreed=agreed, kappa=kappa, weighted_kappa=weighted)


def _notes(findings: Mapping[str, FindingScore], drawn: Drawn, answers: Answers) -> tuple[str, ...]:
    notes = []
    missing = len(drawn.cells) - sum(own.answered for own in findings.values())
    if missing:
        notes.append(f"{missing} of {len(drawn.cells)} cells have no answer yet; the others stand for them.")
    torn = sum(len(set(answers.of(cell.id))) > 1 for cell in drawn.cells)
    if torn:
        notes.append(f"In {torn} cells the readers differ: each answer counts half until the column agreed is filled.")
    for finding, own in findings.items():
        f1 = own.measures["f1"]
        half = (f1.high - f1.low) / 2 if f1 else 0.0
        if f1 is None and own.answered == own.drawn:
            notes.append(f"{finding}: neither the rules nor a reader saw it in {own.answered} cells, so there is no F1.")
        elif f1 is None:
            notes.append(f"{finding}: too few answers for F1 ({own.answered} of {own.drawn} cells).")
        elif own.positives < ENOUGH or half > _SURE:
            notes.append(f"{finding}: too few cells, {own.positives:g} positives give F1 ±{half:.2f}.")
    return tuple(notes)
