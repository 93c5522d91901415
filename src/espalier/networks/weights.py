"""Weights on disk: safetensors out and in, and torchvision's Kinetics files in."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import safetensors.torch
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from safetensors import SafetensorError
from torch import Tensor, nn

from espalier.errors import InputError, MissingError
from espalier.outputs import stamp, written_whole

FIRST_LAYERS: Final = ("stem.", "patch_embed.proj.", "conv_proj.")
"""What reads three colour channels in torchvision's networks; replaced, so never read (Li et al. 2025, appendix)."""
CLASSIFIERS: Final = ("fc.", "head.")
POSITIONS: Final = ("rel_pos_h", "rel_pos_w", "rel_pos_t")


def save_weights(path: Path, weights: Mapping[str, Tensor], *, key: str = "") -> None:
    """Write a state dict as safetensors, whole or not at all; equal weights give equal bytes."""
    plain = {name: weights[name].detach().cpu().contiguous() for name in sorted(weights)}
    with written_whole(path) as partial:
        safetensors.torch.save_file(plain, partial, metadata={"espalier": json.dumps(stamp("run", key))})


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; raise `MissingError` or `InputError`."""
    if not path.is_file():
        raise MissingError(path, found="no such file", expected="weights as safetensors", do="Run `espalier train` first.")
    try:
        return dict(safetensors.torch.load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputError(path, found="not readable as safetensors", do="Train again, or copy the file again.") from error


def load_pretrained(backbone: nn.Module, path: Path) -> None:
    """Put pretrained weights into an encoder; its first layer keeps the weights it was drawn with.

    Relative positions learned on another grid are interpolated linearly onto this one, as MViT itself does.

    Raises
    ------
    MissingError
        When there is no such file.
    InputError
        When the file is no state dict, or one of another network or size.
    """
    given = _state_dict(path)
    wanted = backbone.state_dict()
    own = {name for name in wanted if name.startswith(FIRST_LAYERS)}
    fitted = {
        name: _on_grid(name, tensor, wanted)
        for name, tensor in given.items()
        if not name.startswith((*FIRST_LAYERS, *CLASSIFIERS))
    }
    odd = sorted(n for n in wanted.keys() - own if n not in fitted or fitted[n].shape != wanted[n].shape)
    odd += sorted(fitted.keys() - wanted.keys())
    if odd:
        raise InputError(
            path,
            found=f"{len(odd)} tensors do not fit, the first being {odd[0]}",
            expected="weights of the same network in the same size",
            do="Name the file for this network, or leave out network_size.",
        )
    backbone.load_state_dict({**{name: wanted[name] for name in own}, **fitted})


def _state_dict(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        loaded = load_weights(path)
    elif not path.is_file():
        raise MissingError(path, found="no such file", expected="a state dict", do="Download the weights to this place first.")
    else:
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise InputError(
                path, found="not readable as a plain state dict", do="Use the file that torchvision publishes."
            ) from error
    own = {name.removeprefix("backbone."): tensor for name, tensor in loaded.items() if name.startswith("backbone.")}
    return own or loaded


def _on_grid(name: str, tensor: Tensor, wanted: Mapping[str, Tensor]) -> Tensor:
    if not name.endswith(POSITIONS) or name not in wanted or tensor.shape == wanted[name].shape:
        return tensor
    length = wanted[name].shape[0]
    return F.interpolate(tensor.T[None], size=length, mode="linear")[0].T
