from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.conftest import FINDINGS, TINY

from espalier.networks.options import NetworkSize
from espalier.training.crops import Batch, training_batch
from espalier.training.inputs import gather
from espalier.training.learner import Learner, build_learner, learn
from espalier.training.options import SupervisionOptions, TrainingOptions

CPU = torch.device("cpu")
PLAIN = replace(TINY, supervision=SupervisionOptions(weight=0.0))
PLAIN_SWIN = replace(PLAIN, network="swin3d_t", network_size=NetworkSize(width=6, depths=(1, 1), patch=(4, 2, 2), heads=2))


def prepared(study: Path, options: TrainingOptions, numbers: tuple[int, ...] = (1, 2, 3, 4)) -> tuple[Learner, Batch]:
    inputs = gather(options, folder=study, findings=FINDINGS, seed=0)
    batch = training_batch(inputs, options, seed=0, epoch=1, numbers=numbers)
    return build_learner(inputs, options, seed=0, device=CPU), batch


def test_two_arms_of_one_seed_start_bitwise_equal(study: Path) -> None:
    (plain, own), (masked, other) = prepared(study, PLAIN), prepared(study, TINY)
    assert plain.branch is None
    assert masked.branch is not None
    first, second = plain.classifier.state_dict(), masked.classifier.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    losses = [learn(a, b, o, rate=1e-3, draws=1) for a, b, o in ((plain, own, PLAIN), (masked, other, TINY))]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] == 0
    assert losses[1][1] > 0


def test_dropout_draws_the_same_in_both_arms(study: Path) -> None:
    options = [PLAIN_SWIN, replace(PLAIN_SWIN, supervision=TINY.supervision)]
    losses = [learn(*prepared(study, o), o, rate=1e-3, draws=5)[0] for o in options]
    assert losses[0] == losses[1]
    others = {float(learn(*prepared(study, PLAIN_SWIN), PLAIN_SWIN, rate=1e-3, draws=draws)[0]) for draws in range(12)}
    assert len(others) > 1


def test_weight_0_is_the_plain_gradient(study: Path) -> None:
    tiny_weight = replace(TINY, supervision=SupervisionOptions(weight=1e-30), clip_norm=0.0)
    plain = replace(PLAIN, clip_norm=0.0)
    learners = []
    for options in (plain, tiny_weight):
        learner, batch = prepared(study, options)
        learn(learner, batch, options, rate=1e-3, draws=1)
        learners.append(learner.classifier.state_dict())
    assert all(torch.equal(learners[0][n], learners[1][n]) for n in learners[0])


def test_both_backends_learn_the_same(study: Path) -> None:
    weights = []
    for backend in ("torch", "reference"):
        options = replace(TINY, supervision=SupervisionOptions(backend=backend))
        learner, batch = prepared(study, options, (0, 1, 2))
        losses = learn(learner, batch, options, rate=1e-3, draws=1)
        weights.append(losses)
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)


def test_a_batch_without_masks_still_reaches_the_branch(study: Path) -> None:
    learner, batch = prepared(study, TINY, (0,))
    assert batch.masks is None
    assert learn(learner, batch, TINY, rate=1e-3, draws=1)[1] == 0
    assert learner.branch is not None
    assert learner.branch.weight.grad is not None
    assert torch.count_nonzero(learner.branch.weight.grad) == 0


def test_the_gradient_is_clipped_to_its_norm(study: Path) -> None:
    options = replace(TINY, clip_norm=0.01)
    learner, batch = prepared(study, options)
    norm = learn(learner, batch, options, rate=1e-3, draws=1)[2]
    clipped = torch.stack([p.grad.norm() for p in learner.parameters if p.grad is not None]).norm()
    assert norm > 0.1
    assert float(clipped) == pytest.approx(0.01, rel=1e-3)


def test_a_step_uses_its_learning_rate(study: Path) -> None:
    learner, batch = prepared(study, replace(TINY, weight_decay=0.0))
    before = learner.classifier.linear.weight.detach().clone()
    learn(learner, batch, TINY, rate=0.25, draws=1)
    moved = (learner.classifier.linear.weight.detach() - before).abs().max()
    assert float(moved) == pytest.approx(0.25, rel=1e-3)


def test_balanced_structures_are_weighed(study: Path) -> None:
    options = replace(TINY, supervision=SupervisionOptions(class_balance=1.0))
    learner, batch = prepared(study, options)
    plain, _ = prepared(study, TINY)
    assert learner.structure_weights is not None
    assert learn(learner, batch, options, rate=1e-3, draws=1)[1] != learn(plain, batch, TINY, rate=1e-3, draws=1)[1]
