"""The label loss: binary cross entropy with a target and a weight for each scan and finding (Li et al. 2025, L_cls)."""

import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from jaxtyping import Float
from torch import Tensor


def label_loss(logits: Float[Tensor, "b f"], targets: Float[Tensor, "b f"], weights: Float[Tensor, "b f"]) -> Float[Tensor, ""]:
    """Return the weighted mean of the binary cross entropy, in nats: Σ w l / Σ w, and 0 where every weight is 0.

    Parameters
    ----------
    logits
        Of any float type; computed in float32.
    targets
        In [0, 1].
    weights
        0 where a report says nothing.
    """
    each = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    total = weights.sum()
    return (each * weights).sum() / total.where(total > 0, total.new_ones(()))
