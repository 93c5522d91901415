"""Every series below the sources, from names and headers; nothing is chosen or read wholly here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from espalier.cohort import ct_rate, rad_chestct, ratic
from espalier.cohort.archives import is_archive_name
from espalier.cohort.files import Single, single_series
from espalier.cohort.grouping import group_instances
from espalier.cohort.hints import Hints, hints_for, read_hints
from espalier.cohort.index import STAGE, Indexed, Unit, index_files, plan_units, read_unit, unit_place
from espalier.cohort.options import CohortOptions
from espalier.cohort.plans import told_path
from espalier.cohort.pseudonyms import read_key
from espalier.cohort.series import Series
from espalier.cohort.sources import own_folders, source_paths, walk_source
from espalier.errors import InputError
from espalier.outputs import hash_of, safe_id
from espalier.stage import Rows, run_stage

PUBLISHED: Final = frozenset({"ct-rate", "rad-chestct", "ratic"})
FOLDERS_WORTH_WORKERS: Final = 16
"""Headers of fewer folders are read sooner than worker processes start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What lies below the sources.

    Parameters
    ----------
    series
        Every CT series, chosen or not; DICOM ones without the names of their files, which the index keeps.
    set_aside
        Rows for files that are named or damaged, but belong to no series.
    others
        How many files are no scans.
    beside
        How many files are of the layout that is not taken.
    words
        Sentences on a published data set's tables.
    """

    series: Sequence[Series]
    set_aside: Rows
    others: int = 0
    beside: int = 0
    words: tuple[str, ...] = ()


@dataclass(slots=True)
class _Source:
    """What one source holds, gathered folder by folder."""

    path: Path
    singles: list[Single] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    others: int = 0
    set_aside: Rows = field(default_factory=list)


def discover(options: CohortOptions, *, folder: Path, workers: int | None) -> Found:
    """List the sources, read DICOM headers (kept in records, so that only changed folders are read again), and group.

    Raises
    ------
    InputError
        As `espalier.cohort.ingest.ingest` does.
    """
    sources = [_walked(path, folder) for path in source_paths(options, folder=folder)]
    unread = _index([unit for source in sources for unit in source.units], options, folder, workers)
    found = [_series_of(source, options, folder) for source in sources]
    once, twice = _each_once([series for one in found for series in one.series])
    set_aside = [*unread, *(row for one in found for row in one.set_aside), *twice]
    if options.layout in {"ct-rate", "rad-chestct"}:
        there = {one.scan for one in once}  # one split may lie in several sources
        set_aside = [row for row in set_aside if row["reason"] != "missing_file" or row["scan"] not in there]
    others, beside = sum(one.others for one in found), sum(one.beside for one in found)
    words = tuple(dict.fromkeys(sentence for one in found for sentence in one.words))
    return Found(series=once, set_aside=set_aside, others=others, beside=beside, words=words)


def files_of(folder: Path, plan: Mapping[str, Any], scan: str) -> list[str]:
    """Return the files of a DICOM series relative to its source, from the records of the index that hold it."""
    pieces = [piece for unit in plan["units"] if (piece := read_unit(folder, unit))]
    hints = replace(read_hints(plan["hints"]), acquisition=None)
    series = _grouped(pieces, uid=plan["about"]["series_uid"], hints=hints)
    return list(next(one for one in series if one.scan == scan).names)


def _walked(path: Path, folder: Path) -> _Source:
    source = _Source(path)
    for files in walk_source(path, leave=own_folders(folder)):
        if files.problem:
            told = told_path(Path(files.name), folder)
            do = "Let it be read, rename it, or leave it out."
            source.set_aside.append(_unread(told, "unreadable_folder", files.problem, do=do))
            continue
        source.singles += [Single(one.path, one.name, mark=one.short_mark) for one in files.singles]
        source.others += files.others
        source.units += plan_units(files, source=path, folder=folder)
    return source


def _index(units: Sequence[Unit], options: CohortOptions, folder: Path, workers: int | None) -> Rows:
    """Bring the records of the index up to date; return rows for the archives that could not be unpacked."""
    if not units:
        return []
    beside = len(units) >= FOLDERS_WORTH_WORKERS
    outcome = run_stage(
        STAGE,
        index_files,
        [unit.id for unit in units],
        folder=folder,
        keys={unit.id: hash_of(unit.key, options.pseudonyms) for unit in units},
        options={"pseudonyms": options.pseudonyms},
        workers=workers if beside and workers else 1,
        timeout_s=options.timeout_s if beside and workers else None,
        memory_gb=options.memory_gb if beside and workers else None,
        collect=False,
        verb="ingest",
    )
    return [{**row, "source": unit_place(folder, row["scan"]), "scan": ""} for row in outcome.set_aside]


def _series_of(source: _Source, options: CohortOptions, folder: Path) -> Found:
    """Return the series of one source; records of the index are read one at a time, so that memory stays flat."""
    hints = read_hints(hints_for("dicom", options))
    dicom: list[Series] = []
    singles, set_aside, others = list(source.singles), list(source.set_aside), source.others
    for unit in source.units:
        piece = read_unit(folder, unit.id)
        if piece is None:
            continue
        others += piece.others
        set_aside += [_unread(f"{piece.place}/{name}", "unreadable_file", found) for name, found in piece.damaged]
        singles += [Single(folder / piece.place, name, member=name, mark=mark) for name, mark in piece.singles]
        dicom += [replace(one, names=(), units=(unit.id,)) for one in _grouped([piece], hints=hints)]
    dicom = _mended(dicom, folder, hints)
    return _of_layout(source, dicom, singles, options, folder, Found(series=(), set_aside=set_aside, others=others))


def _mended(series: Sequence[Series], folder: Path, hints: Hints) -> list[Series]:
    """Put together again the series whose files lie in several folders of one source."""
    units: dict[str, list[str]] = {}
    for one in series:
        if not is_archive_name(one.source):
            units.setdefault(one.about.series_uid, []).append(one.units[0])
    torn = {uid: tuple(dict.fromkeys(own)) for uid, own in units.items() if len(set(own)) > 1}
    whole = [one for one in series if one.about.series_uid not in torn or is_archive_name(one.source)]
    for uid, own in torn.items():
        pieces = [piece for unit in own if (piece := read_unit(folder, unit))]
        whole += [replace(one, names=(), units=own) for one in _grouped(pieces, uid=uid, hints=hints)]
    return whole


def _grouped(pieces: Sequence[Indexed], *, hints: Hints, uid: str | None = None) -> list[Series]:
    """Return the series of some pieces of the index, or the one with a UID; each in the deepest folder that holds its files."""
    pairs = [pair for piece in pieces for pair in piece.pairs if uid is None or pair[0].series_uid in {uid, ""}]
    if uid is not None:
        known = [pair for pair in pairs if pair[0].series_uid == uid]
        pairs = known or pairs
    series = group_instances(pairs, source=pieces[0].place, hints=hints)
    return series if is_archive_name(pieces[0].place) else [_placed(one) for one in series]


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


def _of_layout(
    source: _Source, dicom: list[Series], singles: list[Single], options: CohortOptions, folder: Path, found: Found
) -> Found:
    """Keep what the layout asks for; raise `InputError` where there is none of it."""
    wanted = options.layout or ("dicom" if dicom else "nifti")
    taken = {"dicom": (True, False), "ratic": (True, False), "mixed": (True, True)}.get(wanted, (False, True))
    beside = (0 if taken[0] else len(dicom)) + (0 if taken[1] else len(singles))
    if not (taken[0] and dicom) and not (taken[1] and singles) and not found.set_aside:
        told = f"{len(singles)} single files of volumes and {len(dicom)} CT series in DICOM"
        raise InputError(source.path, found=told, expected=f"files of layout {wanted!r}", do="Correct [cohort] layout.")
    if wanted in PUBLISHED:
        key = read_key(folder / options.pseudonyms) if options.pseudonyms else None
        return _published(wanted, dicom, singles, source.path, key, replace(found, beside=beside))
    table = folder / options.table if options.table else None
    single, absent = single_series(singles, table, encoding=options.encoding) if taken[1] else ([], [])
    series = [*(dicom if taken[0] else []), *single]
    rows = [_named_only(name) for name in absent]
    return replace(found, series=series, set_aside=[*found.set_aside, *rows], beside=beside)


def _published(
    layout: str, dicom: Sequence[Series], singles: Sequence[Single], source: Path, key: bytes | None, found: Found
) -> Found:
    """Return what the names and tables of a published data set say."""
    if layout == "ratic":
        told = ratic.enrich(dicom, source=source, key=key)
    else:
        told = (ct_rate if layout == "ct-rate" else rad_chestct).find_series(singles, source=source)
    series = [replace(one, notes=told.notes.get(one.scan, ())) for one in told.series]
    set_aside = [*found.set_aside, *told.set_aside]
    return replace(found, series=series, set_aside=set_aside, others=found.others + told.others, words=told.words)


def _each_once(series: Sequence[Series]) -> tuple[list[Series], Rows]:
    """Keep one of the copies of a series that lies in two sources; set both aside where they differ, as parts of one do."""
    by_scan: dict[str, list[Series]] = {}
    for one in series:
        by_scan.setdefault(one.scan, []).append(one)
    once: list[Series] = []
    rows: Rows = []
    for copies in by_scan.values():
        alike = all(one.content and one.content == copies[0].content for one in copies)
        if len(copies) == 1 or alike:
            once.append(copies[0])
        code, found, do = (
            ("series_twice", "the same series lies in another source", "Nothing: the other copy is used.")
            if alike
            else (
                "series_torn",
                "another part of the series lies in another source",
                "Bring the series' files into one source.",
            )
        )
        rows += [_aside(one, code, found, do) for one in (copies[1:] if alike else copies if len(copies) > 1 else ())]
    return once, rows


def _aside(one: Series, code: str, found: str, do: str) -> dict[str, Any]:
    return {
        "source": one.source,
        "scan": "" if code == "series_twice" else one.scan,
        "reason": code,
        "found": found,
        "expected": "each series once",
        "do": do,
    }


def _named_only(name: str) -> dict[str, Any]:
    return {
        "source": name,
        "scan": safe_id(name),
        "reason": "missing_file",
        "found": "named in the table, but in no source",
        "expected": "a file of that name",
        "do": "Correct the table, or copy the file.",
    }


def _unread(source: str, code: str, found: str, do: str = "Copy or export the file again.") -> dict[str, Any]:
    return {
        "source": source,
        "scan": "",
        "reason": code,
        "found": found,
        "expected": "a whole DICOM header" if code == "unreadable_file" else "a folder that can be read",
        "do": do,
    }
