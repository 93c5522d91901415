"""Which series of a study is used: the only place that chooses, for ingest, `predict` and the server.

The first rule that tells two series apart decides, and its words are the reason that is recorded.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from espalier.cohort.headers import About
from espalier.cohort.volume import Format

FINE_MM: Final = 3.0
"""Thinner than this is not better: the published grid has 3 mm between slices (Li et al. 2025, preprocessing)."""
SHARP_KERNELS: Final = (
    "lung",
    "bone",
    "edge",
    "sharp",
    "detail",
    "b6",
    "b7",
    "b8",
    "bl5",
    "bl6",
    "br6",
    "br7",
    "fc5",
    "fc8",
    "ya",
    "yb",
    "yc",
)
"""Beginnings of reconstruction kernels that sharpen, by the makers' names; `l` and `d` alone are Philips' sharp ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One series as its headers describe it.

    Parameters
    ----------
    scan
        The safe id that stands for it in file names.
    names
        Its DICOM files relative to `source`; empty for NIfTI.
    slices, spacing_z_mm, coverage_mm
        Number of slices, distance between them, and the length they cover; NaN where the geometry is broken.
    axial
        Whether the slices' normal runs along the body.
    projection
        Whether its slices are slabs that merge several, as in maximum intensity projections.
    problem
        The reason code that keeps it from being a volume, or "".
    about
        What the headers say of patient, scanner and reconstruction.
    hints
        What a reader must know that the file does not say, as JSON: `spacing_mm` and `axes` of an `.npz`, or `slope`,
        `intercept` and `affine` of a file that holds stored values; "" where the file says all.
    mark
        What tells whether its files have changed since.
    content
        A hash of the UIDs of its slices: equal for two copies of one series.
    notes
        Reason codes of what a published data set's tables say is unusual.
    units
        The records of the index that hold its slices, where `names` is left out to save memory.
    """

    scan: str
    source: str
    format: Format
    about: About
    names: tuple[str, ...] = ()
    slices: int
    spacing_z_mm: float
    coverage_mm: float
    axial: bool = True
    derived: bool = False
    projection: bool = False
    problem: str = ""
    hints: str = ""
    mark: str = ""
    content: str = ""
    notes: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    @property
    def study(self) -> tuple[str, str]:
        """Patient and study, within which one series is chosen."""
        return self.about.patient, self.about.study_uid


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a series is used, and the rule that decided."""

    series: Series
    chosen: bool
    why: str


def choose(
    series: Sequence[Series], *, keep: Literal["best", "all"] = "best", max_slice_mm: float = 10.0, min_slices: int = 10
) -> list[Choice]:
    """Choose one series of each study, or all, and say why; in order of patient, study and scan.

    Parameters
    ----------
    series
        Of any number of studies.
    keep
        `best` chooses one series a study even where none is usable, so that the study is set aside with a reason
        rather than lost.
    max_slice_mm, min_slices
        What makes a series unusable, in mm between slices and in slices.
    """
    studies: dict[tuple[str, str], list[Series]] = {}
    for one in sorted(series, key=lambda s: (*s.study, s.scan)):
        studies.setdefault(one.study, []).append(one)
    choices = []
    for group in studies.values():
        if keep == "all":
            choices += [Choice(one, chosen=True, why="all series are kept") for one in group]
        else:
            choices += _choose_one(group, max_slice_mm, min_slices)
    return choices


def best_series(series: Sequence[Series], *, max_slice_mm: float = 10.0, min_slices: int = 10) -> Series:
    """Return the series that the rules put first, whatever studies they belong to."""
    return min(series, key=lambda s: tuple(rank(s) for rank, _ in _rules(max_slice_mm, min_slices)))


