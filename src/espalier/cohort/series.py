"""Which series of a study is used: the only place that chooses, for ingest, `predict` and the server.

The first rule that tells two series apart decides, and its words are the reason that is recorded.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from espalier.cohort.headers import About, Instance
from espalier.cohort.slices import Stack, stack
from espalier.errors import ScanError
from espalier.outputs import safe_id

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
AXIAL_COSINE: Final = 0.9
Format = Literal["dicom", "nifti", "nrrd", "metaimage", "npz"]


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
    problem
        The reason code that keeps it from being a volume, or "".
    about
        What the headers say of patient, scanner and reconstruction.
    hints
        What a reader must know that the file does not say, as JSON: `spacing_mm` and `axes` of an `.npz`, or `slope`,
        `intercept` and `affine` of a file that holds stored values; "" where the file says all.
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
    problem: str = ""
    hints: str = ""

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
        (lambda s: round(max(_finite(s.spacing_z_mm), FINE_MM), 1), ("thinner slices", "thicker slices")),
        (lambda s: -round(_finite(s.coverage_mm) / 50), ("covers more of the body", "covers less of the body")),
        (lambda s: s.derived, ("original", "derived from another series")),
        (lambda s: is_sharp(s.about.kernel), ("soft kernel", "sharp kernel")),
        (lambda s: -s.slices, ("most slices", "fewer slices")),
        (lambda s: (s.about.number, s.scan), ("lowest series number", "higher series number")),
    )


def is_sharp(kernel: str) -> bool:
    """Tell whether a reconstruction kernel sharpens edges, by its name; unknown names count as soft."""
    name = kernel.split("\\", maxsplit=1)[0].strip().lower()
    return name in {"l", "d"} or name.startswith(SHARP_KERNELS)


def group_instances(pairs: Sequence[tuple[About, Instance]], *, source: str) -> list[Series]:
    """Group slices into series by their UID; two acquisitions under one UID at the same places are two series."""
    grouped: dict[tuple[str, str], list[tuple[About, Instance]]] = {}
    for about, instance in pairs:
        folder = instance.name.rpartition("/")[0]
        grouped.setdefault((about.series_uid or f"no uid {folder}", about.patient), []).append((about, instance))
    series = []
    for (uid, patient), members in sorted(grouped.items()):
        shared = sum(1 for other_uid, _ in grouped if other_uid == uid) > 1
        acquisitions = _acquisitions([instance for _, instance in members])
        for acquisition, instances in sorted(acquisitions.items()):
            parts = (uid, *([patient] if shared else []), *([acquisition] if len(acquisitions) > 1 else []))
            about = _identified(min(members, key=lambda m: m[1].name)[0], uid)
            series.append(_series(about, instances, scan=safe_id(*parts), source=source, shared=shared))
    return series


def _identified(about: About, uid: str) -> About:
    """Put something in the place of an empty patient, study or series id, so that nobody shares the empty one."""
    study = about.study_uid or f"study of {uid}"
    return replace(about, series_uid=uid, study_uid=study, patient=about.patient or f"patient of {study}")


def _acquisitions(instances: Sequence[Instance]) -> Mapping[str, list[Instance]]:
    """Split by acquisition number where two acquisitions lie at the same places, as two contrast phases do."""
    by_number: dict[str, list[Instance]] = {}
    for instance in instances:
        by_number.setdefault(instance.acquisition, []).append(instance)
    places = [set(map(_place, group)) for group in by_number.values()]
    overlap = sum(map(len, places)) - len(set().union(*places))
    return by_number if len(by_number) > 1 and overlap > len(instances) // 4 else {"": list(instances)}


def _place(instance: Instance) -> tuple[float, ...]:
    return tuple(round(v, 2) for v in (*(instance.position or ()), *(instance.orientation or ())))


def _series(about: About, instances: Sequence[Instance], *, scan: str, source: str, shared: bool) -> Series:
    whole: Stack | None = None
    problem = "uid_of_two_patients" if shared else ""
    try:
        whole = stack(instances, source=source)
    except ScanError as error:
        problem = problem or error.code
    spacing = whole.grid.spacing_mm[0] if whole else math.nan
    slices = len(whole.instances) if whole else len(instances)
    return Series(
        scan=scan,
        source=source,
        format="dicom",
        about=about,
        names=tuple(sorted(i.name for i in instances)),
        slices=slices,
        spacing_z_mm=spacing,
        coverage_mm=spacing * slices,
        axial=whole is not None and _is_axial(whole),
        derived=any(i.derived for i in instances),
        problem=problem,
    )


def _is_axial(whole: Stack) -> bool:
    step = whole.grid.affine[:3, 0]
    return bool(abs(step[2]) > AXIAL_COSINE * whole.grid.spacing_mm[0])


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
