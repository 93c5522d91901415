"""From folders of files to the cohort: list, group, choose, then really read every chosen scan."""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from espalier.cohort.checks import axis_along_body, check_volume
from espalier.cohort.discover import Found, Marks, discover
from espalier.cohort.files import stem_of, with_geometry
from espalier.cohort.options import CohortOptions
from espalier.cohort.plans import READER, read_plan, told_path, write_plan
from espalier.cohort.read import read_files
from espalier.cohort.series import Choice, Series, choose
from espalier.cohort.table import COHORT, SERIES, write_cohort, write_series_table
from espalier.cohort.volume import Reading
from espalier.errors import ScanError
from espalier.outputs import hash_of, key_of
from espalier.stage import Outcome, Rows, Summary, run_stage, write_set_aside


def ingest(options: CohortOptions, *, folder: Path, workers: int = 1) -> Summary:
    """Find all scans of a study, read each once, and write `cohort.parquet`, `series.parquet` and `set_aside.csv`.

    Parameters
    ----------
    options
        Where the scans are, and which of them count.
    folder
        The study's folder.
    workers
        Processes side by side.

    Raises
    ------
    InputError
        When a source is missing or holds no scan, two sources hold the same name, or the table cannot be used.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as the user named them
    found = discover(options, folder=folder, workers=workers)
    choices = _choices(found.series, options)
    outcome = _check(choices, found.marks, options, folder, workers)
    return _write(folder, options, choices, outcome, found)


def check_scan(folder: Path, scan: str, options: Mapping[str, Any]) -> Rows:
    """Read one chosen scan wholly and return its row of the cohort (a stage's work).

    Raises
    ------
    ScanError
        When it cannot be used; `source` is the scan's, relative to the study where it lies below it.
    """
    plan = read_plan(folder, "ingest", scan)
    settings = CohortOptions(**{**options, "sources": tuple(options["sources"])})
    source = plan["source"]
    try:
        reading = _reading(plan, folder)
        axis = 0 if plan["format"] == "dicom" else axis_along_body(reading.volume)
        notes = [*reading.notes, *check_volume(reading.volume, settings, source=source, axis=axis)]
    except ScanError as error:
        raise ScanError(source, code=error.code, found=error.found, expected=error.expected, do=error.do) from error
    return [_row(plan, scan, reading, notes, axis)]


def _reading(plan: Mapping[str, Any], folder: Path) -> Reading:
    if plan["problem"] == "uid_of_two_patients":
        do = "Give each patient's series a UID of its own."
        found = "one series UID for two patients"
        raise ScanError(plan["source"], code=plan["problem"], found=found, expected="one patient", do=do)
    return read_files(folder / plan["source"], form=plan["format"], files=plan["names"])


def _row(plan: Mapping[str, Any], scan: str, reading: Reading, notes: Sequence[str], axis: int) -> dict[str, Any]:
    volume = reading.volume
    about = plan["about"]
    digest = hashlib.sha256(volume.voxels.tobytes())
    digest.update(volume.affine.tobytes())
    return {
        "scan": scan,
        **{name: about[name] for name in ("patient", "study_uid", "series_uid", "accession", "age_years", "sex")},
        **{name: about[name] for name in ("manufacturer", "kernel", "contrast", "site")},
        "source": plan["source"],
        **dict(zip(("shape_z", "shape_y", "shape_x"), volume.shape, strict=True)),
        **dict(zip(("spacing_z_mm", "spacing_y_mm", "spacing_x_mm"), volume.spacing_mm, strict=True)),
        "verdict": "noted" if notes else "sound",
        "notes": list(dict.fromkeys(notes)),
        "slice_mm": about["slice_mm"] or volume.spacing_mm[axis],
        "stem": stem_of(plan["source"]),
        "format": plan["format"],
        "files": list(reading.files),
        "voxels_sha256": digest.hexdigest(),
    }


def _choices(series: Sequence[Series], options: CohortOptions) -> list[Choice]:
    counts: dict[tuple[str, str], int] = {}
    for one in series:
        counts[one.study] = counts.get(one.study, 0) + 1
    ready = [with_geometry(s, Path(s.source)) if s.format == "nifti" and counts[s.study] > 1 else s for s in series]
    return choose(ready, keep=options.series, max_slice_mm=options.max_slice_mm, min_slices=options.min_slices)


def _check(choices: Sequence[Choice], marks: Marks, options: CohortOptions, folder: Path, workers: int) -> Outcome:
    settings = {
        "sources": list(options.sources),
        "max_slice_mm": options.max_slice_mm,
        "min_slices": options.min_slices,
    }
    keys = {}
    for one in (choice.series for choice in choices if choice.chosen):
        place = folder / one.source
        own = [marks[p.as_posix()] for p in ([place / name for name in one.names] or [place])]
        plan = {
            "source": told_path(place, folder),
            "format": one.format,
            "names": list(one.names),
            "problem": one.problem,
            "about": asdict(one.about),
        }
        keys[one.scan] = hash_of(READER, settings, plan, own)
        write_plan(folder, "ingest", one.scan, plan)
    return run_stage("ingest", check_scan, list(keys), folder=folder, keys=keys, options=settings, workers=workers)


def _write(folder: Path, options: CohortOptions, choices: Sequence[Choice], outcome: Outcome, found: Found) -> Summary:
    aside = [*found.set_aside, *outcome.set_aside]
    listed = [_series_row(choice, folder) for choice in choices]
    key = hash_of(READER, asdict(options), outcome.rows, aside, listed)
    wrote = (folder / COHORT, folder / SERIES, folder / "set_aside.csv")
    if key_of(folder / COHORT) != key:
        write_set_aside(folder, "ingest", aside)
        write_series_table(folder, listed, key=key)
        write_cohort(folder, outcome.rows, key=key)
    unchosen = sum(1 for choice in choices if not choice.chosen)
    words = f"{unchosen} series not chosen; {found.others} files that are no scans"
    if found.beside:
        words += f"; {found.beside} files of the other layout not taken"
    return Summary(verb="ingest", done=outcome.done, set_aside=len(aside), words=words, wrote=wrote)


def _series_row(choice: Choice, folder: Path) -> dict[str, Any]:
    one = choice.series
    return {
        "scan": one.scan,
        **{name: getattr(one.about, name) for name in ("patient", "study_uid", "series_uid", "description", "kernel")},
        "source": told_path(folder / one.source, folder),
        "format": one.format,
        "slices": one.slices or None,
        **{name: _known(getattr(one, name)) for name in ("spacing_z_mm", "coverage_mm")},
        "axial": one.axial,
        "problem": one.problem,
        "chosen": choice.chosen,
        "why": choice.why,
    }


def _known(value: float) -> float | None:
    return value if not math.isnan(value) else None
