"""The mask loss: voxel-wise cross entropy between the upsampled branch and the masks (Li et al. 2025, L_seg)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float, Int
from torch import Tensor

from espalier.geometry import Shape
from espalier.training.streaming import StreamedCrossEntropy, Weighing
from espalier.training.upsampling import matrix

Kind = Literal["ce"]
Backend = Literal["reference", "torch"]
NO_INDEX: Final = -100
"""What `torch.nn.functional.cross_entropy` ignores by default; no mask holds it."""


@dataclass(frozen=True, slots=True)
class SoftTarget:
    """Masks seen from the low-resolution grid: T = Uᵀ onehot(masks), all that the loss needs of them.

    `adjoint` has shape (b, s, z, y, x) and sums to the number of fine voxels; `size` is the shape of the masks.
    """

    adjoint: Float[Tensor, "b s z y x"]
    size: Shape


def mask_loss(
    logits: Float[Tensor, "b s z y x"],
    masks: Int[Tensor, "b Z Y X"] | SoftTarget,
    *,
    kind: Kind = "ce",
    ignore_index: int | None = None,
    class_weights: Sequence[float] | Tensor | None = None,
    scan_weights: Sequence[float] | Tensor | None = None,
    backend: Backend = "torch",
) -> Float[Tensor, ""]:
    """Return the cross entropy, in nats, of the trilinearly upsampled logits against the masks.

    The value is the weighted mean over all voxels of the batch that are not ignored, each weighted by its scan's and
    its structure's weight: Σ w l / Σ w, and 0 where every weight is 0.

    Parameters
    ----------
    logits
        The branch at the encoder's lowest resolution, one channel per structure, 0 = background; any float type, computed
        in float32 (float64 stays), with autocast off.
    masks
        Structure numbers at the input's resolution, any integer type (uint8 is read as it is), or a `SoftTarget`.
    kind
        `ce`, cross entropy.
    ignore_index
        Voxels of this value do not count.
    class_weights
        One weight per structure, background first.
    scan_weights
        One weight per scan; scans of weight 0 are not computed.
    backend
        `torch` streams (exact, differentiable once); `reference` is the published form, `F.interpolate` and
        `F.cross_entropy`, with the fine logits in memory.

    Raises
    ------
    ValueError
        When shapes disagree, a mask holds a value that has no channel, or a kind or backend is not known.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}: only 'ce' is there")
    if backend not in get_args(Backend):
        raise ValueError(f"backend is {backend!r}: only {', '.join(get_args(Backend))} are there")
    weighing = Weighing(
        scans=_tensor(scan_weights, logits, len(logits), "scan_weights"),
        structures=_tensor(class_weights, logits, logits.shape[1], "class_weights"),
        ignore_index=ignore_index,
    )
    _check(logits, masks, weighing)
    if weighing.scans is not None:
        counted = weighing.scans.nonzero()[:, 0]
        if len(counted) == 0:
            return logits.float().sum() * 0
        if len(counted) < len(logits):
            logits, masks = logits[counted], _some(masks, counted)
            weighing = replace(weighing, scans=weighing.scans[counted])
    return _reference(logits, masks, weighing) if backend == "reference" else _streamed(logits, masks, weighing)


def soft_target(
    masks: Int[Tensor, "b Z Y X"], *, structures: int, grid: Shape, dtype: torch.dtype = torch.float32
) -> SoftTarget:
    """Return masks as the low-resolution grid sees them.

    Parameters
    ----------
    masks
        Structure numbers below `structures`.
    structures
        Channels of the branch, background included.
    grid
        Shape of the encoder's lowest resolution.
    dtype
        Of the result; sums are taken in it too.
    """
    size = (masks.shape[1], masks.shape[2], masks.shape[3])
    z, y, x = (matrix(fine, low, dtype, masks.device) for fine, low in zip(size, grid, strict=True))
    planes = [torch.einsum("zd,bdyx->bzyx", z.T, y.T @ ((masks == value).to(dtype) @ x)) for value in range(structures)]
    return SoftTarget(torch.stack(planes, 1), size)


