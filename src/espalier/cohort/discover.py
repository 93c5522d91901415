"""Every series below the sources, from names and headers; nothing is chosen or read wholly here."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from espalier.cohort.dicom import read_headers
from espalier.cohort.files import nifti_series
from espalier.cohort.headers import About, Instance
from espalier.cohort.options import CohortOptions
from espalier.cohort.plans import READER, read_plan, told_path, write_plan
from espalier.cohort.series import Series, group_instances
from espalier.cohort.sources import Listed, Listing, list_sources
from espalier.errors import InputError
from espalier.outputs import hash_of, safe_id
from espalier.stage import Rows, run_stage

FOLDERS_WORTH_WORKERS: Final = 16
"""Headers of fewer folders are read sooner than worker processes start."""
Marks = Mapping[str, Sequence[str | int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What lies below the sources.

    Parameters
    ----------
    series
        Every CT series, chosen or not.
    set_aside
        Rows for files that are named or damaged, but belong to no series.
    marks
        For each file's path what tells whether it changed: name, size and time.
    others
        How many files are no scans.
    beside
        How many files are of the layout that is not taken.
    """

    series: Sequence[Series]
    set_aside: Rows
    marks: Marks
    others: int
    beside: int


def discover(options: CohortOptions, *, folder: Path, workers: int) -> Found:
    """List the sources, read DICOM headers (kept in records, so that only changed folders are read again), and group.

    Raises
    ------
    InputError
        As `espalier.cohort.ingest.ingest` does.
    """
    listings = list_sources(options, folder=folder)
    table = folder / options.table if options.table else None
    series, set_aside = _nifti(listings, table)
    others = sum(listing.others for listing in listings)
    for listing in listings:
        dicom, no_ct, damaged = _dicom(listing, folder, workers)
        series += dicom
        set_aside += damaged
        others += no_ct
    _refuse_equal_ids(series)
    marks = {one.path.as_posix(): one.mark for listing in listings for one in (*listing.nifti, *listing.dicom)}
    beside = sum(listing.beside for listing in listings)
    return Found(series=series, set_aside=set_aside, marks=marks, others=others, beside=beside)


def index_files(folder: Path, scan: str, _options: Mapping[str, Any]) -> Rows:
    """Read the headers of one folder's DICOM files; its one row holds what they say (a stage's work)."""
    plan = read_plan(folder, "index", scan)
    source = folder / plan["source"]
    pairs, others, damaged = read_headers([(source / name, name) for name in plan["names"]])
    return [
        {
            "slices": [[asdict(about), asdict(instance)] for about, instance in pairs],
            "others": others,
            "damaged": [list(d) for d in damaged],
        }
    ]


def _dicom(listing: Listing, folder: Path, workers: int) -> tuple[list[Series], int, Rows]:
    """Return the CT series of one source, how many DICOM files are no CT, and rows for damaged files."""
    by_folder: dict[str, list[Listed]] = {}
    for one in listing.dicom:
        by_folder.setdefault(one.name.rpartition("/")[0], []).append(one)
    source = told_path(listing.source, folder)
    keys = {}
    for name, files in by_folder.items():
        own = safe_id(source, name)
        keys[own] = hash_of(READER, [f.mark for f in files])
        write_plan(folder, "index", own, {"source": source, "names": [f.name for f in files]})
    if not keys:
        return [], 0, []
    beside = workers if len(keys) >= FOLDERS_WORTH_WORKERS else 1
    outcome = run_stage("index", index_files, list(keys), folder=folder, keys=keys, options={}, workers=beside)
    pairs = [(About(**about), Instance(**instance)) for row in outcome.rows for about, instance in row["slices"]]
    damaged = [
        {
            "source": f"{source}/{name}",
            "scan": "",
            "reason": "unreadable_file",
            "found": found,
            "expected": "a whole DICOM header",
            "do": "Copy or export the file again.",
        }
        for row in outcome.rows
        for name, found in row["damaged"]
    ]
    return [_placed(one) for one in group_instances(pairs, source=source)], sum(row["others"] for row in outcome.rows), damaged


def _placed(series: Series) -> Series:
    """Return a DICOM series whose source is the deepest folder that holds all its files."""
    parents = [PurePosixPath(name).parent.parts for name in series.names]
    shared = list(parents[0])
    for parts in parents[1:]:
        while tuple(shared) != parts[: len(shared)]:
            shared.pop()
    below = PurePosixPath(*shared)
    names = tuple(PurePosixPath(name).relative_to(below).as_posix() for name in series.names)
    return replace(series, source=(PurePosixPath(series.source) / below).as_posix(), names=names)


def _nifti(listings: Sequence[Listing], table: Path | None) -> tuple[list[Series], Rows]:
    files = [one for listing in listings for one in listing.nifti]
    series, absent = nifti_series(files, table)
    set_aside = [
        {
            "source": name,
            "scan": safe_id(name),
            "reason": "missing_file",
            "found": "named in the table, but in no source",
            "expected": "a NIfTI file of that name",
            "do": "Correct the table, or copy the file.",
        }
        for name in absent
    ]
    return series, set_aside


def _refuse_equal_ids(series: Sequence[Series]) -> None:
    seen: dict[str, Series] = {}
    for one in series:
        other = seen.setdefault(one.scan, one)
        if other is not one:
            raise InputError(
                one.source,
                found=f"the same series as in {other.source}",
                expected="each series once",
                do="Name the folder above both as the one source, or remove one.",
            )
