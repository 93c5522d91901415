"""The index: what the headers of DICOM files say, kept in small records and read again only where files changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from espalier.cohort.archives import is_archive_name, unpacked
from espalier.cohort.dicom import read_headers
from espalier.cohort.forgotten import Forgotten, is_forgotten, read_forgotten
from espalier.cohort.headers import About, Instance
from espalier.cohort.plans import READER, read_plan, told_path, write_plan
from espalier.cohort.pseudonyms import pseudonym_of, pseudonymised, read_key
from espalier.cohort.sources import FolderFiles, could_be_dicom, format_of
from espalier.outputs import hash_of, read_json, safe_id
from espalier.stage import Rows

STAGE: Final = "index"
FILES_A_UNIT: Final = 4000
"""Folders with more files are indexed in several pieces, so that one record stays small."""
INSTANCE_FIELDS: Final = tuple(field.name for field in fields(Instance))


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """One piece of the index: some files of one folder, or one archive; `key` changes when any of them does."""

    id: str
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Indexed:
    """What one piece of the index holds.

    Parameters
    ----------
    pairs
        What each slice says of its series and of its place.
    singles
        Members of an archive that are single files of volumes, with their marks.
    place
        The source or archive to which all names are relative, as told in the study.
    others
        How many files are no scans.
    damaged
        Names of files that cannot be read, the reason's code, and what is wrong.
    """

    pairs: Sequence[tuple[About, Instance]]
    singles: Sequence[tuple[str, str]]
    place: str
    others: int
    damaged: Sequence[tuple[str, str, str]]


def plan_units(files: FolderFiles, *, source: Path, folder: Path) -> Iterator[Unit]:
    """Write the plans for the DICOM files and archives of one folder, and yield what is to be indexed.

    Parameters
    ----------
    files
        What lies in the folder.
    source, folder
        The source below which it lies, and the study's folder.
    """
    told = told_path(source, folder)
    for start in range(0, len(files.dicom), FILES_A_UNIT):
        batch = files.dicom[start : start + FILES_A_UNIT]
        id_ = safe_id(told, batch[0].name)
        names = [[one.name, one.short_mark] for one in batch]
        write_plan(folder, STAGE, id_, {"source": told, "files": names})
        yield Unit(id=id_, key=hash_of(READER, told, names))
    for one in files.archives:
        id_ = safe_id(told, one.name)
        plan = {"archive": told_path(one.path, folder), "mark": one.short_mark}
        write_plan(folder, STAGE, id_, plan)
        yield Unit(id=id_, key=hash_of(READER, plan))


def index_files(folder: Path, unit: str, options: Mapping[str, Any]) -> Rows:
    """Read the headers of one piece; its one row holds what they say (a stage's work).

    Raises
    ------
    ScanError
        When an archive cannot be unpacked safely.
    """
    plan = read_plan(folder, STAGE, unit)
    key = read_key(folder / options["pseudonyms"]) if options["pseudonyms"] else None
    forgotten = read_forgotten(folder)
    if "archive" not in plan:
        source = folder / plan["source"]
        row = _row([(source / name, name, mark) for name, mark in plan["files"]], [], 0, key, forgotten)
        return [{**row, "place": plan["source"]}]
    with unpacked(folder / plan["archive"], below=folder / "records") as place:
        return [{**_archive_row(place, plan["mark"], key, forgotten), "place": plan["archive"]}]


def read_unit(folder: Path, unit: str) -> Indexed | None:
    """Return one piece of the index, or None where it was set aside."""
    record = read_json(folder / "records" / STAGE / f"{unit}.json", kind="record")
    if "rows" not in record:
        return None
    (row,) = record["rows"]
    abouts = [About(**about) for about in row["abouts"]]
    pairs = [(abouts[n], Instance(**dict(zip(INSTANCE_FIELDS, told, strict=True)))) for n, *told in row["slices"]]
    singles = [(name, mark) for name, mark in row["singles"]]
    damaged = [(name, code, found) for name, code, found in row["damaged"]]
    return Indexed(pairs=pairs, singles=singles, place=row["place"], others=row["others"], damaged=damaged)


def unit_place(folder: Path, unit: str) -> str:
    """Return the source or archive that one piece of the index is about, as told in the study."""
    plan = read_plan(folder, STAGE, unit)
    return str(plan.get("archive") or plan["source"])


def _archive_row(place: Path, mark: str, key: bytes | None, forgotten: Forgotten) -> dict[str, Any]:
    paths = [path for path in sorted(place.rglob("*")) if path.is_file()]
    names = [path.relative_to(place).as_posix() for path in paths]
    singles = [[name, mark] for name in names if format_of(name)]
    nested = [[name, "archive_nested", "an archive within an archive"] for name in names if is_archive_name(name)]
    left = [
        (path, name, mark) for path, name in zip(paths, names, strict=True) if not format_of(name) and not is_archive_name(name)
    ]
    dicom = [one for one in left if could_be_dicom(one[0])]
    row = _row(dicom, singles, len(left) - len(dicom), key, forgotten)
    return {**row, "damaged": [*row["damaged"], *nested]}


def _row(
    files: Sequence[tuple[Path, str, str]], singles: Sequence[Any], others: int, key: bytes | None, forgotten: Forgotten
) -> dict[str, Any]:
    pairs, no_ct, damaged = read_headers(files)
    if key is not None:
        pairs = [_without_names(about, instance, key) for about, instance in pairs]
    # Who has no patient id is known again by the study's.
    pairs = [pair for pair in pairs if not is_forgotten(forgotten, patient=pair[0].patient, study=pair[0].study_uid)]
    abouts = list(dict.fromkeys(about for about, _ in pairs))
    place = {about: n for n, about in enumerate(abouts)}
    told = attrgetter(*INSTANCE_FIELDS)
    return {
        "abouts": [asdict(about) for about in abouts],
        "slices": [[place[about], *told(instance)] for about, instance in pairs],
        "singles": list(singles),
        "others": others + no_ct,
        "damaged": [[name, "unreadable_file", found] for name, found in damaged],
    }


def _without_names(about: About, instance: Instance, key: bytes) -> tuple[About, Instance]:
    own = pseudonym_of("sop_uid", instance.sop_uid, key) if instance.sop_uid else ""
    return pseudonymised(about, key), replace(instance, sop_uid=own)
