"""What an export may be told: which run, and where the bundle goes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """Which run is exported.

    Parameters
    ----------
    arm
        Name of the arm.
    seed
        Seed of the run.
    folder
        Where the bundle is written, relative to the study's folder.
    """

    arm: str = "masks"
    seed: int = 0
    folder: str = "bundle"

    def __post_init__(self) -> None:
        if not self.arm:
            raise ValueError("arm is empty: name the arm whose run is exported")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: it cannot be negative")
        if not self.folder.strip("./"):
            raise ValueError(f"folder is {self.folder!r}: the bundle needs a folder of its own, as it replaces what is there")
