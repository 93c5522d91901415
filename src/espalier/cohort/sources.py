"""Which files lie below a source, and what they could be, told by name and first bytes only."""

import errno
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from espalier.cohort.archives import is_archive_name
from espalier.cohort.options import CohortOptions
from espalier.cohort.volume import Format
from espalier.errors import InputError
from espalier.outputs import hash_of

OWN_FOLDERS: Final = ("records", "masks", "store", "runs", "evaluation", "comparison", "bundle", "jobs")
"""What Espalier writes beside the study file is never taken for scans, even where a source holds the study."""
SINGLE_SUFFIXES: Final[Mapping[str, Format]] = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
    ".npz": "npz",
}
"""Endings of single files that hold a volume."""
DETACHED: Final = frozenset({".nhdr", ".mhd"})
"""Headers whose voxels lie in a file of their own."""
OTHER_SUFFIXES: Final = frozenset(
    {
        ".txt",
        ".csv",
        ".tsv",
        ".json",
        ".xml",
        ".pdf",
        ".xlsx",
        ".xls",
        ".doc",
        ".docx",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".bmp",
        ".gz",
        ".xz",
        ".7z",
        ".md",
        ".html",
        ".py",
        ".log",
        ".ini",
        ".db",
        ".exe",
        ".inf",
        ".raw",
        ".zraw",
        ".parquet",
        ".toml",
        ".yaml",
        ".yml",
    }
)
OTHER_NAMES: Final = frozenset({"dicomdir", "thumbs.db", ".ds_store", "desktop.ini", "lockfile"})


@dataclass(frozen=True, slots=True)
class Listed:
    """One file below a source: its path, its name relative to the source, and what tells whether it changed."""

    path: Path
    name: str
    size: int
    mtime_ns: int

    @property
    def mark(self) -> list[str | int]:
        """Name, size and time of change."""
        return [self.name, self.size, self.mtime_ns]

    @property
    def short_mark(self) -> str:
        """The same as 12 characters."""
        return hash_of(self.mark)[:12]


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """What lies in one folder below a source.

    `others` counts files that are no scans, `problem` says why the folder could not be entered.
    """

    name: str
    singles: tuple[Listed, ...] = ()
    dicom: tuple[Listed, ...] = ()
    archives: tuple[Listed, ...] = ()
    others: int = 0
    problem: str = ""


def source_paths(options: CohortOptions, *, folder: Path) -> list[Path]:
    """Return the sources as absolute paths, links kept as the user named them."""
    return [Path(os.path.abspath(folder / name)) for name in options.sources]  # noqa: PTH100


def own_folders(folder: Path) -> frozenset[str]:
    """Return what Espalier writes beside the study file, which is never taken for scans."""
    return frozenset(os.path.realpath(folder / own) for own in OWN_FOLDERS)


def walk_source(source: Path, *, leave: frozenset[str] = frozenset()) -> Iterator[FolderFiles]:
    """Yield what lies in each folder below a source, or the source itself where it is a single file.

    Parameters
    ----------
    source
        A folder, an archive, or a single file of a volume.
    leave
        Folders that are not entered.

    Raises
    ------
    InputError
        When it is missing, empty, holds no file that could be a scan, or is a single file of no known kind.
    """
    if not source.exists():
        raise InputError(source, found="no such folder or file", expected="a folder of scans", do="Correct [cohort] sources.")
    if source.is_file():
        yield _single_source(source)
        return
    files, others, scans = 0, 0, 0
    closed: list[OSError] = []
    for name, paths in _walk(source, leave, closed):
        found = _sorted_out(name, paths, source)
        files, others = files + len(paths), others + found.others
        scans += len(found.singles) + len(found.dicom) + len(found.archives)
        yield found
    for error in closed:
        yield FolderFiles(str(error.filename), problem=error.strerror or type(error).__name__)
    if not scans and not closed:
        found_words = f"no scan among its {others} files" if files else "an empty folder"
        raise InputError(source, found=found_words, expected="DICOM, NIfTI or other volumes", do="Correct [cohort] sources.")


