"""Every series below the sources, from names and headers; nothing is chosen or read wholly here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

from espalier.cohort.archives import is_archive_name
from espalier.cohort.files import Single
from espalier.cohort.grouping import group_instances
from espalier.cohort.hints import Hints, hints_for, read_hints
from espalier.cohort.index import STAGE, Indexed, Unit, index_files, plan_units, read_unit, unit_place
from espalier.cohort.layout import Found, each_once, taken
from espalier.cohort.options import CohortOptions
from espalier.cohort.plans import told_path
from espalier.cohort.series import Series
from espalier.cohort.sources import own_folders, source_paths, walk_source
from espalier.outputs import hash_of
from espalier.stage import Rows, run_stage

UNREAD: Final = {
    "unreadable_file": ("a whole DICOM header", "Copy or export the file again."),
    "unreadable_folder": ("a folder that can be read", "Let it be read, rename it, or leave it out."),
    "archive_nested": ("scans in the archive itself", "Unpack the inner archive beside the outer one."),
}
"""What was expected and what to do, by the code of what could not be read."""
FOLDERS_WORTH_WORKERS: Final = 16
"""Headers of fewer folders are read sooner than worker processes start."""


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
    found = [_series_of(source, options, folder, unread) for source in sources]
    once, twice = each_once([series for one in found for series in one.series])
    set_aside = [*(row for one in found for row in one.set_aside), *twice]
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
            source.set_aside.append(_unread(told, "unreadable_folder", files.problem))
            continue
        source.singles += [Single(one.path, one.name, mark=one.short_mark) for one in files.singles]
        source.others += files.others
        source.units += plan_units(files, source=path, folder=folder)
    return source


def _index(units: Sequence[Unit], options: CohortOptions, folder: Path, workers: int | None) -> dict[str, dict[str, Any]]:
    """Bring the records of the index up to date; return rows for the pieces that could not be read, by their ids."""
    if not units:
        return {}
    beside = len(units) >= FOLDERS_WORTH_WORKERS
    outcome = run_stage(
        STAGE,
        index_files,
        [unit.id for unit in units],
        folder=folder,
        keys={unit.id: hash_of(unit.key, options.pseudonyms) for unit in units},
        options={"pseudonyms": options.pseudonyms},
        workers=workers if beside and workers else 1,
        timeout_s=options.timeout_s if workers else None,
        memory_gb=options.memory_gb if workers else None,
        collect=False,
        verb="ingest",
    )
    return {row["scan"]: {**row, "source": unit_place(folder, row["scan"]), "scan": ""} for row in outcome.set_aside}


def _series_of(source: _Source, options: CohortOptions, folder: Path, unread: Mapping[str, dict[str, Any]]) -> Found:
    """Return the series of one source; records of the index are read one at a time, so that memory stays flat."""
    hints = read_hints(hints_for("dicom", options))
    dicom: list[Series] = []
    singles, set_aside, others = list(source.singles), list(source.set_aside), source.others
    for unit in source.units:
        piece = read_unit(folder, unit.id)
        if piece is None:
            set_aside.append(unread[unit.id])
            continue
        others += piece.others
        set_aside += [_unread(f"{piece.place}/{name}", code, found) for name, code, found in piece.damaged]
        singles += [_member(folder / piece.place, name, mark, source.path) for name, mark in piece.singles]
        dicom += [replace(one, names=(), units=(unit.id,)) for one in _grouped([piece], hints=hints)]
    dicom = _mended(dicom, folder, hints)
    return taken(
        Found(series=(), set_aside=set_aside, others=others), dicom, singles, source=source.path, options=options, folder=folder
    )


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


def _member(archive: Path, name: str, mark: str, source: Path) -> Single:
    own = archive.name if archive == source else archive.relative_to(source).as_posix()
    return Single(archive, name, member=name, archive=own, mark=mark)


def _unread(source: str, code: str, found: str) -> dict[str, Any]:
    expected, do = UNREAD[code]
    return {"source": source, "scan": "", "reason": code, "found": found, "expected": expected, "do": do}
