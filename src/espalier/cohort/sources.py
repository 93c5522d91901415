"""Which files lie below a source, and what they could be, told by name and first bytes only."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from espalier.cohort.options import CohortOptions, Layout
from espalier.errors import InputError

OWN_FOLDERS: Final = ("records", "masks", "store", "runs", "evaluation", "comparison", "bundle")
"""What Espalier writes beside the study file is never taken for scans, even where a source holds the study."""
NIFTI_SUFFIXES: Final = (".nii", ".nii.gz")
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
        ".zip",
        ".tar",
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
        ".nrrd",
        ".mha",
        ".mhd",
        ".raw",
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


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies below one source; `others` counts files that are no scans, `beside` scans of the kind not taken."""

    source: Path
    nifti: tuple[Listed, ...]
    dicom: tuple[Listed, ...]
    others: int
    beside: int = 0


def list_sources(options: CohortOptions, *, folder: Path) -> list[Listing]:
    """List all sources in their order; raise `InputError` where one is missing or holds no scans."""
    # Made absolute without following links, so that a linked folder keeps the name its user gave it.
    leave = frozenset(str(folder / own) for own in OWN_FOLDERS)
    return [list_source(Path(os.path.abspath(folder / name)), options.layout, leave=leave) for name in options.sources]  # noqa: PTH100


def list_source(source: Path, layout: Layout | None, *, leave: frozenset[str] = frozenset()) -> Listing:
    """List one folder or single file; folders named in `leave` are not entered.

    Raises
    ------
    InputError
        When it is missing, empty, or holds no file that could be a scan of the wanted layout.
    """
    if not source.exists():
        raise InputError(source, found="no such folder or file", expected="a folder of scans", do="Correct [cohort] sources.")
    if source.is_file() and not is_nifti_name(source.name):
        raise InputError(source, found="a single file that is not NIfTI", expected="a folder or NIfTI", do="Name its folder.")
    nifti: list[Listed] = []
    dicom: list[Listed] = []
    others = 0
    for path in [source] if source.is_file() else _walk(source, leave):
        if is_nifti_name(path.name):
            nifti.append(_listed(path, source))
        elif could_be_dicom(path):
            dicom.append(_listed(path, source))
        else:
            others += 1
    if not nifti and not dicom:
        found = f"no scan among its {others} files" if others else "an empty folder"
        raise InputError(source, found=found, expected="DICOM or NIfTI files", do="Correct [cohort] sources.")
    wanted = layout or ("dicom" if dicom else "nifti")
    taken = Listing(
        source,
        tuple(nifti) if wanted != "dicom" else (),
        tuple(dicom) if wanted != "nifti" else (),
        others,
        _beside(wanted, nifti, dicom),
    )
    if not taken.nifti and not taken.dicom:
        found = f"{len(nifti)} NIfTI and {len(dicom)} DICOM files"
        raise InputError(source, found=found, expected=f"files of layout {wanted!r}", do="Correct [cohort] layout.")
    return taken


def is_nifti_name(name: str) -> bool:
    """Tell whether a file is NIfTI by its name; hidden files are not."""
    return name.lower().endswith(NIFTI_SUFFIXES) and not name.startswith(".")


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


def _beside(wanted: Layout, nifti: list[Listed], dicom: list[Listed]) -> int:
    return {"dicom": len(nifti), "nifti": len(dicom), "mixed": 0}[wanted]


def _listed(path: Path, source: Path) -> Listed:
    about = path.stat()
    name = path.relative_to(source).as_posix() if path != source else path.name
    return Listed(path, name, about.st_size, about.st_mtime_ns)


def _walk(source: Path, leave: frozenset[str]) -> Iterator[Path]:
    """Yield every file below, in order of names; links to folders are followed once, so that loops end."""
    seen: set[str] = set()
    for root, folders, names in os.walk(source, followlinks=True):
        real = os.path.realpath(root)
        folders[:] = sorted(name for name in folders if str(Path(root, name)) not in leave)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in sorted(names):
            path = Path(root, name)
            if path.is_file():
                yield path
