"""The encoders: one function per network, from a crop's shape and a size to a module that returns features.

Every module maps (b, 1, z, y, x) to (b, c, z', y', x') at its lowest resolution: no pooling, no classifier.
At published size the state dicts carry torchvision's names, so that its Kinetics weights can be read.
"""

from collections.abc import Callable, Mapping
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.models.video.mvit import MSBlockConfig, MViT
from torchvision.models.video.resnet import BasicBlock, Conv3DSimple
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from espalier.geometry import Shape
from espalier.networks.options import NetworkName, NetworkSize, full_size
from espalier.networks.vit import PlainViT

BuildBackbone = Callable[[Shape, NetworkSize], tuple[nn.Module, int]]
"""A function of (crop, size) that returns a module and the number of channels of its features."""


def r3d_18(crop: Shape, size: NetworkSize) -> tuple[nn.Module, int]:
    """Build torchvision's 3D ResNet with a 1-channel stem of kernel and stride 2 (Li et al. 2025); reads any crop."""
    del crop
    chosen = full_size("r3d_18", size)
    channels = chosen.width
    net = nn.Sequential()
    stem = nn.Conv3d(1, channels, kernel_size=2, stride=2, bias=False)
    net.add_module("stem", nn.Sequential(stem, nn.BatchNorm3d(channels), nn.ReLU(inplace=True)))
    for stage, blocks in enumerate(chosen.depths):
        wider = chosen.width * 2**stage
        net.add_module(f"layer{stage + 1}", _residual_stage(channels, wider, blocks, stride=1 if stage == 0 else 2))
        channels = wider
    for module in net.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net, channels


def _residual_stage(channels: int, wider: int, blocks: int, *, stride: int) -> nn.Sequential:
    if blocks == 0:
        return nn.Sequential()
    shortcut = None
    if stride != 1 or channels != wider:
        convolution = nn.Conv3d(channels, wider, kernel_size=1, stride=stride, bias=False)
        shortcut = nn.Sequential(convolution, nn.BatchNorm3d(wider))
    first = BasicBlock(channels, wider, Conv3DSimple, stride, shortcut)
    return nn.Sequential(first, *(BasicBlock(wider, wider, Conv3DSimple) for _ in range(blocks - 1)))


class _Swin(SwinTransformer3d):
    """torchvision's Swin3D up to its last norm."""

    def forward(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b c Z Y X"]:
        tokens = self.norm(self.features(self.pos_drop(self.patch_embed(x))))
        return torch.movedim(tokens, -1, 1)


def swin3d_t(crop: Shape, size: NetworkSize) -> tuple[nn.Module, int]:
    """Build torchvision's Swin3D-T with a 1-channel patch embedding (Li et al. 2025, appendix)."""
    del crop
    chosen = full_size("swin3d_t", size)

    def patches(**kwargs: object) -> nn.Module:
        return PatchEmbed3d(in_channels=1, **kwargs)

    net = _Swin(
        patch_size=list(chosen.patch),
        embed_dim=chosen.width,
        depths=list(chosen.depths),
        num_heads=[chosen.heads * 2**stage for stage in range(len(chosen.depths))],
        window_size=[8, 7, 7],
        stochastic_depth_prob=0.1,
        patch_embed=patches,
    )
    del net.head, net.avgpool
    return net, int(net.num_features)


class _MViT(MViT):
    """torchvision's MViT up to its last norm; the class token is left out and the others return to their grid."""

    def forward(self, x: Float[Tensor, "b 1 z y x"]) -> Float[Tensor, "b c Z Y X"]:
        tokens = self.pos_encoding(self.conv_proj(x).flatten(2).transpose(1, 2))
        grid = (self.pos_encoding.temporal_size, *self.pos_encoding.spatial_size)
        for block in self.blocks:
            tokens, grid = block(tokens, grid)
        return self.norm(tokens)[:, 1:].transpose(1, 2).unflatten(2, grid)


def mvit_v2_s(crop: Shape, size: NetworkSize) -> tuple[nn.Module, int]:
    """Build torchvision's MViT-v2-S with a 1-channel 3D projection; its positions follow from the crop."""
    chosen = full_size("mvit_v2_s", size)
    net = _MViT(
        spatial_size=crop[1:],
        temporal_size=crop[0],
        block_setting=_mvit_blocks(chosen.width, chosen.depths, chosen.heads),
        residual_pool=True,
        residual_with_cls_embed=False,
        rel_pos_embed=True,
        proj_after_attn=True,
        stochastic_depth_prob=0.2,
        patch_embed_kernel=chosen.patch,
        patch_embed_stride=chosen.patch,
        patch_embed_padding=(0, 0, 0),
    )
    net.conv_proj = nn.Conv3d(1, chosen.width, kernel_size=chosen.patch, stride=chosen.patch)
    del net.head
    return net, chosen.width * 2 ** (len(chosen.depths) - 1)


def _mvit_blocks(width: int, depths: tuple[int, ...], heads: int) -> list[MSBlockConfig]:
    """Return the blocks; at published depths they equal torchvision's table for `mvit_v2_s`."""
    blocks = []
    for stage, depth in enumerate(depths):
        key_stride = max(1, 2 ** (len(depths) - 1 - stage))
        for number in range(depth):
            narrows = stage > 0 and number == 0
            blocks.append(
                MSBlockConfig(
                    num_heads=heads * 2**stage,
                    input_channels=width * 2 ** (stage - 1 if narrows else stage),
                    output_channels=width * 2**stage,
                    kernel_q=[3, 3, 3],
                    kernel_kv=[3, 3, 3],
                    stride_q=[1, 2, 2] if narrows else [1, 1, 1],
                    stride_kv=[1, key_stride, key_stride],
                )
            )
    return blocks


def vit_3d(crop: Shape, size: NetworkSize) -> tuple[nn.Module, int]:
    """Build a plain ViT over 3D patches (Dosovitskiy 2020), its position table made for the crop."""
    chosen = full_size("vit_3d", size)
    net = PlainViT(crop, patch=chosen.patch, width=chosen.width, depth=chosen.depths[0], heads=chosen.heads)
    return net, chosen.width


BACKBONES: Final[Mapping[NetworkName, BuildBackbone]] = {
    "r3d_18": r3d_18,
    "swin3d_t": swin3d_t,
    "mvit_v2_s": mvit_v2_s,
    "vit_3d": vit_3d,
}
