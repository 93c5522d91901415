"""Settings of the `segment` stage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from espalier.masks.structures import structure_names

MaskSource = Literal["totalsegmentator", "command", "existing", "threshold"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TotalSegmentatorOptions:
    """How TotalSegmentator is run; the defaults are the paper's (Li et al. 2025, masks).

    Attributes
    ----------
    weights
        Its folder of weights, relative to the study's folder; where absent `TOTALSEG_WEIGHTS_PATH` says, else
        `~/.totalsegmentator/nnunet/results`.
    environment
        The virtual environment it lives in, where it is not the one that `espalier doctor --install` made.
    task
        Its name for a set of structures.
    resolution
        `fast` segments at 3 mm, `normal` at 1.5 mm, `fastest` at 6 mm.
    device
        `gpu`, `cpu`, or the GPU where there is one.
    window_hu
        Scans are clipped to this before.
    spacing_mm
        Scans are resampled to this along z, y, x before; absent leaves them on their own grid.
    """

    weights: str | None = None
    environment: str | None = None
    task: str = "total"
    resolution: Literal["normal", "fast", "fastest"] = "fast"
    device: Literal["auto", "cpu", "gpu"] = "auto"
    window_hu: tuple[float, float] | None = (-1000.0, 1000.0)
    spacing_mm: tuple[float, float, float] | None = (3.0, 1.5, 1.5)


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandOptions:
    """Any other segmenter, called once per scan.

    Attributes
    ----------
    command
        What to run, as words; `{scan}` stands for the NIfTI file it reads, or `{scan_folder}` for a folder that holds it
        alone, and `{mask}` or `{mask_folder}` for what it writes. No shell is started.
    labels
        Names of the values of the masks it writes: a table `name = value`, or a JSON file that holds one,
        or the name of a shipped list, as `ts_total`.
    environment
        A virtual environment whose programs are found first.
    variables
        Environment variables that it sees besides the usual ones.
    """

    command: str = ""
    labels: str | Mapping[str, int] | None = None
    environment: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskOptions:
    """Where the masks come from and which structures they hold (Li et al. 2025, masks).

    Attributes
    ----------
    source
        `totalsegmentator`; `command`: any other segmenter; `existing`: masks made before, as NIfTI, NRRD, DICOM SEG or
        RTSTRUCT; `threshold`: lungs, airways, mediastinum, body and bone by HU and shape, without weights.
    folder
        Where existing masks lie, searched with all folders below it; relative to the study's folder.
    structures
        A named set (`chest`, `abdomen`, `threshold`) or the structures' own names; their order gives the mask values.
    disturb
        Share of boundary voxels eroded or dilated, 0 to 1; reproducible scan by scan.
    seed
        Of the disturbance.
    check_lungs
        Also hold the lungs against those that thresholds find; where they differ much, the scan is weighted down.
    timeout_s, memory_gb
        A scan that takes longer, or needs more memory (10^9 bytes), is tried once more alone, then set aside.
    totalsegmentator, command
        Settings of the sources of these names.
    """

    source: MaskSource = "existing"
    folder: str | None = None
    structures: str | tuple[str, ...] = "chest"
    disturb: float = 0.0
    seed: int = 0
    check_lungs: bool = False
    timeout_s: float | None = None
    memory_gb: float | None = None
    totalsegmentator: TotalSegmentatorOptions = field(default_factory=TotalSegmentatorOptions)
    command: CommandOptions = field(default_factory=CommandOptions)

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
        if self.source != "existing" and self.folder is not None:
            raise ValueError(f'folder is given, but source = "{self.source}" reads no masks; write source = "existing"')
