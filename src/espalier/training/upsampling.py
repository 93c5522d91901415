"""Trilinear upsampling as three small matrices, `align_corners=False`, so that sums over the fine grid can be streamed."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@lru_cache(maxsize=64)
def weights(fine: int, low: int) -> Float[np.ndarray, "fine low"]:
    """Return the weight of each low-resolution node in each fine voxel along one axis; every row sums to 1.

    The rule of `torch.nn.functional.interpolate`, in float64: centres are aligned, the border is clamped, and a
    smaller fine grid takes plain samples.
    """
    at = np.clip((np.arange(fine) + 0.5) * (low / fine) - 0.5, 0, None)
    before = np.minimum(np.floor(at).astype(np.int64), low - 1)
    after = np.minimum(before + 1, low - 1)
    share = at - before
    matrix = np.zeros((fine, low))
    np.add.at(matrix, (np.arange(fine), before), 1 - share)
    np.add.at(matrix, (np.arange(fine), after), share)
    return matrix


@lru_cache(maxsize=64)
def matrix(fine: int, low: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "fine low"]:
    """Return `weights` as a tensor."""
    with torch.inference_mode(mode=False):
        return torch.from_numpy(weights(fine, low)).to(device=device, dtype=dtype)


@lru_cache(maxsize=64)
def reach(fine: int, low: int, group: int) -> tuple[tuple[slice, slice], ...]:
    """Return for each group of neighbouring fine planes the planes and the low-resolution planes they touch."""
    touched = weights(fine, low) > 0
    groups = []
    for start in range(0, fine, group):
        planes = slice(start, min(start + group, fine))
        nodes = np.flatnonzero(touched[planes].any(axis=0))
        groups.append((planes, slice(int(nodes[0]), int(nodes[-1]) + 1)))
    return tuple(groups)
