"""The label loss of graded structures and any injury (Li et al. 2025, L_RATIC)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from espalier.labels.probabilities import ANY_INJURY, groups_of

ANY_INJURY_WEIGHT: Final = 0.1
"""Share of the loss of any injury (Li et al. 2025, L_RATIC)."""
SCAN_WEIGHTS: Final = {"extravasation_injury": 6.0, "any_injury": 6.0, "high": 4.0, "low": 2.0, "injury": 2.0}
"""Weight of a scan by what it has, by name or by grade; 1 where it is healthy (Li et al. 2025, RATIC)."""


@dataclass(frozen=True, slots=True)
class Grades:
    """Columns of the targets that exclude each other, with the weight of each grade."""

    columns: tuple[tuple[int, ...], ...]
    healthy: tuple[int, ...]
    weights: tuple[tuple[float, ...], ...]
    any_injury: int


def grades_of(findings: Sequence[str]) -> Grades:
    """Return the grades among `findings`, which hold a derived `any_injury`; its column is not among the groups."""
    last = findings.index(ANY_INJURY)
    groups = tuple(tuple(g) for g in groups_of(findings) if last not in g)
    weights = tuple(tuple(_weight(findings[column]) for column in group) for group in groups)
    healthy = tuple(next(c for c in group if findings[c].endswith("_healthy")) for group in groups)
    return Grades(groups, healthy, weights, last)


def trauma_loss(
    logits: Float[Tensor, "b c"], targets: Float[Tensor, "b f"], weights: Float[Tensor, "b f"], grades: Grades
) -> Float[Tensor, ""]:
    """Return the cross entropy of yes-or-no groups, that of graded ones, and 0.1 of that of any injury, added up, in nats.

    The first two are means over their groups (bowel and extravasation; kidney, liver and spleen), each group a mean over
    scans with the paper's weights. With p(any injury) = 1 - Π p(healthy), taken in log space, so that it stays exact
    where all structures are healthy.

    Parameters
    ----------
    logits
        One for each finding but the derived `any_injury`, which must stand last; computed in float32.
    targets
        In [0, 1]; the grades of a structure add up to 1.
    weights
        0 where a report says nothing; a structure without a single known grade costs nothing.
    grades
        As `grades_of` returns them.
    """
    logits = logits.float()
    parts: dict[bool, list[Tensor]] = {True: [], False: []}
    log_healthy = logits.new_zeros(len(logits))
    for group, healthy, of_grade in zip(grades.columns, grades.healthy, grades.weights, strict=True):
        columns = list(group)
        log_p = torch.log_softmax(logits[:, columns], dim=1)
        log_healthy = log_healthy + log_p[:, group.index(healthy)]
        target, known = targets[:, columns], weights[:, columns].amin(dim=1)
        scan_weights = known * (target * target.new_tensor(of_grade)).sum(dim=1)
        parts[len(group) > 2].append(_mean(-(target * log_p).sum(dim=1), scan_weights))
    target, known = targets[:, grades.any_injury], weights[:, grades.any_injury]
    of_any = -(target * _log_one_minus_exp(log_healthy) + (1 - target) * log_healthy)
    loss = sum((torch.stack(part).mean() for part in parts.values() if part), logits.new_zeros(()))
    return loss + ANY_INJURY_WEIGHT * _mean(of_any, known * (1 + (SCAN_WEIGHTS[ANY_INJURY] - 1) * target))


def _weight(finding: str) -> float:
    return SCAN_WEIGHTS.get(finding, SCAN_WEIGHTS.get(finding.rpartition("_")[2], 1.0))


def _mean(each: Float[Tensor, " b"], weights: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    total = weights.sum()
    return (each * weights).sum() / total.where(total > 0, total.new_ones(()))


def _log_one_minus_exp(log_p: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Return log(1 - p) from log p < 0, exact at both ends."""
    log_p = log_p.clamp(max=-1e-7)
    near_zero = torch.log(-torch.expm1(log_p))
    return torch.where(log_p > -0.6931472, near_zero, torch.log1p(-torch.exp(log_p)))
