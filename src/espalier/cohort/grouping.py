"""From the slices that headers describe to series: by UID, and by acquisition where one UID holds several."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Final

from espalier.cohort.headers import About, Instance
from espalier.cohort.hints import PLAIN, Hints, hints_text
from espalier.cohort.regrid import upright_grid
from espalier.cohort.series import Series
from espalier.cohort.slices import Stack, stack
from espalier.errors import ScanError
from espalier.outputs import hash_of, safe_id

AXIAL_COSINE: Final = 0.9


def group_instances(pairs: Sequence[tuple[About, Instance]], *, source: str, hints: Hints = PLAIN) -> list[Series]:
    """Group slices into series by their UID; two acquisitions under one UID at the same places are two series."""
    grouped: dict[tuple[str, str], list[tuple[About, Instance]]] = {}
    for about, instance in pairs:
        folder = instance.name.rpartition("/")[0]
        grouped.setdefault((about.series_uid or f"no uid {safe_id(folder)}", about.patient), []).append((about, instance))
    series = []
    for (uid, patient), members in sorted(grouped.items()):
        shared = sum(1 for other_uid, _ in grouped if other_uid == uid) > 1
        acquisitions = _acquisitions([instance for _, instance in members])
        about = _identified(min(members, key=lambda m: m[1].name)[0], uid)
        for acquisition, instances in sorted(acquisitions.items()):
            parts = (uid, *([patient] if shared else []), *([acquisition] if len(acquisitions) > 1 else []))
            framed = len(acquisitions) > 1 and instances[0].frame > 0
            own = replace(hints, acquisition=acquisition) if framed else hints
            series.append(_series(about, instances, scan=safe_id(*parts), source=source, shared=shared, hints=own))
    return series


def _identified(about: About, uid: str) -> About:
    """Put something in the place of an empty patient, study or series id, so that nobody shares the empty one."""
    study = about.study_uid or f"study of {uid}"
    return replace(about, series_uid=uid, study_uid=study, patient=about.patient or f"patient of {study}")


def _acquisitions(instances: Sequence[Instance]) -> Mapping[str, list[Instance]]:
    """Split by acquisition number or time where acquisitions lie at the same places, as contrast phases do."""
    if any(i.position is None for i in instances):
        return {"": list(instances)}
    if len({(*(i.position or ()), *(i.orientation or ())) for i in instances}) == len(instances):
        return {"": list(instances)}
    by_number: dict[str, list[Instance]] = {}
    for instance in instances:
        by_number.setdefault(instance.acquisition, []).append(instance)
    places = [set(map(_place, group)) for group in by_number.values()]
    overlap = sum(map(len, places)) - len(set().union(*places))
    if len(by_number) > 1 and overlap > len(instances) // 4:
        return by_number
    return _passes(instances) or {"": list(instances)}


def _passes(instances: Sequence[Instance]) -> Mapping[str, list[Instance]]:
    """Split slices that lie equally often at every place into passes by time; nothing where time does not part them."""
    by_place: dict[tuple[float, ...], list[Instance]] = {}
    for instance in instances:
        by_place.setdefault(_place(instance), []).append(instance)
    count = min(map(len, by_place.values()))
    if count < 2 or any(i.time_s is None for i in instances) or max(map(len, by_place.values())) != count:
        return {}
    ordered = sorted(instances, key=lambda i: (i.time_s, i.name))
    each = len(ordered) // count
    passes = [ordered[n * each : (n + 1) * each] for n in range(count)]
    apart = all(one[-1].time_s != after[0].time_s for one, after in pairwise(passes))
    whole = all(len(set(map(_place, one))) == each for one in passes)
    return {f"pass {n}": one for n, one in enumerate(passes, start=1)} if apart and whole else {}


def _place(instance: Instance) -> tuple[float, ...]:
    return tuple(round(v, 2) for v in (*(instance.position or ()), *(instance.orientation or ())))


def _series(about: About, instances: Sequence[Instance], *, scan: str, source: str, shared: bool, hints: Hints) -> Series:
    whole: Stack | None = None
    problem = "uid_of_two_patients" if shared else ""
    try:
        whole = stack(instances, source=source, hints=hints)
    except ScanError as error:
        problem = problem or error.code
    spacing = _spacing_z_mm(whole) if whole else math.nan
    slices = len(whole.instances) if whole else len(instances)
    return Series(
        scan=scan,
        source=source,
        format="dicom",
        about=about,
        names=tuple(sorted({i.name for i in instances})),
        slices=slices,
        spacing_z_mm=whole.widest_gap_mm if whole and whole.along_mm else spacing,
        coverage_mm=spacing * whole.grid.shape[0] if whole else math.nan,
        axial=whole is not None and _is_axial(whole),
        derived=any(i.derived for i in instances),
        problem=problem,
        hints=hints_text(hints),
        mark=hash_of(sorted(i.mark for i in instances)) if instances[0].mark else "",
        content=hash_of(sorted({(i.sop_uid, *(i.position or ()), i.acquisition) for i in instances}, key=str)),
    )


def _spacing_z_mm(whole: Stack) -> float:
    grid = upright_grid(whole.grid) if "gantry_tilt" in whole.notes else whole.grid
    return grid.spacing_mm[0]


def _is_axial(whole: Stack) -> bool:
    step = whole.grid.affine[:3, 0]
    return bool(abs(step[2]) > AXIAL_COSINE * whole.grid.spacing_mm[0])
