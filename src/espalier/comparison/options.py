"""What a comparison may be told."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ComparisonOptions:
    """How arms are compared.

    Parameters
    ----------
    baseline
        The arm that all others are held against.
    placebo
        The arm with all the work and none of the anatomy (the masks of other scans), if there is one.
    resamples
        Resamples of the patients behind each interval.
    seed
        Of the resampling.
    cohort_note
        A sentence about the patients that the page must carry, as that they are made up.
    """

    baseline: str = "plain"
    placebo: str | None = None
    resamples: int = 2000
    seed: int = 0
    cohort_note: str = ""

    def __post_init__(self) -> None:
        if not self.baseline:
            raise ValueError("baseline is empty: name the arm that the others are held against")
        if self.placebo == self.baseline:
            raise ValueError(f"placebo is {self.placebo!r}, which is the baseline: name another arm")
        if self.resamples < 1:
            raise ValueError(f"resamples is {self.resamples}: an interval needs many, 1000 or more")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: it must not be negative")
