"""Masks that some segmenter has made already: found by name, read, and turned to the wanted structures."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, Final

import numpy as np

from espalier.cohort.volume import Volume
from espalier.errors import InputError, MissingError, ScanError
from espalier.geometry import Grid, world_mm
from espalier.masks.cohort_rows import cohort_rows
from espalier.masks.files import Masks, read_masks
from espalier.masks.structures import values_of

LABELS: Final = "labels.json"
SUFFIXES: Final = (".nii.gz", ".nii")


def list_masks(root: Path) -> tuple[str, ...]:
    """Return the NIfTI files below `root`, as sorted relative paths.

    Raises
    ------
    MissingError
        When there is no such folder, or no NIfTI file in it.
    """
    do = "Correct [masks] folder, or make the masks first."
    if not root.is_dir():
        raise MissingError(root, found="no such folder", expected="a folder of masks", do=do)
    names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.name.endswith(SUFFIXES) and p.is_file())
    if not names:
        raise MissingError(root, found="no NIfTI file in it or below", expected="one *.nii.gz per scan", do=do)
    return tuple(names)


@lru_cache(maxsize=2)
def match_masks(folder: Path, cohort: str, listing: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return for each scan of the cohort the masks that are named after it: one, or none, or several at odds.

    A file is named after a scan by its id, the tail of its source's path (two parts or more), its series UID, or its
    stem; the first of these that gives a file decides. A path, UID or stem that two scans share names neither.

    Parameters
    ----------
    folder
        Of the study.
    cohort
        Hash of the cohort's table.
    listing
        What `list_masks` returned.
    """
    rows = cohort_rows(folder, cohort)
    own = {name: Counter(row[name] for row in rows.values()) for name in ("source", "series_uid", "stem")}
    by_stem: dict[str, list[str]] = {}
    by_path = {_without_suffix(name): name for name in listing}
    for name in listing:
        by_stem.setdefault(_without_suffix(PurePath(name).name), []).append(name)
    lone = {scan: {name for name, counts in own.items() if row[name] and counts[row[name]] == 1} for scan, row in rows.items()}
    return {scan: _named_after(row, lone[scan], by_stem, by_path) for scan, row in rows.items()}


def existing_masks(root: Path, names: Sequence[str], structures: Sequence[str], *, scan: str) -> Masks:
    """Return one scan's masks with values by the order of `structures`.

    Parameters
    ----------
    root
        Where existing masks lie.
    names
        The scan's entry of `match_masks`.
    structures
        The wanted ones.
    scan
        Its id, for messages.

    Raises
    ------
    ScanError
        `mask_missing`, `mask_ambiguous`, `mask_without_structure`, `mask_values_unnamed`, or those of `read_masks`.
    """
    if not names:
        do = "Make its mask, or name the file after the scan's id, series UID, path or stem."
        raise ScanError(scan, code="mask_missing", found="no mask is named after it", expected="one", do=do)
    if len(names) > 1:
        found = f"{len(names)} masks are named after it ({names[0]}, {names[1]})"
        raise ScanError(scan, code="mask_ambiguous", found=found, expected="one", do="Keep one, or name them by series UID.")
    path = root / names[0]
    masks = read_masks(path)
    return wanted(replace(masks, names=_names_of(masks, path, root, structures)), structures, source=path)


def wanted(masks: Masks, structures: Sequence[str], *, source: Path) -> Masks:
    """Return masks that hold `structures` only, in their order, parts joined; all else becomes background."""
    table = np.zeros(256, dtype=np.uint8)
    for value, structure in enumerate(structures, start=1):
        own = values_of(structure, masks.names)
        if not own:
            raise ScanError(
                source,
                code="mask_without_structure",
                found=f"{structure} is not among its {len(masks.names)} structures",
                expected="every structure that [masks] structures names",
                do="Choose other structures, or segment with a model that finds it.",
            )
        table[list(own)] = value
    return Masks(table[masks.voxels], masks.affine, dict(enumerate(structures, start=1)))


def overlap(masks: Masks, volume: Volume) -> float:
    """Return which share of the smaller world box lies inside the other: 0 when scan and mask are apart, 1 at best."""
    low, high = zip(*(_world_box(grid) for grid in (Grid(_shape(masks), masks.affine), volume.grid)), strict=True)
    shared = np.prod(np.clip(np.minimum(*high) - np.maximum(*low), 0, None))
    return float(shared / min(np.prod(h - b) for b, h in zip(low, high, strict=True)))


def _shape(masks: Masks) -> tuple[int, int, int]:
    z, y, x = masks.voxels.shape
    return z, y, x


def _world_box(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    ends = [(-0.5, n - 0.5) for n in grid.shape]
    corners = np.array([world_mm(grid.affine, (z, y, x)) for z in ends[0] for y in ends[1] for x in ends[2]])
    return corners.min(axis=0), corners.max(axis=0)


def _named_after(
    row: Mapping[str, Any], lone: Collection[str], by_stem: Mapping[str, list[str]], by_path: Mapping[str, str]
) -> tuple[str, ...]:
    if row["scan"] in by_stem:
        return tuple(by_stem[row["scan"]])
    for tail in _tails(row["source"]) if "source" in lone else ():
        if tail in by_path:
            return (by_path[tail],)
    for name in ("series_uid", "stem"):
        if name in lone and row[name] in by_stem:
            return tuple(by_stem[row[name]])
    return ()


def _tails(source: str) -> Iterator[str]:
    parts = PurePath(_without_suffix(source)).parts
    for start in range(len(parts) - 1):
        yield "/".join(parts[start:])


def _without_suffix(name: str) -> str:
    return next((name.removesuffix(s) for s in SUFFIXES if name.endswith(s)), name)


def _names_of(masks: Masks, path: Path, root: Path, structures: Sequence[str]) -> Mapping[int, str]:
    if masks.names:
        return masks.names
    for labels in (path.with_name(LABELS), root / LABELS):
        if labels.is_file():
            return read_labels_file(labels)
    highest = int(masks.voxels.max())
    if highest > len(structures):
        raise ScanError(
            path,
            code="mask_values_unnamed",
            found=f"values up to {highest} and no names",
            expected=f"at most {len(structures)}, in the order of [masks] structures",
            do=f"Put a {LABELS} beside it that names each value.",
        )
    return dict(enumerate(structures, start=1))


def read_labels_file(path: Path) -> dict[int, str]:
    """Return the names of a `labels.json`, written as value to name or name to value; raise `InputError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(k, v) if str(k).isdigit() else (v, k) for k, v in content.items()]
        return {int(value): str(name) for value, name in pairs}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            path, found="not a list of mask values and names", expected='{"1": "liver", …}', do="Correct that file."
        ) from error
