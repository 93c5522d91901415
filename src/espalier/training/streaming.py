"""Upsampling and cross entropy in one pass over a few fine planes at a time; fine logits never exist as a whole.

With low-resolution logits s, upsampling U and mask y, z = U s and dL/ds = Uᵀ (softmax(z) − onehot(y)) / N, so loss
and gradient come from the same pass, and all that is kept for the backward pass is one tensor of the size of s.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from espalier.geometry import Shape
from espalier.training.upsampling import matrix, reach

FLOATS_AT_ONCE: Final = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Fine logits alive at once: about a core's share of the last-level cache, or enough to fill a GPU."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """What each voxel counts: its scan's weight times its structure's, 0 where ignored."""

    scans: Float[Tensor, " b"] | None = None
    structures: Float[Tensor, " s"] | None = None
    ignore_index: int | None = None

    @property
    def by_voxel(self) -> bool:
        """Whether voxels of one scan differ in weight."""
        return self.structures is not None or self.ignore_index is not None


class StreamedCrossEntropy(torch.autograd.Function):
    """Weighted mean of the cross entropy over all voxels; differentiable once."""

    @staticmethod
    def forward(  # noqa: D102 - torch's own protocol
        ctx: Any, logits: Tensor, target: Tensor, size: Shape, weighing: Weighing
    ) -> Tensor:
        work = torch.float64 if logits.dtype == torch.float64 else torch.float32
        with torch.autocast(logits.device.type, enabled=False):
            loss, gradient = _mean(logits.detach().to(work), target, size, weighing, wanted=ctx.needs_input_grad[0])
        if gradient is not None:
            # The logits are kept only so that a second derivative meets `_Once` instead of silently missing a term.
            ctx.save_for_backward(gradient.to(logits.dtype), logits)
        return loss.to(work)

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:  # noqa: D102 - torch's own protocol
        gradient, logits = ctx.saved_tensors
        return _Once.apply(gradient, logits, outer[0]), None, None, None


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, gradient: Tensor, _logits: Tensor, outer: Tensor) -> Tensor:
        return gradient * outer.to(gradient.dtype)

    @staticmethod
    def backward(_ctx: Any, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        raise NotImplementedError(
            'mask_loss(backend="torch") can be differentiated once only: use backend="reference" for second derivatives'
        )


def _mean(
    logits: Float[Tensor, "b s z y x"], target: Tensor, size: Shape, weighing: Weighing, *, wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the weighted mean in float64 and, where wanted, its gradient."""
    scans, structures = logits.shape[:2]
    budget = FLOATS_AT_ONCE["cpu" if logits.device.type == "cpu" else "cuda"]
    plane = structures * size[1] * size[2]
    planes = max(1, min(size[0], budget // plane))
    together = max(1, min(scans, budget // (plane * planes)))
    parts = []
    for first in range(0, scans, together):
        some = slice(first, first + together)
        parts.append(_sums(logits[some], target[some], size, weighing, group=planes, wanted=wanted))
    sums, voxels = torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
    each = torch.ones_like(sums) if weighing.scans is None else weighing.scans.to(sums)
    total = (each * voxels).sum()
    scale = torch.where(total > 0, 1 / total.clamp(min=torch.finfo(total.dtype).tiny), 0.0)
    loss = (each * sums).sum() * scale
    if not wanted:
        return loss, None
    gradient = torch.cat([p[2] for p in parts if p[2] is not None])
    return loss, gradient * (each * scale).view(-1, 1, 1, 1, 1)


def _sums(
    logits: Float[Tensor, "b s z y x"], target: Tensor, size: Shape, weighing: Weighing, *, group: int, wanted: bool
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"], Float[Tensor, "b s z y x"] | None]:
    """Return per scan the summed loss, the summed weight of its voxels, and the gradient of the summed loss."""
    scans, structures, depth = logits.shape[:3]
    along = [matrix(fine, low, logits.dtype, logits.device) for fine, low in zip(size, logits.shape[2:], strict=True)]
    # Rows and columns first: (z, b, s, Y·X), so that a group of fine planes is one product with a slim matrix.
    wide = (along[1] @ (logits @ along[2].T)).permute(2, 0, 1, 3, 4).reshape(depth, -1)
    gathered = torch.zeros_like(wide) if wanted else None
    sums = torch.zeros(scans, dtype=torch.float64, device=logits.device)
    counts = torch.zeros_like(sums)
    for fine, low in reach(size[0], depth, group):
        slab = along[0][fine, low]
        z = (slab @ wide[low]).view(len(slab), scans, structures, size[1] * size[2])
        loss, count, slope = _slab(z, target if target.dim() == 5 else target[:, fine], weighing)
        sums += loss
        counts += count
        if gathered is not None:
            gathered[low].addmm_(slab.T, slope.view(len(slab), -1))
    gradient = None
    if gathered is not None:
        grid = gathered.view(depth, scans, structures, size[1], size[2]).permute(1, 2, 0, 3, 4)
        gradient = along[1].T.double() @ (grid @ along[2]).double()
    if target.dim() == 5:
        sums = sums - (logits.double() * target.double()).sum(dim=(1, 2, 3, 4))
        gradient = None if gradient is None else gradient - target.double()
    return sums, counts, gradient


def _slab(
    z: Float[Tensor, "p b s n"], target: Tensor, weighing: Weighing
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"] | float, Float[Tensor, "p b s n"]]:
    """Return per scan the loss and the weight in these planes, and the slope by z (which may reuse the memory of z)."""
    planes, _, _, voxels = z.shape
    if target.dim() == 5:
        # The linear term is taken from the adjoint at the end; here stands the log-sum-exp, z − log softmax(z).
        first = z[:, :, 0].sum(dim=(0, 2), dtype=torch.float64)
        log_p = torch.log_softmax(z, 2)
        return first - log_p[:, :, 0].sum(dim=(0, 2), dtype=torch.float64), float(planes * voxels), log_p.exp_()
    index = target.transpose(0, 1).reshape(planes, -1, 1, voxels).long()
    weight = None
    if weighing.by_voxel:
        index, weight = _weights(index, z, weighing)
    p = torch.softmax(z, 2)
    chosen = p.gather(2, index)
    if chosen.amin() > torch.finfo(z.dtype).tiny:
        loss = chosen.log_().neg_()
    else:
        loss = torch.log_softmax(z, 2).gather(2, index).neg_()
    slope = p.scatter_add_(2, index, p.new_full((1,), -1.0).expand(index.shape))
    if weight is None:
        return loss.sum(dim=(0, 2, 3), dtype=torch.float64), float(planes * voxels), slope
    sums = (loss * weight).sum(dim=(0, 2, 3), dtype=torch.float64)
    return sums, weight.sum(dim=(0, 2, 3), dtype=torch.float64), slope.mul_(weight)


def _weights(
    index: Int[Tensor, "p b 1 n"], z: Tensor, weighing: Weighing
) -> tuple[Int[Tensor, "p b 1 n"], Float[Tensor, "p b 1 n"]]:
    """Return the index with ignored voxels turned to background, and each voxel's weight."""
    weight = torch.ones_like(index, dtype=z.dtype)
    if weighing.ignore_index is not None:
        ignored = index == weighing.ignore_index
        index = index.masked_fill(ignored, 0)
        weight = weight.masked_fill(ignored, 0)
    if weighing.structures is not None:
        weight = weight * weighing.structures.to(z)[index]
    return index, weight
