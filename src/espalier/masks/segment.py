"""The `segment` stage: one file of masks per scan and a table of what they hold and how far to trust it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.cohort.read import read_scan
from espalier.errors import ScanError, SettingsError
from espalier.masks.checks import check_masks, is_usable
from espalier.masks.cohort_rows import cohort_key, cohort_rows
from espalier.masks.disturb import disturb_boundary
from espalier.masks.existing import LABELS, existing_masks, list_masks, match_masks, overlap
from espalier.masks.files import Masks, write_masks
from espalier.masks.options import MaskOptions
from espalier.masks.structures import structure_names
from espalier.masks.threshold import threshold_masks
from espalier.outputs import hash_file, hash_of, key_of, read_table, table_metadata, write_table
from espalier.stage import Outcome, Rows, Summary, run_stage, write_set_aside

STAGE: Final = "segment"
MASKS: Final = "masks"
TABLE: Final = "masks.parquet"
SUFFIX: Final = ".nii.gz"
MASK_COLUMNS: Final[Mapping[str, Any]] = {
    "scan": pl.String,
    "structure": pl.String,
    "volume_ml": pl.Float64,
    "source": pl.String,
    "verdict": pl.String,
    "reasons": pl.List(pl.String),
}
THRESHOLD_VERSION: Final = 1
"""Raised whenever thresholds give other masks than before, so that they are made anew."""


def segment(options: MaskOptions, *, folder: Path, workers: int = 1) -> Summary:
    """Give every scan of the cohort its masks: `masks/<scan>.nii.gz` and `masks.parquet`.

    Raises
    ------
    MissingError
        Before `ingest`, or when the folder of existing masks is not there.
    SettingsError
        When existing masks are to be read from where masks are written.
    """
    cohort = cohort_key(folder)
    scans = list(cohort_rows(folder, cohort))
    plain = asdict(options) | {"cohort": cohort, "version": THRESHOLD_VERSION}
    keys = _keys(options, plain, folder)
    key = hash_of(STAGE, [keys[scan] for scan in scans])
    if key_of(folder / TABLE) == key and _complete(folder):
        done = len(_scans_in_table(folder))
        return _summary(done, len(scans) - done, 0, folder)
    _forget_lost(folder, scans)
    outcome = run_stage(STAGE, _segment_one, scans, folder=folder, keys=keys, options=plain, workers=workers)
    _write(outcome, options, folder, key)
    return _summary(outcome.done, len(outcome.set_aside), outcome.fresh, folder)


def read_masks_table(folder: Path) -> pl.DataFrame:
    """Return the masks of a study, one row per scan and structure; raise `MissingError` before `segment`."""
    return read_table(folder / TABLE, kind="masks")


def mask_structures(folder: Path) -> tuple[str, ...]:
    """Return the structures of a study's masks in the order of their values; raise `MissingError` before `segment`."""
    return tuple(json.loads(table_metadata(folder / TABLE, kind="masks")["structures"]))


def usable_scans(folder: Path) -> tuple[str, ...]:
    """Return the scans whose masks may be trained on, in the order of the table."""
    rows: dict[str, Rows] = {}
    for row in read_masks_table(folder).to_dicts():
        rows.setdefault(row["scan"], []).append(row)
    return tuple(scan for scan, own in rows.items() if is_usable(own))


def mask_path(folder: Path, scan: str) -> Path:
    """Return where a scan's masks lie."""
    return folder / MASKS / f"{scan}{SUFFIX}"


def _segment_one(folder: Path, scan: str, options: Mapping[str, Any]) -> Rows:
    path = mask_path(folder, scan)
    # A mask of other settings must not outlive the scan's being set aside.
    path.unlink(missing_ok=True)
    masks, shared = _masks_of(folder, scan, options)
    if options["disturb"] > 0:
        seed = int(hash_of(options["seed"], scan)[:8], 16)
        masks = replace(masks, voxels=disturb_boundary(masks.voxels, share=options["disturb"], seed=seed))
    rows = check_masks(masks, overlap=shared)
    write_masks(path, masks)
    return [{"scan": scan, "source": options["source"], **row} for row in rows]