def next_best(
    choices: Sequence[Choice], reasons: Mapping[str, str], *, max_slice_mm: float = 10.0, min_slices: int = 10
) -> list[Choice]:
    """Choose another series where the chosen one turned out to be unusable and the study has one that may be sound.

    Parameters
    ----------
    choices
        What was chosen before.
    reasons
        Reason code of every scan that was set aside.
    max_slice_mm, min_slices
        As for `choose`.
    """
    studies: dict[tuple[str, str], list[Choice]] = {}
    for one in choices:
        studies.setdefault(one.series.study, []).append(one)
    again = []
    for group in studies.values():
        lost = [c for c in group if c.chosen and c.series.scan in reasons]
        left = [c.series for c in group if not c.chosen and not c.series.problem and c.series.scan not in reasons]
        if not lost or not left or len(lost) < sum(c.chosen for c in group):
            again += group
            continue
        best = best_series(left, max_slice_mm=max_slice_mm, min_slices=min_slices)
        again += [_second(c, best, lost[0], reasons) for c in group]
    return again


def _second(choice: Choice, best: Series, lost: Choice, reasons: Mapping[str, str]) -> Choice:
    if choice is lost:
        return replace(choice, chosen=False, why=f"set aside: {reasons[choice.series.scan]}")
    if choice.series is best:
        return replace(choice, chosen=True, why=f"next best; the first was set aside: {reasons[lost.series.scan]}")
    return choice


def _choose_one(group: Sequence[Series], max_slice_mm: float, min_slices: int) -> list[Choice]:
    best = best_series(group, max_slice_mm=max_slice_mm, min_slices=min_slices)
    rivals = [one for one in group if one is not best]
    if not rivals:
        return [Choice(best, chosen=True, why="the only series")]
    rules = _rules(max_slice_mm, min_slices)
    runner_up = best_series(rivals, max_slice_mm=max_slice_mm, min_slices=min_slices)
    reason = next(words for rank, words in rules if rank(best) != rank(runner_up))
    choices = [Choice(best, chosen=True, why=reason[0])]
    for rival in rivals:
        words = next(words for rank, words in rules if rank(best) != rank(rival))
        choices.append(Choice(rival, chosen=False, why=words[1]))
    return sorted(choices, key=lambda c: c.series.scan)


Rule = tuple[Callable[[Series], Any], tuple[str, str]]


def _rules(max_slice_mm: float, min_slices: int) -> tuple[Rule, ...]:
    """Return the rules in their order: a rank, smaller is better, and words for the winner and for the others."""
    return (
        (lambda s: bool(s.problem), ("the geometry is whole", "the geometry is broken")),
        (lambda s: s.slices < min_slices, ("enough slices", "too few slices")),
        (lambda s: not s.spacing_z_mm <= max_slice_mm, ("slices close enough", "slices too far apart")),
        (lambda s: not s.axial, ("axial", "not axial")),
        (lambda s: s.projection, ("slices as they were scanned", "slabs that merge several slices")),
        (lambda s: round(max(_finite(s.spacing_z_mm), FINE_MM), 1), ("thinner slices", "thicker slices")),
        (lambda s: s.about.contrast.startswith("another phase"), ("late arterial phase", "another phase")),
        (lambda s: -round(_finite(s.coverage_mm) / 50), ("covers more of the body", "covers less of the body")),
        (lambda s: s.derived, ("original", "derived from another series")),
        (lambda s: is_sharp(s.about.kernel), ("soft kernel", "sharp kernel")),
        (lambda s: not s.about.contrast, ("contrast agent given", "no contrast agent given")),
        (lambda s: -s.slices, ("most slices", "fewer slices")),
        (lambda s: (s.about.number, s.scan), ("lowest series number", "higher series number")),
    )


def is_sharp(kernel: str) -> bool:
    """Tell whether a reconstruction kernel sharpens edges, by its name; unknown names count as soft."""
    name = kernel.split("\\", maxsplit=1)[0].strip().lower()
    return name in {"l", "d"} or name.startswith(SHARP_KERNELS)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
