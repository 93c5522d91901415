import pytest
import torch
from torch.nn import functional

from espalier.training.label_loss import label_loss


def test_with_equal_weights_it_is_plain_binary_cross_entropy() -> None:
    logits, targets = torch.randn(4, 3), torch.rand(4, 3).round()
    wanted = functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(label_loss(logits, targets, torch.ones(4, 3)), wanted)


def test_a_finding_without_a_label_has_no_gradient_and_does_not_thin_the_mean() -> None:
    logits = torch.zeros(1, 2, requires_grad=True)
    loss = label_loss(logits, torch.ones(1, 2), torch.tensor([[1.0, 0.0]]))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.6931472)
    assert logits.grad is not None
    assert logits.grad.tolist() == [[-0.5, 0.0]]


def test_without_any_label_the_loss_is_0() -> None:
    assert float(label_loss(torch.ones(2, 2), torch.ones(2, 2), torch.zeros(2, 2))) == 0
