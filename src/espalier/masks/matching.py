"""Which masks are named after which scan: by id, path, series UID, name of the file or of its folder."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from espalier.cohort.ct_rate import VOLUME
from espalier.cohort.files import stem_of
from espalier.masks.label_lists import known_names
from espalier.masks.naming import parts_of, words_of
from espalier.masks.volumes import is_volume, without_suffix

PLAIN: Final = frozenset(
    {"mask", "masks", "seg", "segs", "segmentation", "segmentations", "label", "labels", "totalsegmentator"}
)
"""Names of files and folders that say what they hold and not whose it is."""
FOLDER: Final = "/"
"""Ends the name of a folder that holds one file for each structure."""


@dataclass(frozen=True, slots=True)
class _Shelf:
    """What there is to find: by whole path, by any end of it (two parts or more), and by its last part."""

    paths: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    tails: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    stems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def put(self, path: str, name: str, *, alias: str = "") -> None:
        """Add a mask under its path without ending, and under another stem where its own is flattened."""
        self.paths[path].append(name)
        for tail in tails(path):
            self.tails[tail].append(name)
        for stem in {PurePosixPath(path).name, alias or PurePosixPath(path).name}:
            self.stems[stem].append(name)


@dataclass(frozen=True, slots=True)
class Place:
    """By what a scan may be called: the place of its file or folder, its series UIDs, and its stem."""

    place: str
    parent: str
    uids: tuple[str, ...]
    stem: str


def place_of(row: Mapping[str, Any]) -> Place:
    """Return by what a scan may be called, from its row of the cohort.

    Its own path tells the stem, since the one in the table may be a pseudonym.
    """
    files = row["files"] or []
    source = PurePosixPath(row["source"])
    if row["format"] == "dicom":
        place = source / PurePosixPath(files[0]).parent if files else source
        stem = place.name
    else:
        whole = source / files[0] if files else source
        place, stem = whole.parent / stem_of(whole.name), stem_of(whole.name)
    return Place(place.as_posix(), place.parent.as_posix(), (row["series_uid"],) if row["series_uid"] else (), stem)


def match_names(
    rows: Mapping[str, Mapping[str, Any]], listing: Sequence[str], structures: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return for each scan the masks that are named after it.

    What counts, in this order: its id; the end of its path, two parts or more; its series UID; its stem; and for folders of
    structures the folder it lies in. The first that gives something decides; a name that two scans share names neither.

    Parameters
    ----------
    rows
        Of the cohort, by scan.
    listing
        Files of masks below their folder.
    structures
        The wanted ones: a folder is one of structures when a file in it is named as one of these or as a known one.
    """
    shelf = _shelved(listing, structures)
    places = {scan: place_of(row) for scan, row in rows.items()}
    shared = _shared(places.values())
    return {scan: _named_after(scan, place, shared, shelf) for scan, place in places.items()}


def tails(path: str) -> Iterator[str]:
    """Yield every end of a path that has two parts or more, the longest first."""
    parts = PurePosixPath(path).parts
    for start in range(len(parts) - 1):
        yield "/".join(parts[start:])


def _shelved(listing: Sequence[str], structures: Sequence[str]) -> _Shelf:
    shelf = _Shelf()
    folders: dict[str, list[str]] = defaultdict(list)
    for name in listing:
        path = PurePosixPath(name)
        folders[path.parent.as_posix()].append(name)
        flattened = VOLUME.search(path.name)
        shelf.put(without_suffix(name), name, alias=flattened["volume"] if flattened else "")
    known = {words_of(one) for structure in structures for one in parts_of(structure)} | {words_of(n) for n in known_names()}
    for folder, names in folders.items():
        if folder != ".":
            _put_folder(shelf, PurePosixPath(folder), names, known)
    return shelf


def _put_folder(shelf: _Shelf, folder: PurePosixPath, names: Sequence[str], known: Collection[tuple[str, ...]]) -> None:
    """Add a folder that holds one scan's masks: a file for each structure, or a single file of a plain name."""
    stems = [without_suffix(PurePosixPath(name).name) for name in names]
    own = folder.parent if folder.name.lower() in PLAIN and len(folder.parts) > 1 else folder
    if any(words_of(stem) in known for stem, name in zip(stems, names, strict=True) if is_volume(name)):
        shelf.put(own.as_posix(), folder.as_posix() + FOLDER)
    else:
        plain = [name for name, stem in zip(names, stems, strict=True) if stem.lower() in PLAIN]
        if len(plain) == 1:
            shelf.put(own.as_posix(), plain[0])


def _shared(places: Collection[Place]) -> frozenset[str]:
    """Return every name that several scans go by."""
    counts: Counter[str] = Counter()
    for one in places:
        counts.update({one.place, *tails(one.place), *one.uids, one.stem})
        counts.update({f"in {one.parent}", *(f"in {tail}" for tail in _ends(one.parent))})
    return frozenset(name for name, count in counts.items() if count > 1)


def _ends(path: str) -> Iterator[str]:
    yield from tails(path)
    yield PurePosixPath(path).name


def _named_after(scan: str, own: Place, shared: frozenset[str], shelf: _Shelf) -> tuple[str, ...]:
    if scan in shelf.stems:
        return tuple(shelf.stems[scan])
    ends = [end for end in tails(own.place) if end not in shared]
    for where in (shelf.paths, shelf.tails):
        if found := next((where[end] for end in ends if end in where), None):
            return tuple(found)
    for name in (*own.uids, own.stem):
        if name and name not in shared and name in shelf.stems:
            return tuple(shelf.stems[name])
    return _in_its_folder(own, shared, shelf)


def _in_its_folder(own: Place, shared: frozenset[str], shelf: _Shelf) -> tuple[str, ...]:
    """Return the folder of structures that has the name of the folder in which the scan alone lies."""
    for end in _ends(own.parent):
        if end and f"in {end}" not in shared:
            found = [n for n in (shelf.paths.get(end) or shelf.tails.get(end) or shelf.stems.get(end, [])) if _is_folder(n)]
            if found:
                return tuple(found)
    return ()


def _is_folder(name: str) -> bool:
    return name.endswith(FOLDER) or without_suffix(PurePosixPath(name).name).lower() in PLAIN
