"""All masks that lie below a folder, and whose they are: looked for once per run, then read by every worker."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from espalier.cohort.pseudonyms import FINGERPRINT
from espalier.cohort.sources import could_be_dicom, own_folders
from espalier.errors import MissingError
from espalier.masks.cohort_rows import cohort_rows
from espalier.masks.dicom_refs import References, looks_like_mask, read_references, scan_references
from espalier.masks.label_lists import LISTS
from espalier.masks.matching import FOLDER, match_names
from espalier.masks.naming import parts_of, words_of
from espalier.masks.volumes import is_volume, without_suffix
from espalier.outputs import hash_file, hash_of, key_of, read_json, write_json

INDEX: Final = Path("records", "masks_found.json")
Rows = Mapping[str, Mapping[str, Any]]
Marks = dict[str, list[Any]]
"""By name of a file its size, its time of change, and what was found out about it then."""


@dataclass(frozen=True, slots=True)
class Found:
    """The masks of every scan, as names below their folder, and the hash of all that each scan's masks hold.

    `key` stands for the whole, and is what `found_names` asks for.
    """

    names: Mapping[str, tuple[str, ...]]
    keys: Mapping[str, str]
    key: str


def find_masks(root: Path, structures: Sequence[str], *, folder: Path, cohort: str) -> Found:
    """Look for the masks of every scan of a study, and note what was found in `records/masks_found.json`.

    Parameters
    ----------
    root
        Where the masks lie, searched with all folders below it.
    structures
        The wanted ones.
    folder
        Of the study.
    cohort
        Hash of the cohort's table.

    Raises
    ------
    MissingError
        When there is no such folder, or no mask in it.
    """
    rows = cohort_rows(folder, cohort)
    volumes, dicom, lists = _listed(root, rows, folder)
    before = _before(folder, cohort, root)
    marks = {name: _mark(root / name) for name in dicom}
    by_reference, told = _by_reference(root, marks, before["dicom"], rows, folder)
    referring = {name for names in by_reference.values() for name in names}
    unnamed = [name for name in dicom if name not in referring]
    by_name = match_names(rows, sorted([*volumes, *unnamed]), structures)
    names = {scan: tuple(dict.fromkeys((*by_reference.get(scan, ()), *by_name[scan]))) for scan in rows}
    wanted = frozenset(words_of(one) for structure in structures for one in parts_of(structure))
    hashes: Marks = {}
    shared = [_hash(root, name, before["hashes"], hashes) for name in lists]
    keys = {}
    for scan, own in names.items():
        files = [name for one in own for name in files_behind(root, one, wanted)]
        keys[scan] = hash_of(own, files, [_hash(root, name, before["hashes"], hashes) for name in files], shared)
    key = hash_of(cohort, root.as_posix(), names)
    content = {"cohort": cohort, "root": root.as_posix(), "names": names, "hashes": hashes, "dicom": told}
    if key_of(folder / INDEX) != key or (before["hashes"], before["dicom"]) != (hashes, told):
        write_json(folder / INDEX, content, kind="record", key=key, private=True)
    return Found(names, keys, key)


@lru_cache(maxsize=2)
def found_names(folder: Path, key: str) -> Mapping[str, tuple[str, ...]]:
    """Return for each scan the names of its masks, as `find_masks` found them; read once per process.

    Parameters
    ----------
    folder
        Of the study.
    key
        Of `Found`.
    """
    if key_of(folder / INDEX) != key:
        raise MissingError(
            folder / INDEX, found="another search for masks", expected="this run's", do="Run `espalier segment`."
        )
    return {scan: tuple(names) for scan, names in read_json(folder / INDEX, kind="record")["names"].items()}


def files_behind(root: Path, name: str, wanted: Collection[tuple[str, ...]]) -> list[str]:
    """Return the files that a name stands for: itself, or those of a folder that hold a wanted structure or its parts."""
    if not name.endswith(FOLDER):
        return [name]
    files = sorted(one.name for one in (root / name).iterdir() if is_volume(one.name))
    return [name + one for one in files if words_of(without_suffix(one)) in wanted]


def _listed(root: Path, rows: Rows, folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Return volumes, masks in DICOM, and lists of names below a folder, as sorted relative paths."""
    do = "Correct [masks] folder, or make the masks first."
    if not root.is_dir():
        raise MissingError(root, found="no such folder", expected="a folder of masks", do=do)
    scans = {os.path.realpath(folder / row["source"]) for row in rows.values() if row["format"] != "dicom"}
    volumes, dicom, lists = [], [], []
    for path in _files(root, own_folders(folder)):
        name = path.relative_to(root).as_posix()
        if path.name in LISTS:
            lists.append(name)
        elif is_volume(path.name):
            if os.path.realpath(path) not in scans:
                volumes.append(name)
        elif could_be_dicom(path) and looks_like_mask(path):
            dicom.append(name)
    if not volumes and not dicom:
        expected = "NIfTI, NRRD, DICOM SEG or RTSTRUCT"
        raise MissingError(root, found="no mask in it or below", expected=expected, do=do)
    return volumes, dicom, lists