def format_of(name: str) -> Format | None:
    """Return the format of a single file of a volume by its name, or None; hidden files are none."""
    lower = PurePosixPath(name).name.lower()
    if lower.startswith("."):
        return None
    return next((form for suffix, form in SINGLE_SUFFIXES.items() if lower.endswith(suffix)), None)


def _single_source(source: Path) -> FolderFiles:
    listed = (_listed(source, source),)
    if format_of(source.name):
        return FolderFiles("", singles=listed)
    if is_archive_name(source.name):
        return FolderFiles("", archives=listed)
    found = "a single file of no kind that holds a volume"
    raise InputError(source, found=found, expected="a folder, an archive, NIfTI or the like", do="Name its folder.")


def _sorted_out(name: str, paths: Sequence[Path], source: Path) -> FolderFiles:
    singles, dicom, archives = [], [], []
    for path in paths:
        if format_of(path.name):
            singles.append(_listed(path, source))
        elif is_archive_name(path.name) and not path.name.startswith("."):
            archives.append(_listed(path, source))
        elif could_be_dicom(path):
            dicom.append(_listed(path, source))
    others = len(paths) - len(singles) - len(dicom) - len(archives)
    return FolderFiles(name, tuple(singles), tuple(dicom), tuple(archives), others)


def could_be_dicom(path: Path) -> bool:
    """Tell whether a file starts as DICOM does, with or without preamble; text, DICOMDIR and hidden files do not."""
    name = path.name.lower()
    if name in OTHER_NAMES or name.startswith(".") or path.suffix.lower() in OTHER_SUFFIXES:
        return False
    try:
        with path.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return True  # it is told as unreadable when its turn comes, not passed over here
    return start[128:132] == b"DICM" or (len(start) == 132 and start[:2] in {b"\x08\x00", b"\x02\x00"} and start[3] == 0)


def _listed(path: Path, source: Path) -> Listed:
    try:
        about = path.stat()
    except OSError:  # gone since it was seen; whoever reads it says so
        return Listed(path, path.relative_to(source).as_posix() if path != source else path.name, 0, 0)
    name = path.relative_to(source).as_posix() if path != source else path.name
    beside = _data_files(path) if path.suffix.lower() in DETACHED else []
    size = about.st_size + sum(one.st_size for one in beside)
    return Listed(path, name, size, max([about.st_mtime_ns, *(one.st_mtime_ns for one in beside)]))


def _data_files(header: Path) -> list[os.stat_result]:
    """Return what tells whether the voxels beside a header changed: files of its name with another ending."""
    with suppress(OSError):
        return [one.stat() for one in sorted(header.parent.glob(f"{glob.escape(header.stem)}.*")) if one != header]
    return []


def _walk(source: Path, leave: frozenset[str], closed: list[OSError]) -> Iterator[tuple[str, list[Path]]]:
    """Yield every folder below with its files, in order of names; links to folders are followed once, so that loops end."""
    seen: set[str] = set()
    for root, folders, names in os.walk(source, followlinks=True, onerror=closed.append):
        for name in [name for name in (*folders, *names) if not _is_text(name)]:
            readable = str(Path(root, name)).encode("utf-8", "backslashreplace").decode()
            closed.append(OSError(errno.EILSEQ, "a name that is no UTF-8", readable))
        real = os.path.realpath(root)
        folders[:] = sorted(name for name in folders if os.path.realpath(Path(root, name)) not in leave and _is_text(name))
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        name = Path(root).relative_to(source).as_posix()
        paths = map(Path(root).joinpath, sorted(filter(_is_text, names)))
        yield "" if name == "." else name, [path for path in paths if _is_file(path, closed)]


def _is_file(path: Path, closed: list[OSError]) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        closed.append(error)
        return False


def _is_text(name: str) -> bool:
    """Tell whether a file name is UTF-8; tables and JSON hold no others, so that it could not be found again."""
    return not any("\ud800" <= sign <= "\udfff" for sign in name)
