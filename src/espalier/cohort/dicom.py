"""DICOM series to volumes in HU: headers first, geometry checked, then each slice once."""

import warnings
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from espalier.cohort.elements import Elements
from espalier.cohort.grouping import group_instances
from espalier.cohort.headers import About, Instance, NotCtError, open_file, read_header
from espalier.cohort.hints import PLAIN, Hints
from espalier.cohort.pixels import Slice, dataset_of, hu_of, undecodable
from espalier.cohort.regrid import spaced_evenly
from espalier.cohort.series import Series
from espalier.cohort.slices import AGAIN, Stack, stack
from espalier.cohort.sources import walk_source
from espalier.cohort.stored import MAX_VOXELS
from espalier.cohort.volume import Reading, Volume
from espalier.errors import InputError, ScanError

Files = dict[str, Elements]


def index_folder(path: Path) -> list[Series]:
    """Return every CT series in DICOM below a folder, from headers alone; files that cannot be read are passed over."""
    try:
        files = [one for folder in walk_source(path) for one in folder.dicom]
    except InputError:
        return []
    pairs, _, _ = read_headers([(listed.path, listed.name, "") for listed in files])
    return group_instances(pairs, source=path.as_posix())


def read_headers(
    files: Sequence[tuple[Path, str, str]],
) -> tuple[list[tuple[About, Instance]], int, list[tuple[str, str]]]:
    """Return the CT slices among files, how many others are sound, and those that are damaged with what is wrong.

    Parameters
    ----------
    files
        Path, name relative to the source, and mark of each.
    """
    pairs: list[tuple[About, Instance]] = []
    others = 0
    damaged = []
    for path, name, mark in files:
        try:
            about, instances = read_header(path, name, mark=mark)
            pairs += [(about, instance) for instance in instances]
        except NotCtError:
            others += 1
        except ValueError as error:
            damaged.append((name, str(error)))
    return pairs, others, damaged


def read_dicom(source: Path, names: Sequence[str], *, hints: Hints = PLAIN) -> Reading:
    """Return one series as a volume in HU.

    Parameters
    ----------
    source
        The folder to which the names are relative.
    names
        Files of one series, in any order; localizers and copies among them are left out.
    hints
        What the study decided on missing slices and positions.

    Raises
    ------
    ScanError
        With a code of `espalier.cohort.slices.stack`, or `unreadable_file`, `truncated_pixels`, `undecodable_pixels`,
        `conflicting_slices`, `too_large`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is found by the checks below, with the file's name
        files, instances = _opened(source, names)
        whole = stack(instances, source=str(source), hints=hints)
        if int(np.prod(whole.grid.shape, dtype=np.int64)) > MAX_VOXELS:
            found = f"{' × '.join(map(str, whole.grid.shape))} voxels"
            raise ScanError(
                source, code="too_large", found=found, expected=f"at most {MAX_VOXELS} voxels", do="Split the series."
            )
        voxels, notes = _voxels(whole, files, source)
    if whole.along_mm is not None:
        voxels = spaced_evenly(voxels, np.asarray(whole.along_mm), whole.grid.shape[0])
    notes = list(dict.fromkeys((*whole.notes, *notes)))
    used = tuple(dict.fromkeys(i.name for i in whole.instances))
    return Reading(Volume(voxels, whole.grid.affine), tuple(notes), used, whole.widest_gap_mm)


def _opened(source: Path, names: Sequence[str]) -> tuple[Files, list[Instance]]:
    """Read the header of every file; pixels are read slice by slice, so that memory stays near one volume."""
    files: Files = {}
    instances: list[Instance] = []
    for name in names:
        try:
            _, own, files[name] = open_file(source / name, name)
        except (NotCtError, ValueError) as error:
            found = f"{name}: {'no CT slice' if isinstance(error, NotCtError) else error}"
            raise ScanError(source, code="unreadable_file", found=found, expected="CT slices", do=AGAIN) from error
        instances += own
    return files, instances


def _voxels(whole: Stack, files: Files, source: Path) -> tuple[np.ndarray, list[str]]:
    twins = _twins_of(whole)
    shape = (len(whole.instances), *whole.grid.shape[1:])
    voxels = np.empty(shape, dtype=np.int16)
    notes: list[str] = []
    scales = set()
    parsed = lru_cache(maxsize=1)(dataset_of)  # the frames of one file are unpacked from one data set
    for index, instance in enumerate(whole.instances):
        hu, scale, own_notes = hu_of(source, files[instance.name], instance, parsed)
        if hu.shape != shape[1:]:
            raise undecodable(source, instance.name, f"{hu.shape[0]} × {hu.shape[1]} pixels")
        for twin in twins.get((instance.name, instance.frame), ()):
            _refuse_different(hu, hu_of(source, files[twin.name], twin, parsed)[0], instance, twin, source)
        if voxels.dtype == np.int16 and hu.dtype != np.int16:
            voxels = voxels.astype(np.float32)
        voxels[index] = hu
        scales.add(scale)
        notes += own_notes
    if len(scales) > 1:
        notes.append("rescale_varies")
    return voxels, notes


def _twins_of(whole: Stack) -> Mapping[tuple[str, int], list[Instance]]:
    twins: dict[tuple[str, int], list[Instance]] = {}
    for first, second in whole.twins:
        twins.setdefault((first.name, first.frame), []).append(second)
    return twins


def _refuse_different(hu: Slice, other: Slice, first: Instance, second: Instance, source: Path) -> None:
    if not np.array_equal(hu, other):
        found = f"{first.name} and {second.name} lie at one place and differ"
        raise ScanError(source, code="conflicting_slices", found=found, expected="one slice a place", do=AGAIN)
