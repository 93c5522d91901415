"""Names and sizes of the networks; nothing here loads torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from espalier.geometry import Shape

NetworkName = Literal["r3d_18", "swin3d_t", "mvit_v2_s", "vit_3d"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSize:
    """How wide and deep a network is; what is left None is as published.

    Parameters
    ----------
    width
        Channels after the first layer; every later stage doubles them (a plain ViT keeps them).
    depths
        Blocks per stage; a plain ViT has one stage. The first stage of a residual network may have none: its stem goes
        straight to the second, which saves most of the time on small crops.
    patch
        Voxels along z, y, x that become one token; residual networks have none.
    heads
        Attention heads of the first stage, doubled where the channels are; residual networks have none.
    """

    width: int | None = None
    depths: tuple[int, ...] | None = None
    patch: tuple[int, int, int] | None = None
    heads: int | None = None

    def __post_init__(self) -> None:
        if self.width is not None and self.width < 1:
            raise ValueError(f"width is {self.width}: a network needs at least one channel")
        if self.depths is not None and (not self.depths or self.depths[0] < 0 or sum(self.depths) < 1 or 0 in self.depths[1:]):
            raise ValueError(f"depths is {self.depths}: name at least one stage; only the first may have no block")
        if self.patch is not None and min(self.patch) < 1:
            raise ValueError(f"patch is {self.patch}: each side must be at least one voxel")
        if self.heads is not None and self.heads < 1:
            raise ValueError(f"heads is {self.heads}: attention needs at least one head")


PUBLISHED: Final[Mapping[NetworkName, NetworkSize]] = {
    "r3d_18": NetworkSize(width=64, depths=(2, 2, 2, 2)),
    "swin3d_t": NetworkSize(width=96, depths=(2, 2, 6, 2), patch=(16, 2, 2), heads=3),
    "mvit_v2_s": NetworkSize(width=96, depths=(1, 2, 11, 2), patch=(16, 2, 2), heads=1),
    "vit_3d": NetworkSize(width=384, depths=(12,), patch=(16, 16, 16), heads=6),
}
"""Swin and MViT as in Li et al. 2025, appendix; their patch 16×2×2 is along z, y, x, so that each reaches stride 16."""


@dataclass(frozen=True, slots=True)
class FullSize:
    """A size with nothing left open; residual networks carry a patch of one voxel and no heads."""

    width: int
    depths: tuple[int, ...]
    patch: tuple[int, int, int]
    heads: int


def full_size(name: NetworkName, size: NetworkSize) -> FullSize:
    """Return `size` with the published values where it is silent; heads follow the width at the published ratio.

    Raises
    ------
    ValueError
        When the network cannot be built in this size.
    """
    published = PUBLISHED[name]
    assert published.width is not None
    assert published.depths is not None
    width = size.width or published.width
    depths = size.depths or published.depths
    if published.patch is None or published.heads is None:
        _refuse_attention(name, size)
        return FullSize(width, depths, (1, 1, 1), 0)
    if depths[0] == 0:
        raise ValueError(f"depths is {depths}: only r3d_18 may have a first stage without blocks")
    heads = size.heads or max(1, width * published.heads // published.width)
    if width % heads:
        raise ValueError(f"heads is {heads}: the width {width} is not a multiple of it")
    if name == "vit_3d" and len(depths) != 1:
        raise ValueError(f"depths is {depths}: vit_3d has one stage, so one number")
    if name != "vit_3d" and sum(depths) < 2:
        raise ValueError(f"depths is {depths}: {name} needs at least two blocks in all")
    return FullSize(width, depths, size.patch or published.patch, heads)


def _refuse_attention(name: NetworkName, size: NetworkSize) -> None:
    for field, value in (("patch", size.patch), ("heads", size.heads)):
        if value is not None:
            raise ValueError(f"{field} is {value}: {name} is a residual network and has none")


def misfit(name: NetworkName, size: NetworkSize, crop: Shape) -> str:
    """Return why a network cannot read crops of this shape, in a sentence; empty where it can."""
    if name == "r3d_18":
        return "" if min(crop) >= 2 else f"crop is {crop}: {name} needs at least 2 voxels along each axis"
    patch = full_size(name, size).patch
    if any(side % step or side < step for side, step in zip(crop, patch, strict=True)):
        return f"crop is {crop}: along z, y, x it must be a multiple of the patch {patch} of {name}"
    return ""