def _streamed(logits: Tensor, masks: Tensor | SoftTarget, weighing: Weighing) -> Tensor:
    target, size = (masks.adjoint, masks.size) if isinstance(masks, SoftTarget) else (masks, tuple(masks.shape[1:]))
    loss: Tensor = StreamedCrossEntropy.apply(logits, target, size, weighing)
    return loss


def _reference(logits: Tensor, masks: Tensor | SoftTarget, weighing: Weighing) -> Tensor:
    work = torch.float64 if logits.dtype == torch.float64 else torch.float32
    with torch.autocast(logits.device.type, enabled=False):
        low = logits.to(work)
        size = masks.size if isinstance(masks, SoftTarget) else masks.shape[1:]
        fine = F.interpolate(low, size=tuple(size), mode="trilinear", align_corners=False)
        each = torch.ones(len(low), dtype=work, device=low.device) if weighing.scans is None else weighing.scans.to(low)
        if isinstance(masks, SoftTarget):
            sums = torch.logsumexp(fine, 1).sum(dim=(1, 2, 3)) - (low * masks.adjoint.to(low)).sum(dim=(1, 2, 3, 4))
            return (each * sums).sum() / (each.sum() * fine[0, 0].numel())
        target = masks.long()
        ignored = NO_INDEX if weighing.ignore_index is None else weighing.ignore_index
        structures = None if weighing.structures is None else weighing.structures.to(low)
        if weighing.scans is None and (weighing.ignore_index is None or bool((target != ignored).any())):
            return F.cross_entropy(fine, target, weight=structures, ignore_index=ignored)
        loss = F.cross_entropy(fine, target, weight=structures, ignore_index=ignored, reduction="none")
        kept = target != ignored
        weight = kept.to(work) if structures is None else structures[target.where(kept, 0)] * kept
        total = (each * weight.sum(dim=(1, 2, 3))).sum()
        return (each * loss.sum(dim=(1, 2, 3))).sum() / torch.where(total > 0, total, 1.0)


def _tensor(values: Sequence[float] | Tensor | None, like: Tensor, length: int, name: str) -> Tensor | None:
    if values is None:
        return None
    tensor = torch.as_tensor(values, dtype=torch.float64).to(like.device).detach()
    if tensor.shape != (length,):
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}: one weight for each of {length} is needed")
    if bool((tensor < 0).any()):
        raise ValueError(f"{name} holds a negative weight")
    return tensor


def _check(logits: Tensor, masks: Tensor | SoftTarget, weighing: Weighing) -> None:
    if logits.dim() != 5 or not logits.is_floating_point():
        raise ValueError(f"logits has shape {tuple(logits.shape)} and type {logits.dtype}: floats (b, s, z, y, x) are needed")
    if isinstance(masks, SoftTarget):
        if weighing.by_voxel:
            raise ValueError("a SoftTarget knows no single voxels: give the masks for ignore_index or class_weights")
        if masks.adjoint.shape != logits.shape:
            raise ValueError(f"the SoftTarget has shape {tuple(masks.adjoint.shape)}, the logits {tuple(logits.shape)}")
        return
    if masks.dim() != 4 or masks.is_floating_point() or len(masks) != len(logits):
        found = f"masks has shape {tuple(masks.shape)} and type {masks.dtype}"
        raise ValueError(f"{found}: integers (b, Z, Y, X) with b = {len(logits)} are needed")
    counted = masks if weighing.ignore_index is None else masks.where(masks != weighing.ignore_index, 0)
    if counted.numel():
        low, high = (int(value) for value in torch.aminmax(counted))
        if low < 0 or high >= logits.shape[1]:
            raise ValueError(f"masks holds the value {low if low < 0 else high}, but logits has {logits.shape[1]} channels")


def _some(masks: Tensor | SoftTarget, counted: Tensor) -> Tensor | SoftTarget:
    return SoftTarget(masks.adjoint[counted], masks.size) if isinstance(masks, SoftTarget) else masks[counted]