def _files(root: Path, leave: frozenset[str]) -> Iterator[Path]:
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if os.path.realpath(Path(place, name)) not in leave)
        for name in sorted(names):
            # A name that is no UTF-8 cannot stand in the study's records.
            if name.isprintable() and not name.startswith(".") and Path(place, name).is_file():
                yield Path(place, name)


def _before(folder: Path, cohort: str, root: Path) -> dict[str, Marks]:
    """Return what an earlier search of the same folder for the same cohort found out about files."""
    if key_of(folder / INDEX) is not None:
        content = read_json(folder / INDEX, kind="record")
        if (content["cohort"], content["root"]) == (cohort, root.as_posix()):
            return {"hashes": content["hashes"], "dicom": content["dicom"]}
    return {"hashes": {}, "dicom": {}}


def _mark(path: Path) -> list[Any]:
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


def _hash(root: Path, name: str, before: Marks, hashes: Marks) -> str:
    """Return the SHA-256 of a file, read only where its size or time changed since."""
    if name not in hashes:
        mark = _mark(root / name)
        known = before.get(name)
        hashes[name] = known if known and known[:2] == mark else [*mark, hash_file(root / name)]
    return str(hashes[name][2])


def _by_reference(root: Path, marks: Marks, before: Marks, rows: Rows, folder: Path) -> tuple[dict[str, list[str]], Marks]:
    """Return for each scan the DICOM masks made on its series, or else in its frame of reference; and the first as marks.

    Only ids of scans are kept: in a study with pseudonyms no UID may be written down.
    """
    found: dict[str, list[str]] = defaultdict(list)
    told: Marks = {name: before[name] for name, mark in marks.items() if name in before and before[name][:2] == mark}
    anew = {name: read_references(root / name) for name in marks if name not in told}
    uids: dict[str, tuple[str, str]] = {}
    if any(anew.values()) and (folder / FINGERPRINT).is_file():
        uids = {scan: scan_references(row, folder=folder) for scan, row in rows.items()}
    scans = _by_series(rows, uids)
    for name, references in anew.items():
        own = [scan for series in (references.series if references else ()) for scan in scans.get(series, ())]
        if own:
            told[name] = [*marks[name], own]
    for name, mark in sorted(told.items()):
        for scan in mark[2]:
            found[scan].append(name)
    _by_frame(found, {name: one for name, one in anew.items() if one and name not in told}, rows, uids, folder)
    return found, told


def _by_series(rows: Rows, uids: Mapping[str, tuple[str, str]]) -> dict[str, list[str]]:
    scans: dict[str, list[str]] = defaultdict(list)
    for scan, row in rows.items():
        series = uids[scan][0] if scan in uids else row["series_uid"] if row["format"] == "dicom" else ""
        if series:
            scans[series].append(scan)
    # One series in which two acquisitions were told apart: nothing says on which the mask was made.
    return {series: own for series, own in scans.items() if len(own) == 1}


def _by_frame(
    found: dict[str, list[str]], left: Mapping[str, References], rows: Rows, uids: Mapping[str, tuple[str, str]], folder: Path
) -> None:
    """Give scans that have no mask of their own series those that lie in their frame of reference."""
    if not left:
        return
    for scan, row in rows.items():
        if row["format"] == "dicom" and scan not in found:
            frame = (uids.get(scan) or scan_references(row, folder=folder))[1]
            found[scan] += [name for name, one in sorted(left.items()) if frame and frame in one.frames]
            if not found[scan]:
                del found[scan]
