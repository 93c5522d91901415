from pathlib import Path

import pytest
import torch
from torch import nn

from espalier.errors import SettingsError
from espalier.geometry import Shape
from espalier.networks.branch import build_branch
from espalier.networks.classifier import build_classifier
from espalier.networks.options import NetworkSize

SMALL = NetworkSize(width=4, depths=(1, 1))
CROP: Shape = (8, 12, 16)


def own_encoder(crop: Shape, size: NetworkSize) -> tuple[nn.Module, int]:
    return nn.Conv3d(1, 3, kernel_size=4, stride=4), 3


def test_the_mean_of_a_map_is_its_logit() -> None:
    classifier = build_classifier("r3d_18", findings=3, crop=CROP, size=SMALL, seed=0).eval()
    logits, maps = classifier(torch.randn(2, 1, *CROP))
    assert maps.shape == (2, 3, 2, 3, 4)
    torch.testing.assert_close(maps.mean(dim=(2, 3, 4)), logits)


def test_features_then_classify_is_the_forward_pass() -> None:
    classifier = build_classifier("r3d_18", findings=3, crop=CROP, size=SMALL, seed=0).eval()
    x = torch.randn(2, 1, *CROP)
    assert torch.equal(classifier.classify(classifier.features(x))[0], classifier(x)[0])


def test_one_seed_gives_one_network_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = build_classifier("r3d_18", findings=3, crop=CROP, size=SMALL, seed=1).state_dict()
    again = build_classifier("r3d_18", findings=3, crop=CROP, size=SMALL, seed=1).state_dict()
    other = build_classifier("r3d_18", findings=3, crop=CROP, size=SMALL, seed=2).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["backbone.stem.0.weight"], other["backbone.stem.0.weight"])


def test_the_branch_draws_from_a_generator_of_its_own() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    branch = build_branch(4, 7, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(branch.weight, build_branch(4, 7, seed=3).weight)
    assert branch(torch.zeros(2, 4, 3, 3, 3)).shape == (2, 7, 3, 3, 3)
    assert 0.3 < float(branch.weight.detach().abs().max()) <= 0.5


def test_an_encoder_of_your_own_is_passed_as_a_function() -> None:
    classifier = build_classifier(own_encoder, findings=2, crop=CROP, seed=0)
    assert classifier(torch.zeros(1, 1, *CROP))[1].shape == (1, 2, 2, 3, 4)


def test_a_crop_that_does_not_fit_is_refused_in_a_sentence() -> None:
    with pytest.raises(SettingsError, match="multiple of the patch"):
        build_classifier("vit_3d", findings=2, crop=(9, 16, 16), size=NetworkSize(width=8, patch=(4, 4, 4), heads=1), seed=0)


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="r3d_18, swin3d_t"):
        build_classifier("resnet", findings=2, crop=CROP, seed=0)


def test_pretrained_weights_reach_the_encoder_only(tmp_path: Path) -> None:
    given = build_classifier("r3d_18", findings=9, crop=CROP, size=SMALL, seed=7)
    torch.save({**given.backbone.state_dict(), "fc.weight": torch.zeros(400, 8)}, tmp_path / "kinetics.pth")
    fresh = build_classifier("r3d_18", findings=2, crop=CROP, size=SMALL, seed=0)
    read = build_classifier("r3d_18", findings=2, crop=CROP, size=SMALL, seed=0, pretrained=tmp_path / "kinetics.pth")
    own, pretrained, source = fresh.state_dict(), read.state_dict(), given.state_dict()
    assert torch.equal(pretrained["backbone.stem.0.weight"], own["backbone.stem.0.weight"])
    assert torch.equal(pretrained["linear.weight"], own["linear.weight"])
    assert torch.equal(pretrained["backbone.layer2.0.conv1.0.weight"], source["backbone.layer2.0.conv1.0.weight"])
