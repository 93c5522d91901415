"""What an evaluation may be told: how to choose thresholds and how much of the machine to use."""

from dataclasses import dataclass
from typing import Literal

Rule = Literal["youden", "sensitivity", "specificity"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOptions:
    """How a run is evaluated.

    Parameters
    ----------
    batch_size
        Scans that pass through the network at once.
    threads
        Threads of the processor; equal results are promised for equal threads.
    threshold
        Rule by which each finding's threshold is chosen on the validation scans: the largest sum of sensitivity and
        specificity (`youden`), or the least change that reaches `at` of one of them.
    at
        Sensitivity or specificity to reach, between 0 and 1; `youden` does not use it.
    resamples
        Resamples of the patients behind each interval.
    """

    batch_size: int = 8
    threads: int = 1
    threshold: Rule = "youden"
    at: float = 0.9
    resamples: int = 1000

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}: at least one scan must pass at once")
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}: at least one is needed")
        if not 0 < self.at < 1:
            raise ValueError(f"at is {self.at}: it must lie between 0 and 1")
        if self.resamples < 1:
            raise ValueError(f"resamples is {self.resamples}: an interval needs many, 1000 or more")
