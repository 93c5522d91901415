from pathlib import Path

import pytest
import torch

from espalier.errors import InputError, MissingError
from espalier.networks.backbones import mvit_v2_s, r3d_18
from espalier.networks.options import NetworkSize
from espalier.networks.weights import load_pretrained, load_weights, save_weights

NARROW = NetworkSize(width=4, depths=(1, 1))


def test_weights_come_back_as_they_were_and_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    weights = {
        "b": torch.randn(3, 2).T,
        "a": torch.arange(4),
        "c": torch.randn(2, 3, 2, 2, 2).to(memory_format=torch.channels_last_3d),
    }
    save_weights(tmp_path / "one.safetensors", weights, key="k")
    save_weights(tmp_path / "two.safetensors", dict(reversed(weights.items())), key="k")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    back = load_weights(tmp_path / "one.safetensors")
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def test_missing_and_broken_weights_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="espalier train"):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="not readable as safetensors"):
        load_weights(tmp_path / "broken.safetensors")


def test_a_kinetics_stem_for_three_colours_is_left_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    given, own = (r3d_18((8, 8, 8), NARROW)[0] for _ in range(2))
    file = {**given.state_dict(), "stem.0.weight": torch.zeros(4, 3, 3, 7, 7), "fc.weight": torch.zeros(400, 8)}
    torch.save(file, tmp_path / "kinetics.pth")
    stem = own.state_dict()["stem.0.weight"].clone()
    load_pretrained(own, tmp_path / "kinetics.pth")
    assert torch.equal(own.state_dict()["stem.0.weight"], stem)
    assert torch.equal(own.state_dict()["layer1.0.conv1.0.weight"], given.state_dict()["layer1.0.conv1.0.weight"])


def test_weights_of_another_size_are_refused_by_name(tmp_path: Path) -> None:
    torch.save(r3d_18((8, 8, 8), NetworkSize(width=8, depths=(1, 1)))[0].state_dict(), tmp_path / "wide.pth")
    with pytest.raises(InputError, match="the first being layer1"):
        load_pretrained(r3d_18((8, 8, 8), NARROW)[0], tmp_path / "wide.pth")


def test_positions_of_another_grid_are_interpolated(tmp_path: Path) -> None:
    size = NetworkSize(width=8, depths=(1, 1), patch=(4, 2, 2))
    given, own = mvit_v2_s((8, 16, 16), size)[0], mvit_v2_s((16, 32, 32), size)[0]
    torch.save(given.state_dict(), tmp_path / "mvit.pth")
    load_pretrained(own, tmp_path / "mvit.pth")
    theirs, ours = given.blocks[0].attn.rel_pos_h, own.blocks[0].attn.rel_pos_h
    assert ours.shape[0] > theirs.shape[0]
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(ours[-1], theirs[-1])


def test_a_file_that_needs_code_to_be_read_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": Path("x")}, tmp_path / "pickle.pth")
    with pytest.raises(InputError, match="not readable as a plain state dict"):
        load_pretrained(r3d_18((8, 8, 8), NARROW)[0], tmp_path / "pickle.pth")
