"""From the slices that headers describe to series: by UID, and by acquisition where one UID holds several."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from espalier.cohort.acquisitions import acquisitions
from espalier.cohort.headers import About, Instance
from espalier.cohort.hints import PLAIN, Hints, hints_text
from espalier.cohort.regrid import upright_grid
from espalier.cohort.series import Series
from espalier.cohort.slices import Stack, stack
from espalier.errors import ScanError
from espalier.outputs import hash_of, safe_id

AXIAL_COSINE: Final = 0.9
NO_UID: Final = "no uid"


def group_instances(pairs: Sequence[tuple[About, Instance]], *, source: str, hints: Hints = PLAIN) -> list[Series]:
    """Group slices into series by their UID; acquisitions under one UID that lie among each other are several series."""
    grouped: dict[tuple[str, str], list[tuple[About, Instance]]] = {}
    for about, instance in pairs:
        grouped.setdefault((about.series_uid or _without_uid(about, instance), about.patient), []).append((about, instance))
    series = []
    for (uid, patient), members in sorted(grouped.items()):
        shared = sum(1 for other_uid, _ in grouped if other_uid == uid) > 1
        parts_of = acquisitions(members)
        about = _identified(min(members, key=lambda m: m[1].name)[0], uid)
        for acquisition, instances in sorted(parts_of.items()):
            parts = (uid, *([patient] if shared else []), *([acquisition] if len(parts_of) > 1 else []))
            framed = len(parts_of) > 1 and instances[0].frame > 0
            own = replace(hints, acquisition=acquisition) if framed else hints
            members_of = {(i.name, i.frame) for i in instances}
            mine = next(one for one, i in members if (i.name, i.frame) in members_of) if len(parts_of) > 1 else about
            told = replace(about, kernel=mine.kernel, slice_mm=mine.slice_mm, contrast=mine.contrast)
            series.append(_series(told, instances, scan=safe_id(*parts), source=source, shared=shared, hints=own))
    return series


def _without_uid(about: About, instance: Instance) -> str:
    """Return what stands for a series that has no UID: its folder, and what tells its slices from others there."""
    folder = instance.name.rpartition("/")[0]
    size = (instance.rows, instance.columns, instance.spacing, instance.orientation)
    made = (about.study_uid, about.description, about.kernel, about.slice_mm)
    return f"{NO_UID} {safe_id(folder, *map(str, (*size, *made)))}"


def _identified(about: About, uid: str) -> About:
    """Put something in the place of an empty patient, study or series id, so that nobody shares the empty one."""
    study = about.study_uid or f"study of {uid}"
    return replace(about, series_uid=uid, study_uid=study, patient=about.patient or f"patient of {study}")


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
        notes=("grouped_by_folder",) if about.series_uid.startswith(NO_UID) else (),
        projection=any(i.projection for i in instances),
        content=hash_of(sorted({(i.sop_uid, *(i.position or ()), i.acquisition) for i in instances}, key=str)),
    )


def _spacing_z_mm(whole: Stack) -> float:
    grid = upright_grid(whole.grid) if "gantry_tilt" in whole.notes else whole.grid
    return grid.spacing_mm[0]


def _is_axial(whole: Stack) -> bool:
    step = whole.grid.affine[:3, 0]
    return bool(abs(step[2]) > AXIAL_COSINE * whole.grid.spacing_mm[0])
