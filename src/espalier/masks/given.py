"""Masks that another program made: what a file holds, and what came of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Bool, UInt8

from espalier.errors import ScanError
from espalier.geometry import Affine
from espalier.masks.files import Masks
from espalier.masks.naming import closest, values_named

OVERLAP: Final = "mask_overlap"
"""Noted where two wanted structures claim a voxel; the one that is named first in the settings has it."""

Labels = UInt8[np.ndarray, "z y x"]
Groups = Sequence[Sequence[int]]
"""For each wanted structure the values, segments or contours that make it; empty where the file does not hold it."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """One scan's masks, values in the order of the wanted structures, with reason codes of what is unusual about them."""

    masks: Masks
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """Labels on a grid, 1 for the first wanted structure, with notes on how they came to be."""

    voxels: Labels
    affine: Affine
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class MaskFile:
    """A file or folder of masks that was opened.

    Attributes
    ----------
    source
        For messages.
    names
        What its values are called, in several ways, the best first.
    read
        Takes the values of each wanted structure and returns their labels; raises `ScanError`.
    """

    source: Path
    names: Sequence[Mapping[int, str]]
    read: Callable[[Groups], Painted]

    def values(self, structure: str) -> tuple[int, ...]:
        """Return the values that make a structure, by the first way of naming that knows it."""
        return next((found for names in self.names if (found := values_named(structure, names))), ())


def given_masks(files: Sequence[MaskFile], structures: Sequence[str]) -> Given:
    """Return the wanted structures of one scan from one file or several.

    Raises
    ------
    ScanError
        `mask_without_structure`, `mask_ambiguous` where two files hold one structure, `mask_grids_differ`, or what reading
        raises.
    """
    groups: list[list[tuple[int, ...]]] = [[] for _ in files]
    for structure in structures:
        found = [file.values(structure) for file in files]
        if not any(found):
            raise without_structure(structure, [way for file in files for way in file.names], source=files[0].source)
        if sum(map(bool, found)) > 1:
            raise _ambiguous(structure, files, found)
        for own, values in zip(groups, found, strict=True):
            own.append(values)
    painted = [file.read(own) for file, own in zip(files, groups, strict=True) if any(own)]
    one = painted[0] if len(painted) == 1 else _joined(painted, files[0].source)
    return Given(Masks(one.voxels, one.affine, dict(enumerate(structures, start=1))), tuple(dict.fromkeys(one.notes)))


def painted_layers(
    layers: Iterable[tuple[int, Bool[np.ndarray, "z y x"]]], shape: tuple[int, ...], affine: Affine, notes: tuple[str, ...] = ()
) -> Painted:
    """Return labels from masks that may overlap.

    Parameters
    ----------
    layers
        A value and where it is.
    shape, affine
        Their grid.
    notes
        What is unusual so far.
    """
    voxels = np.zeros(shape, dtype=np.uint8)
    overlap = False
    for value, mask in layers:
        overlap |= paint(voxels, value, mask)
    return Painted(voxels, affine, (*notes, OVERLAP) if overlap else notes)


def paint(voxels: UInt8[np.ndarray, "..."], value: int, mask: Bool[np.ndarray, "..."]) -> bool:
    """Write a value where it or nothing was, or a higher value; tell whether another value was there."""
    there = voxels[mask]
    voxels[mask] = np.where((there == 0) | (there > value), value, there)
    return bool(((there != 0) & (there != value)).any())


def without_structure(structure: str, names: Iterable[Mapping[int, str]], *, source: Path) -> ScanError:
    """Return the error for a structure that no file holds, with the names that look like it.

    Parameters
    ----------
    structure
        The wanted one.
    names
        What the values of the files are called.
    source
        For the message.
    """
    there = list(dict.fromkeys(name for way in names for name in way.values() if name))
    alike = closest(structure, there)
    hint = f"; did you mean {alike}?" if alike else ""
    return ScanError(
        source,
        code="mask_without_structure",
        found=f"{structure} is not among its {len(there)} structures{hint}",
        expected="every structure that [masks] structures names",
        do="Choose other structures, or segment with a model that finds it.",
    )


def _ambiguous(structure: str, files: Sequence[MaskFile], found: Sequence[Sequence[int]]) -> ScanError:
    holders = [file.source.name for file, values in zip(files, found, strict=True) if values]
    return ScanError(
        files[0].source,
        code="mask_ambiguous",
        found=f"{len(holders)} masks are named after it and hold {structure} ({holders[0]}, {holders[1]})",
        expected="one",
        do="Keep one, or name them by series UID.",
    )


def _joined(painted: Sequence[Painted], source: Path) -> Painted:
    first = painted[0]
    voxels = first.voxels.copy()
    overlap = False
    for other in painted[1:]:
        refuse_other_grid(other, first, source)
        for value in np.unique(other.voxels[other.voxels > 0]):
            overlap |= paint(voxels, int(value), other.voxels == value)
    notes = tuple(note for one in painted for note in one.notes)
    return Painted(voxels, first.affine, (*notes, OVERLAP) if overlap else notes)


def refuse_other_grid(one: Painted | Masks, first: Painted | Masks, source: Path) -> None:
    """Raise `ScanError` `mask_grids_differ` where two masks of one scan do not share their grid."""
    if one.voxels.shape != first.voxels.shape or not np.allclose(one.affine, first.affine, atol=1e-3):
        raise ScanError(
            source,
            code="mask_grids_differ",
            found="masks of one scan on different grids",
            expected="one grid for all structures of a scan",
            do="Write them on the grid of the scan.",
        )
