"""What is deployed: encoder, global average pooling, one linear layer; and where its logits come from."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from espalier.errors import SettingsError
from espalier.geometry import Shape
from espalier.networks.backbones import BACKBONES, BuildBackbone
from espalier.networks.options import NetworkName, NetworkSize, misfit
from espalier.networks.weights import load_pretrained

Logits = Float[Tensor, "b f"]
Maps = Float[Tensor, "b f Z Y X"]
Features = Float[Tensor, "b c Z Y X"]


class Classifier(nn.Module):
    """An encoder with a linear classifier on its pooled features (Li et al. 2025).

    Parameters
    ----------
    backbone
        Maps (b, 1, z, y, x) to features (b, c, z', y', x').
    channels
        Channels c of the features.
    findings
        Logits per scan.
    """

    def __init__(self, backbone: nn.Module, *, channels: int, findings: int) -> None:
        super().__init__()
        self.channels = channels
        self.backbone = backbone
        self.linear = nn.Linear(channels, findings)
        nn.init.normal_(self.linear.weight, 0, 0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Float[Tensor, "b 1 z y x"]) -> tuple[Logits, Maps]:
        """Return logits and activation maps of scaled voxels."""
        return self.classify(self.features(x))

    def features(self, x: Float[Tensor, "b 1 z y x"]) -> Features:
        """Return the encoder's features at its lowest resolution."""
        features: Tensor = self.backbone(x)
        return features

    def classify(self, features: Features) -> tuple[Logits, Maps]:
        """Return logits, and the linear layer applied at each position: the mean of a map is its logit."""
        logits = self.linear(features.mean(dim=(2, 3, 4)))
        maps = nn.functional.conv3d(features, self.linear.weight[:, :, None, None, None], self.linear.bias)
        return logits, maps


def build_classifier(
    name: NetworkName | BuildBackbone,
    *,
    findings: int,
    crop: Shape,
    size: NetworkSize = NetworkSize(),  # noqa: B008 - frozen
    pretrained: Path | None = None,
    seed: int,
) -> Classifier:
    """Return a classifier with weights drawn from `seed`, or read from a file where they fit.

    The global random state is left as it was.

    Parameters
    ----------
    name
        A network's name, or a function that builds an encoder of your own.
    findings
        Logits per scan.
    crop
        Shape (z, y, x) that it will read.
    size
        Width, depths, patch and heads.
    pretrained
        A local state dict of torchvision's Kinetics weights for the same network, or an encoder written by Espalier.
    seed
        Seed of the run.

    Raises
    ------
    SettingsError
        When the network cannot be built in this size, or cannot read this crop.
    """
    if not callable(name):
        _check(name, size, crop)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        backbone, channels = (name if callable(name) else BACKBONES[name])(crop, size)
        classifier = Classifier(backbone, channels=channels, findings=findings)
    if pretrained is not None:
        load_pretrained(classifier.backbone, pretrained)
    return classifier


def _check(name: NetworkName, size: NetworkSize, crop: Shape) -> None:
    if name not in BACKBONES:
        raise SettingsError("network", found=f"no network {name!r}", expected=", ".join(BACKBONES), do="Name one of these.")
    try:
        reason = misfit(name, size, crop)
    except ValueError as error:
        raise SettingsError("network_size", found=str(error), do="Correct the size, or leave it out.") from error
    if reason:
        raise SettingsError("crop", found=reason, do="Choose another crop or patch.")
