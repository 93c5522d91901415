import pytest
import torch
import torchvision.models.video as published

from espalier.geometry import Shape
from espalier.networks.backbones import BACKBONES, mvit_v2_s, r3d_18, swin3d_t
from espalier.networks.options import NetworkName, NetworkSize

SMALL = {
    "r3d_18": NetworkSize(width=4, depths=(1, 1)),
    "swin3d_t": NetworkSize(width=6, depths=(1, 1), patch=(4, 2, 2), heads=2),
    "mvit_v2_s": NetworkSize(width=8, depths=(1, 1), patch=(4, 2, 2), heads=1),
    "vit_3d": NetworkSize(width=12, depths=(2,), patch=(4, 4, 4), heads=2),
}
FIRST = ("stem.", "patch_embed.proj.", "conv_proj.", "fc.", "head.")


@pytest.mark.parametrize(("build", "theirs"), [(r3d_18, "r3d_18"), (swin3d_t, "swin3d_t"), (mvit_v2_s, "mvit_v2_s")])
def test_published_sizes_carry_torchvisions_names_and_shapes(build: object, theirs: str) -> None:
    with torch.device("meta"):
        own = build((96, 192, 192), NetworkSize())[0].state_dict()
        other = getattr(published, theirs)().state_dict()
    shapes = [{n: t.shape for n, t in d.items() if not n.startswith(FIRST) and "rel_pos" not in n} for d in (own, other)]
    assert shapes[0] == shapes[1]
    assert {n for n in own if "rel_pos" in n} == {n for n in other if "rel_pos" in n}


@pytest.mark.parametrize("name", ["r3d_18", "swin3d_t", "mvit_v2_s"])
def test_published_networks_reach_stride_16_on_every_axis(name: NetworkName) -> None:
    with torch.device("meta"):
        net, channels = BACKBONES[name]((32, 64, 64), NetworkSize())
        features = net.eval()(torch.zeros(1, 1, 32, 64, 64))
    assert features.shape == (1, channels, 2, 4, 4)


@pytest.mark.parametrize("name", list(SMALL))
def test_small_networks_return_their_features_on_the_grid(name: NetworkName) -> None:
    torch.manual_seed(0)
    net, channels = BACKBONES[name]((8, 16, 24), SMALL[name])
    features = net(torch.randn(2, 1, 8, 16, 24))
    strides = {"r3d_18": (4, 4, 4), "swin3d_t": (4, 4, 4), "mvit_v2_s": (4, 4, 4), "vit_3d": (4, 4, 4)}[name]
    assert features.shape == (2, channels, *(side // step for side, step in zip((8, 16, 24), strides, strict=True)))
    features.square().mean().backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] in ([], ["pos_encoding.class_token"])


@pytest.mark.parametrize("name", ["r3d_18", "swin3d_t", "mvit_v2_s", "vit_3d"])
def test_features_stand_where_the_voxels_are(name: NetworkName) -> None:
    torch.manual_seed(0)
    crop: Shape = (8, 16, 32)
    net, _ = BACKBONES[name](crop, SMALL[name])
    net = net.double().eval()
    plain = torch.zeros(1, 1, *crop, dtype=torch.float64)
    spot = plain.clone()
    spot[..., :4, :4, 28:] = 5
    changed = (net(spot) - net(plain)).abs().sum(1)[0]
    largest = (changed == changed.max()).nonzero()[0]
    corner = torch.tensor([0, 0, changed.shape[2] - 1])
    assert (largest - corner).abs().max() <= (1 if name == "r3d_18" else 0)


def test_a_residual_network_reads_any_crop() -> None:
    net, channels = r3d_18((7, 9, 11), SMALL["r3d_18"])
    assert net(torch.randn(2, 1, 7, 9, 11)).shape == (2, channels, 2, 2, 3)
