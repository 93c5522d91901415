"""The loss of graded structures and any injury, against the formula written out."""

import pytest
import torch
import torch.nn.functional as F

from espalier.labels.findings import FINDINGS
from espalier.training.trauma_loss import grades_of, trauma_loss

RATIC = FINDINGS["ratic"]
GRADES = grades_of(RATIC)
HEALTHY = [RATIC.index(f) for f in RATIC if f.endswith("_healthy")]


def targets_of(*names: str) -> torch.Tensor:
    targets = torch.zeros(14)
    targets[HEALTHY] = 1
    for name in names:
        structure = name.rpartition("_")[0]
        targets[[i for i, f in enumerate(RATIC) if f.startswith(structure)]] = 0
        targets[[RATIC.index(name), 13]] = 1
    return targets[None]


def test_one_scan_costs_what_the_paper_says() -> None:
    logits = torch.linspace(-1, 1, 13)[None]
    targets = targets_of("liver_high")
    p = {group: F.log_softmax(logits[0, list(group)], 0) for group in GRADES.columns}
    log_healthy = sum(p[g][0] for g in GRADES.columns)
    binary = -(p[(0, 1)][0] + p[(2, 3)][0]) / 2
    graded = -(p[(4, 5, 6)][0] + p[(7, 8, 9)][2] + p[(10, 11, 12)][0]) / 3
    of_any = -torch.log1p(-torch.exp(torch.as_tensor(log_healthy)))
    found = trauma_loss(logits, targets, torch.ones(1, 14), GRADES)
    assert found.item() == pytest.approx((binary + graded + 0.1 * of_any).item(), rel=1e-5)


def test_scans_count_by_what_they_have() -> None:
    logits = torch.zeros(2, 13)
    logits[0, 2] = 3.0
    both = torch.cat([targets_of(), targets_of("extravasation_injury")])
    log_p = F.log_softmax(logits[:, 2:4], 1)
    known = torch.zeros(2, 14)
    known[:, 2:4] = 1
    expected = (-1 * log_p[0, 0] - 6 * log_p[1, 1]) / 7 / 2
    assert trauma_loss(logits, both, known, GRADES).item() == pytest.approx(expected.item(), rel=1e-5)


def test_certainty_of_health_costs_nothing_and_is_finite() -> None:
    logits = torch.full((1, 13), -60.0)
    logits[0, HEALTHY] = 60.0
    logits.requires_grad_()
    loss = trauma_loss(logits, targets_of(), torch.ones(1, 14), GRADES)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert torch.isfinite(logits.grad).all()
    wrong = trauma_loss(logits, targets_of("bowel_injury"), torch.ones(1, 14), GRADES)
    assert torch.isfinite(wrong)


def test_a_scan_without_labels_costs_nothing() -> None:
    assert trauma_loss(torch.randn(3, 13), torch.zeros(3, 14), torch.zeros(3, 14), GRADES).item() == 0
