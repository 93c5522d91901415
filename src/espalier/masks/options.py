"""Settings of the `segment` stage."""

from dataclasses import dataclass
from typing import Literal

from espalier.masks.structures import structure_names

MaskSource = Literal["existing", "threshold"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskOptions:
    """Where the masks come from and which structures they hold (Li et al. 2025, masks).

    Attributes
    ----------
    source
        `existing`: one multi-label NIfTI per scan, made by any segmenter; `threshold`: lungs, body and bone by HU and
        shape, without weights.
    folder
        Where existing masks lie, searched with all folders below it; relative to the study's folder.
    structures
        A named set (`chest`, `abdomen`, `threshold`) or the structures' own names; their order gives the mask values.
    disturb
        Share of boundary voxels eroded or dilated, 0 to 1; reproducible scan by scan.
    seed
        Of the disturbance.
    """

    source: MaskSource = "existing"
    folder: str | None = None
    structures: str | tuple[str, ...] = "chest"
    disturb: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        structure_names(self.structures)
        if not 0.0 <= self.disturb <= 1.0:
            raise ValueError(f"disturb is {self.disturb}: a share between 0 and 1 is needed")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: it must not be negative")
        if self.source == "threshold" and (
            unknown := set(structure_names(self.structures)) - set(structure_names("threshold"))
        ):
            raise ValueError(
                f'structures holds {", ".join(sorted(unknown))}: source = "threshold" finds only '
                f'{", ".join(structure_names("threshold"))}; write structures = "threshold"'
            )
        if self.source == "threshold" and self.folder is not None:
            raise ValueError('folder is given, but source = "threshold" reads no masks; write source = "existing"')
