"""The training-only branch: a 1×1×1 convolution from features to one logit per structure."""

import math

import torch
from torch import nn


def build_branch(channels: int, structures: int, seed: int) -> nn.Conv3d:
    """Return the branch (Li et al. 2025: 1×1×1 convolution, upsampled in the loss).

    Its weights come from a generator of its own, so that a run with the branch and one without start with the
    same encoder and draw the same numbers afterwards.

    Parameters
    ----------
    channels
        Channels of the encoder's features.
    structures
        Structures including 0, the background.
    seed
        Seed of the run.
    """
    branch: nn.Conv3d = nn.utils.skip_init(nn.Conv3d, channels, structures, kernel_size=1)
    own = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(channels)
    with torch.no_grad():
        branch.weight.uniform_(-bound, bound, generator=own)
        assert branch.bias is not None
        branch.bias.zero_()
    return branch
