"""From folders of files to the cohort: list, group, choose, then really read every chosen scan."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from espalier.cohort.discover import discover
from espalier.cohort.files import stem_of, with_geometry
from espalier.cohort.forgotten import is_forgotten, read_forgotten
from espalier.cohort.hints import hints_for
from espalier.cohort.layout import Found
from espalier.cohort.options import CohortOptions
from espalier.cohort.plans import READER, told_path, write_plan
from espalier.cohort.pseudonyms import check_key, pseudonym_of, pseudonymised, read_key
from espalier.cohort.scan import STAGE, check_scan, settings_of
from espalier.cohort.series import Choice, Series, choose, next_best
from espalier.cohort.table import COHORT, DUPLICATES, SERIES, write_cohort, write_series_table
from espalier.cohort.tied import with_twins
from espalier.outputs import hash_of, key_of, safe_id
from espalier.stage import Outcome, Rows, Summary, read_records, run_stage, write_set_aside


def ingest(options: CohortOptions, *, folder: Path, workers: int | None = None) -> Summary:
    """Find all scans of a study, read each once, and write `cohort.parquet`, `series.parquet` and `set_aside.csv`.

    Parameters
    ----------
    options
        Where the scans are, and which of them count.
    folder
        The study's folder.
    workers
        Worker processes side by side, within the limits of time and memory that `options` gives; None works in this
        process, without limits.

    Raises
    ------
    InputError
        When a source is missing or holds no scan, or a table cannot be used.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as the user named them
    (folder / "records").mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = None
    if options.pseudonyms:
        key_file = folder / options.pseudonyms
        secret = read_key(key_file)
        check_key(secret, path=key_file, folder=folder)
    found = discover(options, folder=folder, workers=workers)
    forgotten = read_forgotten(folder)
    known = [_hidden(one, secret) for one in found.series] if secret else found.series
    series = [one for one in known if not is_forgotten(forgotten, patient=one.about.patient, scan=one.scan)]
    choices = _choices(series, options, folder)
    aside: dict[str, dict[str, Any]] = {}
    while True:
        chosen = [choice.series for choice in choices if choice.chosen]
        outcome = _check(chosen, options, folder, workers, secret)
        aside |= {row["scan"]: row for row in outcome.set_aside}
        reasons = {scan: row["reason"] for scan, row in aside.items()}
        better = next_best(choices, reasons, max_slice_mm=options.max_slice_mm, min_slices=options.min_slices)
        if better == choices:
            rows = [row for _, record in read_records(STAGE, _read(chosen, aside), folder=folder) for row in record["rows"]]
            return _write(folder, choices, rows, [*found.set_aside, *aside.values()], found)
        choices = better


def _choices(series: Sequence[Series], options: CohortOptions, folder: Path) -> list[Choice]:
    counts: dict[tuple[str, str], int] = {}
    for one in series:
        counts[one.study] = counts.get(one.study, 0) + 1
    hinted = [replace(s, hints=s.hints if s.format == "dicom" else hints_for(s.format, options, s.hints)) for s in series]
    ready = [with_geometry(s, folder / s.source) if not s.slices and counts[s.study] > 1 else s for s in hinted]
    return choose(ready, keep=options.series, max_slice_mm=options.max_slice_mm, min_slices=options.min_slices)


def _hidden(one: Series, secret: bytes) -> Series:
    """Return a single file's series under pseudonyms; those of DICOM got theirs when the headers were read."""
    if one.format == "dicom":
        return one
    return replace(one, scan=safe_id(pseudonym_of("file", one.scan, secret)), about=pseudonymised(one.about, secret))


def _check(
    chosen: Sequence[Series], options: CohortOptions, folder: Path, workers: int | None, secret: bytes | None
) -> Outcome:
    settings = settings_of(options)
    keys = {}
    for one in chosen:
        own = stem_of(one.names[0] if one.names else one.source)
        plan = {
            "source": told_path(folder / one.source, folder),
            "format": one.format,
            "names": list(one.names),
            "units": list(one.units),
            "problem": one.problem,
            "stem": pseudonym_of("stem", own, secret) if secret else own,
            "about": asdict(one.about),
            "hints": one.hints,
            "mark": one.mark,
            "notes": [*one.notes, *(["projection"] if one.projection else [])],
        }
        keys[one.scan] = hash_of(READER, settings, plan)
        write_plan(folder, STAGE, one.scan, plan)
    return run_stage(
        STAGE,
        check_scan,
        list(keys),
        folder=folder,
        keys=keys,
        options=settings,
        workers=workers or 1,
        timeout_s=options.timeout_s if workers else None,
        memory_gb=options.memory_gb if workers else None,
        collect=False,
    )


def _read(chosen: Sequence[Series], aside: Mapping[str, Any]) -> list[str]:
    return [one.scan for one in chosen if one.scan not in aside]


def _write(folder: Path, choices: Sequence[Choice], rows: Rows, aside: Rows, found: Found) -> Summary:
    told = with_twins(folder, rows)
    sources = {choice.series.scan: told_path(folder / choice.series.source, folder) for choice in choices}
    # A worker that died could not tell more than the scan's id.
    aside = [{**row, "source": sources.get(row["source"], row["source"])} for row in aside]
    aside.sort(key=lambda row: (row["source"], row["scan"]))
    reasons = {row["scan"]: row["reason"] for row in aside if row["scan"]}
    listed = [_series_row(choice, folder, reasons.get(choice.series.scan)) for choice in choices]
    write_set_aside(folder, STAGE, aside)
    for path, key, write in (
        (folder / SERIES, hash_of(READER, listed), lambda key: write_series_table(folder, listed, key=key)),
        (folder / COHORT, hash_of(READER, list(map(hash_of, told.rows))), lambda key: write_cohort(folder, told.rows, key=key)),
    ):
        if key_of(path) != key:
            write(key)
    unchosen = sum(1 for choice in choices if not choice.chosen)
    words = f"{len(told.rows)} scans of {len({row['patient'] for row in told.rows})} patients; {unchosen} series not chosen; "
    words += f"{found.others} files that are no scans"
    if found.beside:
        words += f"; {found.beside} files of the other layout not taken"
    if told.within or told.across:
        words += f"; {told.within + told.across} pairs of scans show one acquisition, {told.across} under two patients"
    words = "; ".join([words, *found.words])
    wrote = tuple(folder / name for name in (COHORT, SERIES, DUPLICATES, "set_aside.csv"))
    return Summary(verb="ingest", done=len(told.rows), set_aside=len(aside), words=words, wrote=wrote)


def _series_row(choice: Choice, folder: Path, reason: str | None) -> dict[str, Any]:
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
        "why": f"{choice.why}, but set aside: {reason}" if choice.chosen and reason else choice.why,
    }


def _known(value: float) -> float | None:
    return value if not math.isnan(value) else None
