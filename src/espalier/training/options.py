"""Settings of the `train` stage; nothing here loads torch."""

from dataclasses import dataclass, field
from typing import Literal

from espalier.geometry import Shape
from espalier.masks.disturb import GrossKind
from espalier.networks.options import NetworkName, NetworkSize, misfit

MasksOf = Literal["own scan", "other scans"]
MaskLossKind = Literal["ce"]
MaskLossBackend = Literal["torch", "reference"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisionOptions:
    """What the masks add to the loss; a weight of 0 is the plain classifier, on the same code path.

    Parameters
    ----------
    weight
        Of the mask loss beside the label loss (Li et al. 2025: 1); at 0 the branch does not exist.
    structures
        A named set or names; all that the store holds when absent. The others count as background.
    masks_of
        `other scans` is the placebo: each scan learns the masks of another patient, always the same one.
    disturb
        Share of boundary voxels eroded or dilated (Li et al. 2025, mask noise ablation).
    gross_fault, gross_share
        A gross fault, and the share of the scans whose masks have it, drawn scan by scan from the run's seed: `swap` for
        the sides, `missing` for one structure left out, `shift` for masks moved by 20 mm.
    class_balance
        0 weighs all voxels alike; 1 weighs structures by the inverse of their volume; between, by that power of it.
    kind
        `ce`, cross entropy.
    backend
        `torch` streams the loss; `reference` is the published form. Both give the same numbers but for rounding.
    """

    weight: float = 1.0
    structures: str | tuple[str, ...] | None = None
    masks_of: MasksOf = "own scan"
    disturb: float = 0.0
    gross_fault: GrossKind | None = None
    gross_share: float = 0.0
    class_balance: float = 0.0
    kind: MaskLossKind = "ce"
    backend: MaskLossBackend = "torch"

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"weight is {self.weight}: it must be 0 or more")
        for name in ("disturb", "gross_share", "class_balance"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is {share}: it must lie between 0 and 1")
        if (self.gross_fault is None) != (self.gross_share == 0):
            raise ValueError(
                f"gross_fault is {self.gross_fault} and gross_share is {self.gross_share}: name a fault and the share of the "
                "scans that have it, or neither"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOptions:
    """How one network is trained; the defaults are the paper's for a ResNet on chest CT (Li et al. 2025, appendix).

    Parameters
    ----------
    network, network_size
        The encoder; a size left open is the published one.
    pretrained
        A local file of weights for the encoder, relative to the study's folder.
    crop
        Voxels along z, y, x: at random places in training, at the centre in validation.
    epochs
        Passes over the training scans. Scans left over after the last whole batch of an epoch wait for the next one.
    batch_size
        Scans per step.
    learning_rate
        At its peak; it falls to 0 along a cosine.
    weight_decay
        Of AdamW.
    warmup
        Share of all steps in which the learning rate rises from 0.
    clip_norm
        Largest norm of the gradient; 0 leaves it as it is.
    seeds
        One run for each.
    threads
        Of the processor; another number may change the last bits of a result.
    precision
        `bfloat16` computes the network under autocast where the hardware has it, and falls back to float32 where not.
    validate_every
        Epochs between two validations; the last epoch is always validated.
    keep
        Which weights a run ends with: `last`, or `best` by validation loss.
    intensity_jitter
        Scaled voxels are multiplied by 1 ± and shifted by ± up to this in training.
    supervision
        What the masks add.
    """

    network: NetworkName = "r3d_18"
    network_size: NetworkSize = field(default_factory=NetworkSize)
    pretrained: str | None = None
    crop: Shape = (96, 192, 192)
    epochs: int = 20
    batch_size: int = 10
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    warmup: float = 0.0
    clip_norm: float = 5.0
    seeds: tuple[int, ...] = (0,)
    threads: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    validate_every: int = 1
    keep: Literal["last", "best"] = "last"
    intensity_jitter: float = 0.0
    supervision: SupervisionOptions = field(default_factory=SupervisionOptions)

    def __post_init__(self) -> None:
        _check(self, ("epochs", "batch_size", "threads", "validate_every"), low=1)
        _check(self, ("weight_decay", "clip_norm"), low=0)
        _check(self, ("warmup", "intensity_jitter"), low=0, high=1)
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate is {self.learning_rate}: it must be above 0")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds is {self.seeds}: name at least one, none below 0 and none twice")
        if min(self.crop) < 1:
            raise ValueError(f"crop is {self.crop}: each side must be at least 1 voxel")
        if reason := misfit(self.network, self.network_size, self.crop):
            raise ValueError(reason)


def _check(options: TrainingOptions, names: tuple[str, ...], *, low: float, high: float = float("inf")) -> None:
    for name in names:
        value = getattr(options, name)
        if not low <= value < high:
            bound = f" and below {high}" if high < float("inf") else ""
            raise ValueError(f"{name} is {value}: it must be at least {low}{bound}")
