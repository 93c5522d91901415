"""The `segment` stage: one file of masks per scan and a table of what they hold and how far to trust it."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.cohort.read import read_scan
from espalier.cohort.volume import Volume
from espalier.errors import SettingsError
from espalier.masks.checks import check_masks
from espalier.masks.cohort_rows import cohort_key, cohort_rows
from espalier.masks.command import command_key, command_masks
from espalier.masks.disturb import disturb_boundary
from espalier.masks.existing import existing_masks
from espalier.masks.files import Masks, write_masks
from espalier.masks.find import find_masks, found_names
from espalier.masks.options import CommandOptions, MaskOptions, TotalSegmentatorOptions
from espalier.masks.sheet import PAGE, write_masks_page
from espalier.masks.structures import structure_names
from espalier.masks.threshold import threshold_masks
from espalier.masks.totalsegmentator import totalsegmentator_key, totalsegmentator_masks
from espalier.masks.verdicts import scan_verdicts
from espalier.outputs import hash_of, key_of, read_table, table_metadata, write_table
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
    "agreement": pl.Float64,
    "notes": pl.List(pl.String),
}
LUNGS: Final = ("lung_left", "lung_right")
MASKS_VERSION: Final = 2
"""Raised whenever thresholds give other masks, or the checks other verdicts, so that they are made anew."""


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
    plain = asdict(options) | {"cohort": cohort}
    keys = _keys(options, plain, folder)
    # Other limits may let a scan through that was set aside.
    key = hash_of(STAGE, [keys[scan] for scan in scans], options.timeout_s, options.memory_gb)
    if key_of(folder / TABLE) == key and _complete(folder):
        done = len(_scans_in_table(folder))
        return _summary(done, len(scans) - done, 0, folder)
    # A table of other masks than those in the folder would give them other names and verdicts.
    for old in (TABLE, PAGE):
        (folder / old).unlink(missing_ok=True)
    _forget_lost(folder, scans)
    outcome = run_stage(
        STAGE,
        _segment_one,
        scans,
        folder=folder,
        keys=keys,
        options=plain,
        workers=workers,
        threads=max(1, (os.cpu_count() or 1) // workers) if options.source in {"totalsegmentator", "command"} else 1,
        timeout_s=options.timeout_s,
        memory_gb=options.memory_gb,
    )
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
    return tuple(scan for scan, verdict in scan_verdicts(folder).items() if verdict != "drop")


def mask_path(folder: Path, scan: str) -> Path:
    """Return where a scan's masks lie."""
    return folder / MASKS / f"{scan}{SUFFIX}"


def _segment_one(folder: Path, scan: str, options: Mapping[str, Any]) -> Rows:
    path = mask_path(folder, scan)
    # A mask of other settings must not outlive the scan's being set aside.
    path.unlink(missing_ok=True)
    row = cohort_rows(folder, options["cohort"])[scan]
    volume = read_scan(row, folder=folder)
    masks, notes = _masks_of(volume, row, options, folder=folder)
    if options["disturb"] > 0:
        seed = int(hash_of(options["seed"], scan)[:8], 16)
        masks = replace(masks, voxels=disturb_boundary(masks.voxels, share=options["disturb"], seed=seed))
    second = threshold_masks(volume, LUNGS, source=scan) if options["check_lungs"] else None
    rows = check_masks(masks, volume, second=second)
    write_masks(path, masks)
    return [{"scan": scan, "source": options["source"], "notes": notes, **row} for row in rows]


def _masks_of(volume: Volume, row: Mapping[str, Any], options: Mapping[str, Any], *, folder: Path) -> tuple[Masks, list[str]]:
    """Return the masks of the scan of `row`, with reason codes of what is unusual about them but no fault."""
    structures, scan, source = structure_names(options["structures"]), row["scan"], options["source"]
    if source == "threshold":
        return threshold_masks(volume, structures, source=scan), []
    if source == "totalsegmentator":
        own = TotalSegmentatorOptions(**options["totalsegmentator"])
        return totalsegmentator_masks(volume, structures, options=own, scan=scan, folder=folder), []
    if source == "command":
        given = command_masks(volume, structures, options=CommandOptions(**options["command"]), scan=scan, folder=folder)
    else:
        names = found_names(folder, options["found"])[scan]
        root = folder / str(options["folder"])
        given = existing_masks(volume, structures, root=root, names=names, row=row, folder=folder)
    return given.masks, list(given.notes)


def _keys(options: MaskOptions, plain: dict[str, Any], folder: Path) -> dict[str, str]:
    """Return for each scan the hash of all that its masks depend on; note in `plain` which files were found."""
    rows = cohort_rows(folder, plain["cohort"])
    settings = {name: value for name, value in asdict(options).items() if name not in {"timeout_s", "memory_gb"}}
    about: Mapping[str, Any] = {}
    found: Mapping[str, str] = {}
    if options.source == "totalsegmentator":
        about = totalsegmentator_key(options.totalsegmentator, folder=folder)
    elif options.source == "command":
        about = command_key(options.command, folder=folder)
    elif options.source == "existing":
        root = folder / _existing_folder(options, folder)
        given = find_masks(root, structure_names(options.structures), folder=folder, cohort=plain["cohort"])
        plain["found"], found = given.key, given.keys
    return {scan: hash_of(settings, MASKS_VERSION, about, row, found.get(scan)) for scan, row in rows.items()}


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


def _complete(folder: Path) -> bool:
    return (folder / PAGE).is_file() and all(mask_path(folder, scan).is_file() for scan in _scans_in_table(folder))


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
    write_masks_page(folder)


def _summary(done: int, set_aside: int, fresh: int, folder: Path) -> Summary:
    usable = len(usable_scans(folder))
    words = f"masks of {done} scans, {usable} of them to be trusted; {fresh} worked on now."
    wrote = (folder / TABLE, folder / PAGE, folder / MASKS)
    return Summary(verb=STAGE, done=done, set_aside=set_aside, words=words, wrote=wrote)
