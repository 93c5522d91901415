"""One step: from a batch to new weights."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from espalier.labels.probabilities import derives_any_injury, outputs_of
from espalier.networks.branch import build_branch
from espalier.networks.classifier import Classifier, build_classifier
from espalier.training.crops import Batch, class_weights
from espalier.training.device import chosen_dtype
from espalier.training.inputs import Inputs
from espalier.training.label_loss import label_loss
from espalier.training.mask_loss import mask_loss
from espalier.training.options import TrainingOptions
from espalier.training.trauma_loss import Grades, grades_of, trauma_loss


@dataclass(frozen=True, slots=True)
class Learner:
    """A classifier, the branch where masks are learned, and the optimiser of both."""

    classifier: Classifier
    branch: nn.Conv3d | None
    optimiser: torch.optim.Optimizer
    device: torch.device
    dtype: torch.dtype
    structure_weights: Float[Tensor, " s"] | None = None
    grades: Grades | None = None
    parameters: list[nn.Parameter] = field(default_factory=list)

    def state(self) -> dict[str, Any]:
        """Return all that changes in training, as tensors and plain values."""
        return {
            "classifier": self.classifier.state_dict(),
            "branch": None if self.branch is None else self.branch.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` returned."""
        self.classifier.load_state_dict(state["classifier"])
        if self.branch is not None:
            self.branch.load_state_dict(state["branch"])
        self.optimiser.load_state_dict(state["optimiser"])


def build_learner(inputs: Inputs, options: TrainingOptions, *, seed: int, device: torch.device) -> Learner:
    """Return a learner before its first step.

    The classifier is drawn first and from a state of its own, so that it is the same with and without a branch.
    """
    classifier = build_classifier(
        options.network,
        findings=outputs_of(inputs.findings),
        crop=options.crop,
        size=options.network_size,
        pretrained=inputs.pretrained,
        seed=seed,
    )
    # oneDNN computes in channels-last blocks: given so, it need not reorder (a narrow r3d_18 step takes 0.7 of the time).
    classifier = classifier.to(device=device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # its stub lacks 3D
    branch = None
    balance = None
    if inputs.structures:
        branch = build_branch(classifier.channels, len(inputs.structures) + 1, seed).to(device)
        if power := options.supervision.class_balance:
            balance = torch.from_numpy(class_weights(inputs, power))
    parameters = [*classifier.parameters(), *(branch.parameters() if branch is not None else ())]
    optimiser = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True)
    dtype = chosen_dtype(options.precision, device)
    grades = grades_of(inputs.findings) if derives_any_injury(inputs.findings) else None
    return Learner(classifier, branch, optimiser, device, dtype, balance, grades, parameters)


def learn(learner: Learner, batch: Batch, options: TrainingOptions, *, rate: float, draws: int) -> Float[Tensor, "3"]:
    """Change the weights by one step; return label loss, mask loss and the norm of the gradient before clipping.

    Parameters
    ----------
    learner
        Changed in place.
    batch
        On any device.
    options
        Of the run.
    rate
        Learning rate of this step.
    draws
        Seed of all that the network draws.
    """
    batch = batch.to(learner.device)
    torch.manual_seed(draws)
    learner.classifier.train()
    with torch.autocast(learner.device.type, dtype=learner.dtype, enabled=learner.dtype != torch.float32):
        features = learner.classifier.features(batch.voxels)
        logits, _ = learner.classifier.classify(features)
    of_labels = loss_of_labels(learner, logits, batch.targets, batch.weights)
    of_masks = _mask_loss(learner, features, batch, options)
    loss = of_labels if of_masks is None else of_labels + options.supervision.weight * of_masks
    learner.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    largest = options.clip_norm or float("inf")
    norm = nn.utils.clip_grad_norm_(learner.parameters, largest)
    for group in learner.optimiser.param_groups:
        group["lr"] = rate
    learner.optimiser.step()
    shown = of_labels.new_zeros(()) if of_masks is None else of_masks
    return torch.stack((of_labels.detach(), shown.detach(), norm.detach().to(of_labels)))


def loss_of_labels(learner: Learner, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the label loss that the findings ask for: binary, or graded where grades exclude each other."""
    if learner.grades is None:
        return label_loss(logits, targets, weights)
    return trauma_loss(logits, targets, weights, learner.grades)


def _mask_loss(learner: Learner, features: Tensor, batch: Batch, options: TrainingOptions) -> Tensor | None:
    if learner.branch is None:
        return None
    # In float32: the branch is next to free, and bfloat16 logits would cost accuracy in every upsampled voxel.
    anatomy: Tensor = learner.branch(features.float())
    if batch.masks is None:
        return anatomy.sum() * 0
    return mask_loss(
        anatomy,
        batch.masks,
        kind=options.supervision.kind,
        class_weights=learner.structure_weights,
        scan_weights=batch.mask_weights if bool((batch.mask_weights != 1).any()) else None,
        backend=options.supervision.backend,
    )
