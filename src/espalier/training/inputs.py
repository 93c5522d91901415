"""All that one run reads, gathered and checked before anything is trained."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from jaxtyping import Float32, UInt8

from espalier.cohort.splits import SPLITS, read_splits
from espalier.errors import InputError, MissingError, SettingsError
from espalier.labels.label import LABELS, read_labels
from espalier.labels.targets import target_arrays
from espalier.masks.disturb import swapped_sides
from espalier.masks.structures import structure_names
from espalier.outputs import hash_file, hash_of
from espalier.store.read import Store, open_store
from espalier.training.options import TrainingOptions
from espalier.training.order import exchange

MASK_VALUES: Final = 256


@dataclass(frozen=True, slots=True)
class Labelled:
    """Scans of one split that have labels, in the order of their ids."""

    scans: tuple[str, ...]
    patients: tuple[str, ...]
    targets: Float32[np.ndarray, "n f"]
    weights: Float32[np.ndarray, "n f"]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What one run reads.

    Attributes
    ----------
    store
        Voxels and masks.
    train, validation
        Scans with targets; the latter may be none.
    findings
        Columns of the targets.
    structures
        What the branch learns beside background; empty for a plain run, which reads no mask.
    values
        The branch's number of each mask value of the store; 0 for structures that are not learned.
    masks_of
        For each training scan the scan whose masks it learns, or None where it has none.
    mask_weights
        How far those masks are trusted, from 0 to 1; 0 where there are none.
    key
        Hash of all of this and of the options.
    """

    store: Store
    train: Labelled
    validation: Labelled
    findings: tuple[str, ...]
    structures: tuple[str, ...]
    values: UInt8[np.ndarray, " 256"]
    masks_of: tuple[str | None, ...]
    mask_weights: Float32[np.ndarray, " n"]
    pretrained: Path | None
    key: str


def gather(options: TrainingOptions, *, folder: Path, findings: Sequence[str], seed: int) -> Inputs:
    """Return what a run of this seed reads.

    Raises
    ------
    MissingError
        When an earlier stage has not ended, or the file of pretrained weights is not there.
    SettingsError
        When the crop does not fit the store, or a structure is in no mask.
    InputError
        When there is no training scan, no training scan with masks, or a finding that no training scan has.
    """
    store = open_store(folder)
    _check_crop(options, store)
    labels, splits = read_labels(folder), read_splits(folder)
    train = _labelled(splits, "train", store, labels, findings)
    _check_training(folder, train, findings)
    validation = _labelled(splits, "validation", store, labels, findings)
    if options.keep == "best" and not validation.scans:
        raise SettingsError(
            "[training] keep", found="best, but no scan validates", do='Set validation above 0 in the splits, or keep = "last".'
        )
    structures = _structures(options, store) if options.supervision.weight > 0 else ()
    masks_of = _masks_of(options, store, train, seed) if structures else (None,) * len(train.scans)
    pretrained = _pretrained(options, folder)
    parts = [store.key, *(_fingerprint(part) for part in (train, validation)), structures, masks_of]
    # The other seeds of the arm are other runs' business: adding one must not train this run again.
    key = hash_of(
        asdict(replace(options, seeds=(seed,))), seed, list(findings), parts, hash_file(pretrained) if pretrained else None
    )
    values = np.zeros(MASK_VALUES, dtype=np.uint8)
    for number, name in enumerate(structures, start=1):
        values[store.structures.index(name) + 1] = number
    mask_weights = np.array([0.0 if scan is None else store.mask_weight(scan) for scan in masks_of], dtype=np.float32)
    return Inputs(store, train, validation, tuple(findings), structures, values, masks_of, mask_weights, pretrained, key)


def _check_crop(options: TrainingOptions, store: Store) -> None:
    shape = store.options.shape
    if any(side > have for side, have in zip(options.crop, shape, strict=True)):
        raise SettingsError(
            "[training] crop",
            found=f"{options.crop} voxels along z, y, x",
            expected=f"at most the store's {shape}",
            do="Choose a smaller crop, or a larger [store] shape.",
        )


