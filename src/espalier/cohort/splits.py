"""Who trains, validates and tests: by the official table where there is one, else by hash of seed and patient.

A patient's place depends on nothing but the seed and the patient, so that scans added later move nobody.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from espalier.cohort.csv_table import read_csv_table
from espalier.cohort.options import SplitOptions
from espalier.cohort.table import COHORT, read_cohort
from espalier.errors import InputError
from espalier.outputs import hash_file, hash_of, key_of, read_table, write_table
from espalier.stage import Summary

SPLITS: Final = "splits.parquet"
NAMES: Final[Mapping[str, str]] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
ID_COLUMNS: Final[Mapping[str, str]] = {
    "patient": "patient",
    "patient_id": "patient",
    "study": "study_uid",
    "study_uid": "study_uid",
    "accession": "accession",
    "scan": "scan",
    "series_uid": "series_uid",
    "file": "stem",
    "stem": "stem",
}
SUFFIXES: Final = (".nii.gz", ".nii", ".dcm")


def make_splits(options: SplitOptions, *, folder: Path, labels: Sequence[int] | None = None) -> Summary:
    """Write `splits.parquet`: scan, patient, split and why (`table` or `hash`).

    Parameters
    ----------
    options
        The shares, the seed and the official table.
    folder
        The study's folder, which holds `cohort.parquet`.
    labels
        One number a scan, in the order of the cohort, 1 where it has some finding: only counted in the summary.
        Balancing them would move patients when scans are added.

    Raises
    ------
    InputError
        When the table cannot be read, names unknown splits, fits no scan, or puts one patient into two splits.
    """
    cohort = read_cohort(folder)
    table = folder / options.table if options.table else None
    key = hash_of(options, key_of(folder / COHORT), hash_file(table) if table and table.is_file() else None)
    path = folder / SPLITS
    mismatch = ""
    official: dict[str, str] = {}
    if table is not None:
        official, mismatch = _official(table, cohort, options)
    if key_of(path) != key:
        assigned = [_assign(patient, official, options) for patient in cohort["patient"]]
        frame = cohort.select("scan", "patient").with_columns(
            pl.Series("split", [split for split, _ in assigned], dtype=pl.String),
            pl.Series("why", [why for _, why in assigned], dtype=pl.String),
        )
        write_table(path, frame, kind="splits", key=key, private=True)
    words = [_counts(read_splits(folder), labels), *([mismatch] if mismatch else [])]
    return Summary(verb="split", done=cohort.height, words="; ".join(words), wrote=(path,))


def read_splits(folder: Path) -> pl.DataFrame:
    """Return scan, patient, split and why; raise `MissingError` before `label`."""
    return read_table(folder / SPLITS, kind="splits")


def split_by_hash(patient: str, options: SplitOptions) -> str:
    """Return the split of a patient that no table names."""
    if _share(options.seed, "test", patient) < options.test:
        return "test"
    return _validation_or_train(patient, options)


def _validation_or_train(patient: str, options: SplitOptions) -> str:
    return "validation" if _share(options.seed, "validation", patient) < options.validation else "train"


def _share(seed: int, purpose: str, patient: str) -> float:
    """Return a number in [0, 1) that looks drawn, but is a function of its arguments on every machine."""
    digest = hashlib.sha256(f"{seed}\x1f{purpose}\x1f{patient}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _assign(patient: str, official: Mapping[str, str], options: SplitOptions) -> tuple[str, str]:
    own = official.get(patient)
    if own is None:
        return split_by_hash(patient, options), "hash"
    if own == "train" and "validation" not in official.values():
        drawn = _validation_or_train(patient, options)
        return drawn, "table" if drawn == "train" else "hash"
    return own, "table"


def _official(path: Path, cohort: pl.DataFrame, options: SplitOptions) -> tuple[dict[str, str], str]:
    """Return the split of each patient that the table names, and a sentence on what did not fit."""
    frame = read_csv_table(path, needed=(options.split_column, *([options.id_column] if options.id_column else [])))
    id_column = options.id_column or _id_column(path, frame, options)
    ids = [_bare(cell) for cell in frame[id_column]]
    splits = [_split_name(path, cell, row) for row, cell in enumerate(frame[options.split_column], start=2)]
    column = _matching_column(id_column, ids, cohort)
    patients: dict[str, set[str]] = {}
    for own, patient in zip(cohort[column], cohort["patient"], strict=True):
        patients.setdefault(own, set()).add(patient)
    unknown = len({own for own in ids if own not in patients})
    if unknown == len(set(ids)):
        found = f"none of its {unknown} values of {id_column} fits a scan of the cohort ({cohort.height} scans)"
        raise InputError(path, found=found, expected="patients, studies or scans of the cohort", do="Name another id_column.")
    official: dict[str, str] = {}
    torn: set[str] = set()
    for own, split in zip(ids, splits, strict=True):
        for patient in patients.get(own, ()):
            if official.setdefault(patient, split) != split:
                torn.add(patient)
    if torn:
        found = f"{len(torn)} patients stand in two splits"
        raise InputError(path, found=found, expected="each patient in one split", do="Correct the table.")
    left = cohort.filter(~pl.col("patient").is_in(list(official)))["patient"].n_unique()
    mismatch = f"{unknown} of the split table's {id_column} values fit no scan; {left} patients are not in it"
    return official, mismatch if unknown or left else ""


def _id_column(path: Path, frame: pl.DataFrame, options: SplitOptions) -> str:
    for column in frame.columns:
        if column.lower() in ID_COLUMNS and column != options.split_column:
            return column
    found = f"no column that identifies patients or scans; its columns are {', '.join(frame.columns)}"
    raise InputError(path, found=found, expected=f"one of {', '.join(ID_COLUMNS)}", do="Name yours as id_column.")


def _matching_column(id_column: str, ids: Sequence[str], cohort: pl.DataFrame) -> str:
    if id_column.lower() in ID_COLUMNS:
        return ID_COLUMNS[id_column.lower()]
    wanted = set(ids)
    return max(dict.fromkeys(ID_COLUMNS.values()), key=lambda column: len(wanted & set(cohort[column])))


def _split_name(path: Path, cell: str, row: int) -> str:
    if cell.lower() not in NAMES:
        raise InputError(
            path, found=f"row {row} names the split {cell!r}", expected="train, validation or test", do="Correct it."
        )
    return NAMES[cell.lower()]


def _bare(cell: str) -> str:
    suffix = next((s for s in SUFFIXES if cell.endswith(s)), "")
    return cell.removesuffix(suffix)


def _counts(splits: pl.DataFrame, labels: Sequence[int] | None) -> str:
    parts = []
    for name in ("train", "validation", "test"):
        hit = [split == name for split in splits["split"]]
        finding = f" ({sum(1 for h, label in zip(hit, labels, strict=True) if h and label)} with a finding)" if labels else ""
        parts.append(f"{sum(hit)} {name}{finding}")
    return ", ".join(parts)
