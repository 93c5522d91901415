"""Masks by TotalSegmentator, which runs in its own environment and loads its models once for many scans.

It is asked as its command line asks it and gives the same voxels; what a scan no longer pays for is the start of some
twenty processes and the loading of the models. It reaches no network, sends no statistics, and loads only weights whose
hashes are known.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from espalier.cohort.regrid import rectified
from espalier.cohort.volume import AIR_HU, Volume
from espalier.errors import MissingError, ScanError, SettingsError
from espalier.geometry import Grid, Triple, canonical, resample, respaced
from espalier.masks.environments import environment_python, installed_versions
from espalier.masks.existing import wanted
from espalier.masks.files import LPS_OF_RAS, ZYX_OF_XYZ, Masks
from espalier.masks.options import TotalSegmentatorOptions
from espalier.masks.structures import values_of
from espalier.masks.totalsegmentator_process import (
    LABELS,
    NAME,
    SCAN,
    TO_DO,
    describe_task,
    running_worker,
    segment_file,
    weights_folder,
)
from espalier.masks.totalsegmentator_worker import EXACT
from espalier.masks.weights import check_hashes, hash_weights
from espalier.outputs import hash_of, read_json, write_json

RECORD: Final = Path("records", "totalsegmentator.json")
"""What the task needs and gives, and the hashes of its weights as they were when the study first used them."""

TOLERANCE_MM: Final = 1e-2
_KNOWN: dict[str, Mapping[str, Any]] = {}


def totalsegmentator_masks(
    volume: Volume, structures: Sequence[str], *, options: TotalSegmentatorOptions, scan: str, folder: Path
) -> Masks:
    """Return one scan's masks, on the grid that TotalSegmentator saw, with values by the order of `structures`.

    Parameters
    ----------
    volume
        As read.
    structures
        The wanted ones; parts are joined.
    options
        How TotalSegmentator is run.
    scan
        Its id, for messages.
    folder
        The study's folder.

    Raises
    ------
    ScanError
        `segmenter_refused`, or `segmenter_died`: this one only, the next scan gets another worker.
    SettingsError, MissingError, AlteredError
        As for `totalsegmentator_key`; and where the task does not give a wanted structure.
    MemoryError
        When the machine has too little.
    """
    known = _known(options, folder)
    names = {int(value): name for value, name in known["labels"].items()}
    _check_structures(structures, names, options)
    running = running_worker(options, folder, known["weights"])
    place = Path(tempfile.mkdtemp(prefix="scan-", dir=running.folder))
    try:
        grid = write_scan(volume, place / SCAN, window_hu=options.window_hu, spacing_mm=options.spacing_mm)
        answer = segment_file(running, place, scan=scan)
        voxels = _read_labels(place / LABELS, answer, grid, scan)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return replace(wanted(Masks(voxels, grid.affine, names), structures, source=Path(scan)), made_by=_stamp(options, known))


def totalsegmentator_key(options: TotalSegmentatorOptions, *, folder: Path) -> Mapping[str, Any]:
    """Return what the masks depend on besides scan and options: versions, label list, hashes of the weights.

    The first time, TotalSegmentator is asked what the task needs, which takes seconds; the answer is kept with the hashes
    in `records/totalsegmentator.json`. From then on other weights are refused as long as that file is there.

    Raises
    ------
    MissingError
        When environment, weights or licence are missing, or the environment holds other versions.
    SettingsError
        When TotalSegmentator has no such task, resolution or device.
    AlteredError
        When weights differ from those that the study began with, or from what `weights.sha256` beside them says.
    """
    python = environment_python(NAME, given=options.environment, folder=folder)
    of, weights, path = _of(options, python), weights_folder(options, folder), folder / RECORD
    known = read_json(path, kind="record") if path.is_file() else {}
    if known.get("of") != of:
        known = {"of": of, **describe_task(options, folder)}
    files = [name for model in known["models"] for name in model["files"]]
    hashes = hash_weights(weights, files, do=_how_to_get(options, python, weights))
    if "weights" in known:
        do = f"Bring the first weights back. If these are meant, delete {RECORD.as_posix()}: all scans are then segmented anew."
        check_hashes(weights, hashes, known["weights"], do=do)
    else:
        known = {**known, "weights": hashes}
        write_json(path, known, kind="record", private=True)
    return {name: value for name, value in known.items() if name != "espalier"}


def write_scan(volume: Volume, path: Path, *, window_hu: tuple[float, float] | None, spacing_mm: Triple | None) -> Grid:
    """Write a scan as the segmenter shall see it and return its grid: clipped, then resampled (linear) and rounded.

    Parameters
    ----------
    volume
        In any orientation; a sheared one is set upright.
    path
        A NIfTI file, not compressed.
    window_hu
        Lowest and highest HU; None clips nothing.
    spacing_mm
        Along z, y, x of the canonical orientation; None keeps the scan's own grid.
    """
    import nibabel

    upright = rectified(volume)
    voxels, affine = canonical(upright.voxels, upright.affine)
    if window_hu is not None:
        voxels = np.clip(voxels, *window_hu).astype(voxels.dtype, copy=False)
    grid = Grid(Volume(voxels, affine).shape, affine)
    if spacing_mm is not None:
        grid = respaced(grid, spacing_mm)
        outside = float(AIR_HU if window_hu is None else window_hu[0])
        sampled = np.rint(resample(voxels, affine, onto=grid, kind="linear", outside=outside))
        voxels = np.clip(sampled, -32768, 32767).astype(np.int16)
    nifti = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), LPS_OF_RAS @ grid.affine @ ZYX_OF_XYZ, dtype=voxels.dtype)
    nifti.header.set_xyzt_units("mm")
    nibabel.save(nifti, path)
    return grid


def _known(options: TotalSegmentatorOptions, folder: Path) -> Mapping[str, Any]:
    """Return what `totalsegmentator_key` does, looked at once per process while its record stays as it is."""
    path = folder / RECORD
    written_ns = path.stat().st_mtime_ns if path.is_file() else 0
    asked = hash_of(options, folder, weights_folder(options, folder), written_ns)
    if asked not in _KNOWN:
        _KNOWN.clear()
        _KNOWN[asked] = totalsegmentator_key(options, folder=folder)
    return _KNOWN[asked]


def _of(options: TotalSegmentatorOptions, python: Path) -> dict[str, str]:
    """Return what the description of a task depends on; refuse the versions that the worker would refuse."""
    versions = installed_versions(python, (*EXACT, "torch"))
    for name, version in EXACT.items():
        if versions.get(name) != version:
            found = f"{name} {versions[name]}" if name in versions else f"no {name}"
            raise MissingError(python.parent.parent, found=found, expected=f"{name} {version}", do=TO_DO["versions"])
    return {"task": options.task, "resolution": options.resolution, **dict(sorted(versions.items()))}


def _how_to_get(options: TotalSegmentatorOptions, python: Path, weights: Path) -> str:
    fast = options.resolution != "normal" and options.task.startswith(("total", "body"))
    program = python.with_name("totalseg_download_weights")
    return (
        f"On a machine with a network run `TOTALSEG_WEIGHTS_PATH={weights} {program} -t {options.task}{'_fast' * fast}`, or "
        "copy the folder there; or name another folder of weights in [masks.totalsegmentator] weights."
    )


def _check_structures(structures: Sequence[str], names: Mapping[int, str], options: TotalSegmentatorOptions) -> None:
    if absent := [structure for structure in structures if not values_of(structure, names)]:
        raise SettingsError(
            "[masks] structures",
            found=f"TotalSegmentator's task {options.task!r} does not give {', '.join(absent)}",
            expected=f"some of the {len(names)} it gives: {', '.join(list(names.values())[:8])}{', …' * (len(names) > 8)}",
            do="Choose other structures or another task.",
        )


def _read_labels(path: Path, answer: Mapping[str, Any], grid: Grid, scan: str) -> UInt8[np.ndarray, "z y x"]:
    voxels = np.load(path, allow_pickle=False).transpose(2, 1, 0)
    affine = LPS_OF_RAS @ np.asarray(answer["affine"]) @ ZYX_OF_XYZ
    if voxels.shape != grid.shape or not np.allclose(affine, grid.affine, atol=TOLERANCE_MM):
        raise ScanError(
            scan,
            code="segmenter_refused",
            found="TotalSegmentator gave masks on another grid than the scan's",
            expected="the same one",
            do="Report it with the scan's shape and axes.",
        )
    return np.ascontiguousarray(voxels)


def _stamp(options: TotalSegmentatorOptions, known: Mapping[str, Any]) -> dict[str, str]:
    return {
        "segmenter": "TotalSegmentator",
        "task": options.task,
        "resolution": options.resolution,
        "models": json.dumps([model["number"] for model in known["models"]]),
        "versions": json.dumps(known["versions"]),
        "resampling_order": str(known["resampling_order"]),
        "window_hu": json.dumps(options.window_hu),
        "spacing_mm": json.dumps(options.spacing_mm),
        "labels": json.dumps(known["labels"]),
        "weights": hash_of(known["weights"]),
    }
