"""The `prepare` stage: every scan resampled once, with its masks on the same grid, ready to be cropped."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from espalier.cohort.read import read_scan
from espalier.errors import InputError
from espalier.masks.cohort_rows import cohort_key, cohort_rows
from espalier.masks.files import read_masks
from espalier.masks.segment import MASKS, TABLE, mask_path, mask_structures
from espalier.masks.verdicts import scan_weights
from espalier.outputs import hash_file, hash_of, key_of, read_json, write_json
from espalier.stage import Outcome, Rows, Summary, run_stage, write_set_aside
from espalier.store.format import write_array
from espalier.store.options import StoreOptions
from espalier.store.preprocess import preprocess, preprocess_masks, stored_grid
from espalier.store.read import ARRAYS, STORE

STAGE: Final = "prepare"
PREPROCESSING_VERSION: Final = 1
"""Raised whenever preprocessing gives other voxels than before, so that the store is made anew."""


def prepare(options: StoreOptions, *, folder: Path, workers: int = 1) -> Summary:
    """Write `store/<scan>.b2nd` (int16 HU), `store/<scan>.mask.b2nd` (uint8) where masks are usable, then `store.json`.

    Raises
    ------
    MissingError
        Before `ingest`.
    InputError
        When `segment` was stopped midway.
    """
    cohort = cohort_key(folder)
    rows = cohort_rows(folder, cohort)
    scans = list(rows)
    table = _masks_table(folder)
    weights = {scan: weight for scan, weight in _weights(folder, table).items() if weight > 0 and scan in rows}
    masked = {scan: hash_file(mask_path(folder, scan)) for scan in weights}
    structures = mask_structures(folder) if table else ()
    # The window is applied when a crop is read: another one needs no new arrays.
    settings = {"spacing_mm": options.spacing_mm, "shape": options.shape}
    keys = {scan: hash_of(PREPROCESSING_VERSION, settings, row, masked.get(scan, "")) for scan, row in rows.items()}
    # How far masks are trusted stands in the store's table alone: another verdict needs no new arrays.
    key = hash_of(STAGE, options, structures, [keys[scan] for scan in scans], weights)
    if key_of(folder / STORE) == key and (ready := _complete(folder)) is not None:
        return _summary(folder, ready, set_aside=len(scans) - len(ready), fresh=0)
    (folder / STORE).unlink(missing_ok=True)
    _forget_lost(folder, scans)
    plain = settings | {"cohort": cohort, "table": table}
    outcome = run_stage(STAGE, _prepare_one, scans, folder=folder, keys=keys, options=plain, workers=workers)
    entries = _write(outcome, options, weights, structures, folder=folder, key=key)
    return _summary(folder, entries, set_aside=len(outcome.set_aside), fresh=outcome.fresh)


def _masks_table(folder: Path) -> str:
    """Return the hash of `masks.parquet`, "" in a study without masks; refuse masks of a `segment` that was stopped."""
    if (folder / TABLE).is_file():
        return hash_file(folder / TABLE)
    if (folder / MASKS).is_dir() and any((folder / MASKS).iterdir()):
        do = "Run `espalier segment` to its end, then this command again; or remove that folder."
        raise InputError(folder / MASKS, found=f"masks without {TABLE}", expected="both, or neither", do=do)
    return ""


def array_path(folder: Path, scan: str, *, mask: bool = False) -> Path:
    """Return where a scan's voxels, or its masks, are stored."""
    return folder / ARRAYS / (f"{scan}.mask.b2nd" if mask else f"{scan}.b2nd")


def _prepare_one(folder: Path, scan: str, options: Mapping[str, Any]) -> Rows:
    own = {"spacing_mm": tuple(options["spacing_mm"]), "shape": tuple(options["shape"])}
    store_options = StoreOptions(**own)
    paths = {False: array_path(folder, scan), True: array_path(folder, scan, mask=True)}
    for path in paths.values():
        # Arrays of other settings must not outlive the scan's being set aside, or its masks' being dropped.
        path.unlink(missing_ok=True)
    volume = read_scan(cohort_rows(folder, options["cohort"])[scan], folder=folder)
    affine = stored_grid(volume.grid, store_options).affine
    write_array(paths[False], preprocess(volume, store_options, source=scan), affine)
    usable = _weights(folder, options["table"]).get(scan, 0.0) > 0
    if usable:
        masks = read_masks(mask_path(folder, scan))
        write_array(paths[True], preprocess_masks(masks, volume.grid, store_options), affine)
    hashes = {path.name: hash_file(path) for path in paths.values() if path.is_file()}
    return [{"scan": scan, "mask": usable, "sha256": hashes}]


@lru_cache(maxsize=2)
def _weights(folder: Path, table: str) -> Mapping[str, float]:
    return scan_weights(folder) if table else {}


def _complete(folder: Path) -> Mapping[str, Any] | None:
    """Return the scans of `store.json` where every array that it names is there."""
    entries: Mapping[str, Any] = read_json(folder / STORE, kind="store")["scans"]
    whole = all((folder / ARRAYS / name).is_file() for entry in entries.values() for name in entry["sha256"])
    return entries if whole else None


def _forget_lost(folder: Path, scans: list[str]) -> None:
    """Remove the record of every finished scan that lost an array, so that it is made again."""
    for scan in scans:
        path = folder / "records" / STAGE / f"{scan}.json"
        if not path.is_file():
            continue
        names = [name for row in read_json(path, kind="record").get("rows", []) for name in row["sha256"]]
        if not all((folder / ARRAYS / name).is_file() for name in names):
            path.unlink()


def _write(
    outcome: Outcome,
    options: StoreOptions,
    weights: Mapping[str, float],
    structures: tuple[str, ...],
    *,
    folder: Path,
    key: str,
) -> Mapping[str, Mapping[str, Any]]:
    entries = {
        row["scan"]: {
            "mask": row["mask"],
            "mask_weight": weights[row["scan"]] if row["mask"] else 0.0,
            "sha256": row["sha256"],
        }
        for row in outcome.rows
    }
    named = {name for entry in entries.values() for name in entry["sha256"]}
    for path in sorted((folder / ARRAYS).glob("*.b2nd")):
        if path.name not in named:
            path.unlink()
    write_set_aside(folder, STAGE, outcome.set_aside)
    content = {"options": asdict(options), "structures": structures, "scans": entries}
    write_json(folder / STORE, content, kind="store", key=key)
    return entries


def _summary(folder: Path, entries: Mapping[str, Mapping[str, Any]], *, set_aside: int, fresh: int) -> Summary:
    masked = sum(entry["mask"] for entry in entries.values())
    words = f"{len(entries)} scans ready to be cropped, {masked} with masks; {fresh} made now."
    wrote = (folder / STORE, folder / ARRAYS)
    return Summary(verb=STAGE, done=len(entries), set_aside=set_aside, words=words, wrote=wrote)
