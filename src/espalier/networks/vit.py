"""A plain pre-norm vision transformer over 3D patches; its tokens return to their grid."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor, nn

from espalier.geometry import Shape

MLP_RATIO = 3


class PlainViT(nn.Module):
    """Patch embedding, learned positions, pre-norm blocks, last LayerNorm (Dosovitskiy 2020).

    Parameters
    ----------
    crop
        Shape (z, y, x) that every input must have, a multiple of `patch`.
    patch
        Voxels along z, y, x per token.
    width
        Channels of a token.
    depth
        Number of blocks.
    heads
        Attention heads.
    """

    def __init__(self, crop: Shape, *, patch: Shape, width: int, depth: int, heads: int) -> None:
        super().__init__()
        z, y, x = (side // step for side, step in zip(crop, patch, strict=True))
        self.proj = nn.Conv3d(1, width, kernel_size=patch, stride=patch)
        self.position = nn.Parameter(torch.empty(1, width, z, y, x))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        nn.init.trunc_normal_(self.position, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b c Z Y X"]:
        """Return the features on the grid of patches."""
        embedded = self.proj(x) + self.position
        tokens = self.norm(self.blocks(embedded.flatten(2).transpose(1, 2)))
        return tokens.transpose(1, 2).unflatten(2, embedded.shape[2:])


class Block(nn.Module):
    """Attention and a two-layer perceptron, each behind a LayerNorm and beside a shortcut."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, MLP_RATIO * width), nn.GELU(), nn.Linear(MLP_RATIO * width, width))

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Return the tokens after attention over all of them."""
        split = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.project(mixed.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm2(tokens))