def _masks_of(folder: Path, scan: str, options: Mapping[str, Any]) -> tuple[Masks, float]:
    row = cohort_rows(folder, options["cohort"])[scan]
    structures = structure_names(options["structures"])
    if options["source"] == "threshold":
        return threshold_masks(read_scan(row, folder=folder), structures, source=scan), 1.0
    root = folder / str(options["folder"])
    matches = match_masks(folder, options["cohort"], _listing(root, options["listing"]))
    masks = existing_masks(root, matches[scan], structures, scan=scan)
    shared = overlap(masks, read_scan(row, folder=folder))
    if shared == 0:
        raise ScanError(
            scan,
            code="mask_elsewhere",
            found=f"its mask {matches[scan][0]} lies wholly outside the scan",
            expected="a mask of the same patient in the same place",
            do="Write the mask with the affine of its scan.",
        )
    return masks, shared


def _keys(options: MaskOptions, plain: dict[str, Any], folder: Path) -> dict[str, str]:
    """Return for each scan the hash of all that its masks depend on; note in `plain` which files were seen."""
    rows = cohort_rows(folder, plain["cohort"])
    settings = asdict(options)
    if options.source == "threshold":
        return {scan: hash_of(settings, THRESHOLD_VERSION, row) for scan, row in rows.items()}
    root = folder / _existing_folder(options, folder)
    listing = list_masks(root)
    plain["listing"] = hash_of(listing)
    labels = hash_of([hash_file(p) for p in sorted(root.rglob(LABELS))])
    matches = match_masks(folder, plain["cohort"], listing)
    hashes = {scan: [hash_file(root / name) for name in names] for scan, names in matches.items()}
    return {scan: hash_of(settings, row, matches[scan], hashes[scan], labels) for scan, row in rows.items()}


def _existing_folder(options: MaskOptions, folder: Path) -> str:
    if options.folder is None:
        raise SettingsError("[masks] folder", found="not given", expected="where the existing masks lie", do="Name it.")
    if (folder / options.folder).resolve() == (folder / MASKS).resolve():
        raise SettingsError(
            "[masks] folder",
            found=f"{options.folder!r}, where this stage writes its own masks",
            expected="another folder",
            do="Move the existing masks.",
        )
    return options.folder


@lru_cache(maxsize=2)
def _listing(root: Path, key: str) -> tuple[str, ...]:
    """Return the files below `root`, listed once per process; `key` is the hash of the list that the stage saw."""
    del key
    return list_masks(root)


def _complete(folder: Path) -> bool:
    return all(mask_path(folder, scan).is_file() for scan in _scans_in_table(folder))


def _scans_in_table(folder: Path) -> list[str]:
    return read_masks_table(folder)["scan"].unique(maintain_order=True).to_list()


def _forget_lost(folder: Path, scans: list[str]) -> None:
    """Remove the record of every finished scan whose masks are gone, so that they are made again."""
    for scan in scans:
        record = folder / "records" / STAGE / f"{scan}.json"
        if record.is_file() and not mask_path(folder, scan).is_file() and '"set_aside"' not in record.read_text("utf-8"):
            record.unlink()


def _write(outcome: Outcome, options: MaskOptions, folder: Path, key: str) -> None:
    done = {row["scan"] for row in outcome.rows}
    for record in sorted((folder / "records" / STAGE).glob("*.json")):
        if record.stem not in done:
            mask_path(folder, record.stem).unlink(missing_ok=True)
    write_set_aside(folder, STAGE, outcome.set_aside)
    frame = pl.DataFrame([{name: row[name] for name in MASK_COLUMNS} for row in outcome.rows], schema=dict(MASK_COLUMNS))
    structures = json.dumps(structure_names(options.structures))
    write_table(folder / TABLE, frame, kind="masks", key=key, more={"structures": structures}, private=True)


def _summary(done: int, set_aside: int, fresh: int, folder: Path) -> Summary:
    usable = len(usable_scans(folder))
    words = f"masks of {done} scans, {usable} of them to be trusted; {fresh} worked on now."
    return Summary(verb=STAGE, done=done, set_aside=set_aside, words=words, wrote=(folder / TABLE, folder / MASKS))