def _labelled(splits: pl.DataFrame, split: str, store: Store, labels: pl.DataFrame, findings: Sequence[str]) -> Labelled:
    stored = set(store.scans)
    rows = splits.filter(pl.col("split") == split).sort("scan").select("scan", "patient").unique(maintain_order=True)
    rows = rows.filter(pl.col("scan").is_in(stored))
    targets, weights = target_arrays(labels, rows["scan"].to_list(), findings)
    some = weights.any(axis=1)
    rows = rows.filter(pl.Series(some, dtype=pl.Boolean))
    return Labelled(tuple(rows["scan"]), tuple(rows["patient"]), targets[some], weights[some])


def _check_training(folder: Path, train: Labelled, findings: Sequence[str]) -> None:
    if not findings:
        raise SettingsError("[labels] findings", found="no finding to learn", do="Name a finding set, or the findings.")
    if not train.scans:
        raise InputError(
            folder / SPLITS,
            found="no training scan that has labels and is in the store",
            do="Check that reports match scans (`espalier status`), and that the splits leave patients to train on.",
        )
    positive = ((train.targets > 0) & (train.weights > 0)).sum(axis=0).tolist()
    without = [finding for finding, count in zip(findings, positive, strict=True) if count == 0]
    if without:
        raise InputError(
            folder / LABELS,
            found=f"none of {len(train.scans)} training scans has {', '.join(without)}",
            expected="at least one positive of each finding",
            do="Leave these findings out, or add scans that have them.",
        )


def _structures(options: TrainingOptions, store: Store) -> tuple[str, ...]:
    wanted = options.supervision.structures
    where = "[training.supervision] structures"
    try:
        names = store.structures if wanted is None else structure_names(wanted)
    except ValueError as error:
        raise SettingsError(where, found=str(error), do="Correct the names.") from error
    unknown = [name for name in names if name not in store.structures]
    if unknown:
        raise SettingsError(
            where,
            found=f"no mask has {', '.join(unknown)}",
            expected=f"some of {', '.join(store.structures) or 'none, as the store has no masks'}",
            do="Name structures that were segmented, or segment these too.",
        )
    if not names:
        raise MissingError(
            where,
            found="the store has no masks",
            do="Run `espalier segment` and `espalier prepare` first, or set weight = 0.",
        )
    _check_fault(options, names)
    return names


def _check_fault(options: TrainingOptions, structures: Sequence[str]) -> None:
    if options.supervision.gross_fault != "swap":
        return
    try:
        swapped_sides(structures)
    except ValueError as error:
        raise SettingsError(
            "[training.supervision] gross_fault",
            found=f"swap, but {error}",
            do='Learn structures of both sides, or take "missing" or "shift".',
        ) from error


def _masks_of(options: TrainingOptions, store: Store, train: Labelled, seed: int) -> tuple[str | None, ...]:
    patients = {scan: patient for scan, patient in zip(train.scans, train.patients, strict=True) if store.has_masks(scan)}
    if not patients:
        raise MissingError(
            "[training.supervision] weight",
            found=f"none of {len(train.scans)} training scans has masks",
            do="Run `espalier segment` and `espalier prepare` first, or set weight = 0.",
        )
    own = {scan: scan for scan in patients}
    chosen = own if options.supervision.masks_of == "own scan" else exchange(patients, seed=seed)
    return tuple(chosen.get(scan) for scan in train.scans)


def _pretrained(options: TrainingOptions, folder: Path) -> Path | None:
    if options.pretrained is None:
        return None
    path = folder / options.pretrained
    if not path.is_file():
        raise MissingError(
            path,
            found="no such file",
            expected="pretrained weights",
            do="Download them to this place, or leave pretrained out.",
        )
    return path


def _fingerprint(part: Labelled) -> str:
    numbers = hashlib.sha256(part.targets.tobytes() + part.weights.tobytes()).hexdigest()
    return hash_of(part.scans, part.patients, numbers)
