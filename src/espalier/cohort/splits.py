"""Who trains, validates and tests: by the official table where there is one, else drawn, patient by patient.

A patient keeps the split of the study's earlier `splits.parquet` as long as the settings are the same, so that scans and
reports that are added later move nobody. Patients who are tied, as one person or by one volume, share a split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import polars as pl

from espalier.cohort.assign import ORDER, Place, Settled, assign, leakage_words, split_by_hash, tied_groups
from espalier.cohort.cells import bare_id, refuse_ruined_ids
from espalier.cohort.csv_table import read_csv_table
from espalier.cohort.options import SplitOptions
from espalier.cohort.pseudonyms import pseudonym_of
from espalier.cohort.table import COHORT, read_cohort, read_duplicates
from espalier.errors import InputError, MissingError, SettingsError
from espalier.outputs import hash_file, hash_of, key_of, read_table, table_metadata, write_table
from espalier.stage import Summary

__all__ = ["ID_COLUMNS", "SPLITS", "make_splits", "read_splits", "split_by_hash"]

SPLITS: Final = "splits.parquet"
VERSION: Final = 1
"""Raised whenever equal settings would draw other splits than before."""
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
Labels = pl.DataFrame | Sequence[int]


def make_splits(
    options: SplitOptions,
    *,
    folder: Path,
    labels: Labels | None = None,
    tied: Sequence[tuple[str, str]] | None = None,
    key: bytes | None = None,
) -> Summary:
    """Write `splits.parquet`: scan, patient, split and why.

    `why` is `table` or `official` where the split was given (by the study's table, by the data set itself), `hash` or
    `label` where it was drawn (the latter so that findings are balanced), `tied` where the patient follows another who
    is the same person, `kept` where the split is that of an earlier draw from fewer scans; `, leakage` behind it says
    that tied patients stand in different splits.

    Parameters
    ----------
    options
        The shares, the seed, the official table, and what is balanced.
    folder
        The study's folder, which holds `cohort.parquet`.
    labels
        In the order of the cohort: a row a scan and a column a finding, true where it is present, as
        `espalier.cohort.stratify.presence` returns it; or one number a scan, which is only counted in the summary.
    tied
        Pairs of patients who are one person or show one volume; those of `duplicates.parquet` when absent.
    key
        The secret that made the cohort's ids, so that a table with the original ones fits.

    Raises
    ------
    InputError
        When the table cannot be read, names unknown splits, fits no scan, or puts one patient into two splits; when
        tied patients stand in different splits and `options.leakage` is `refuse`.
    MissingError
        Before `ingest`, and where findings are to be balanced but there are no labels.
    SettingsError
        When a finding that is to be balanced is none of the labels'.
    """
    cohort = read_cohort(folder)
    path, table = folder / SPLITS, folder / options.table if options.table else None
    pairs = _pairs(folder) if tied is None else sorted({(a, b) for a, b in tied if a != b})
    having = _having(options, cohort, labels, folder)
    settings = _settings(options, table)
    settled, unmatched = _settled(options, cohort, table, key)
    groups = tied_groups(cohort["patient"].to_list(), pairs)
    whole = hash_of(VERSION, settings, options.leakage, key_of(folder / COHORT), pairs, _plain(having))
    if key_of(path) != whole:
        kept = replace(settled, kept=_kept(path, settings))
        places = assign(cohort["patient"].unique().to_list(), options, kept, tied=pairs, having=having)
        _refuse_leakage(options, path, leakage_words(places, groups))
        frame = cohort.select("scan", "patient").with_columns(
            pl.Series(name, [places[patient][n] for patient in cohort["patient"]], dtype=pl.String)
            for n, name in enumerate(("split", "why"))
        )
        write_table(path, frame, kind="splits", key=whole, more={"settings": settings}, private=True)
    splits = read_splits(folder)
    there = dict(zip(splits["patient"], zip(splits["split"], splits["why"], strict=True), strict=True))
    words = (_counts(splits, labels), _rarest_words(there, having), unmatched, leakage_words(there, groups))
    return Summary(verb="split", done=cohort.height, words="; ".join(filter(None, words)), wrote=(path,))


def read_splits(folder: Path) -> pl.DataFrame:
    """Return scan, patient, split and why; raise `MissingError` before `label`."""
    return read_table(folder / SPLITS, kind="splits")


def _settings(options: SplitOptions, table: Path | None) -> str:
    """Return the hash of all that draws; while it is the same, patients keep their split."""
    own = hash_file(table) if table and table.is_file() else None
    return hash_of(
        VERSION, options.seed, options.test, options.validation, options.stratify, own, options.split_column, options.id_column
    )


def _kept(path: Path, settings: str) -> dict[str, str]:
    if key_of(path) is None or table_metadata(path, kind="splits").get("settings") != settings:
        return {}
    splits = read_table(path, kind="splits")
    return dict(zip(splits["patient"], splits["split"], strict=True))


def _pairs(folder: Path) -> list[tuple[str, str]]:
    duplicates = read_duplicates(folder)
    pairs = zip(duplicates["patient"], duplicates["other_patient"], strict=True)
    return sorted({(a, b) for a, b in pairs if a and b and a != b})


def _having(
    options: SplitOptions, cohort: pl.DataFrame, labels: Labels | None, folder: Path
) -> dict[str, frozenset[str]] | None:
    """Return who has each finding that is to be balanced; None where none is."""
    if options.stratify is None:
        return None
    if not isinstance(labels, pl.DataFrame):
        do = "Run `espalier label` first."
        raise MissingError(folder / SPLITS, found="no labels", expected="labels, to balance the splits by", do=do)
    wanted = labels.columns if options.stratify == "all" else options.stratify
    unknown = [finding for finding in wanted if finding not in labels.columns]
    if unknown:
        expected = f"some of {', '.join(labels.columns)}"
        found = f"no finding named {unknown[0]!r}"
        raise SettingsError("[splits] stratify", found=found, expected=expected, do="Name the study's findings.")
    return {finding: frozenset(cohort.filter(labels[finding])["patient"]) for finding in wanted}


def _plain(having: Mapping[str, frozenset[str]] | None) -> dict[str, list[str]] | None:
    return None if having is None else {finding: sorted(own) for finding, own in having.items()}


def _settled(options: SplitOptions, cohort: pl.DataFrame, table: Path | None, key: bytes | None) -> tuple[Settled, str]:
    """Return who has a split of their own from the table, or from the data set where there is no table."""
    if table is not None:
        return _official(table, cohort, options, key)
    if "official_split" not in cohort.columns:
        return Settled(), ""
    own: dict[str, str] = {}
    for patient, told in cohort.filter(pl.col("official_split") != "").select("patient", "official_split").iter_rows():
        split = NAMES.get(told.lower(), "")
        if own.setdefault(patient, split) != split or not split:
            found = "a scan's official split is unknown, or one patient has two"
            raise InputError(COHORT, found=found, expected="each patient in one split", do="Give [splits] table.")
    return Settled(official=own, word="official", validates="validation" in own.values()), ""


def _official(path: Path, cohort: pl.DataFrame, options: SplitOptions, key: bytes | None) -> tuple[Settled, str]:
    """Return the split of each patient that the table names, and a sentence on what did not fit."""
    frame = read_csv_table(path, needed=(options.split_column, *([options.id_column] if options.id_column else [])))
    id_column = options.id_column or _id_column(path, frame, options)
    splits = [_split_name(path, cell, row, options) for row, cell in enumerate(frame[options.split_column], start=2)]
    refuse_ruined_ids(frame[id_column].to_list(), source=path, column=id_column, numbers=range(2, frame.height + 2))
    column, ids = _matched(id_column, [bare_id(cell) for cell in frame[id_column]], cohort, key)
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
    mismatch = [f"{unknown} of the split table's {id_column} values fit no scan"] if unknown else []
    mismatch += [f"{left} patients are not in the split table"] if left else []
    return Settled(official=official, validates="validation" in splits), "; ".join(mismatch)


def _id_column(path: Path, frame: pl.DataFrame, options: SplitOptions) -> str:
    for column in frame.columns:
        if column.lower() in ID_COLUMNS and column != options.split_column:
            return column
    found = f"no column that identifies patients or scans among its {len(frame.columns)}"
    raise InputError(path, found=found, expected=f"one of {', '.join(ID_COLUMNS)}", do="Name yours as id_column.")


def _matched(id_column: str, ids: list[str], cohort: pl.DataFrame, key: bytes | None) -> tuple[str, list[str]]:
    """Return the cohort's column that the ids are of, and the ids as they stand there, by pseudonym where there is a key."""
    known = ID_COLUMNS.get(id_column.lower())
    hidden = {} if key is None else {one: pseudonym_of("patient", one, key) for one in ids}
    named: dict[str, list[str]] = {}
    for column in [known] if known else dict.fromkeys(ID_COLUMNS.values()):
        there = set(cohort[column])
        named[column] = [one if one in there else hidden.get(one, one) for one in ids]
    best = max(named, key=lambda column: len(set(named[column]) & set(cohort[column])))
    return best, named[best]


def _split_name(path: Path, cell: str, row: int, options: SplitOptions) -> str:
    if cell.lower() not in NAMES:
        # The cell itself is not said: where the wrong column is named, it may be a patient.
        found = f"row {row}, column {options.split_column}: no name of a split"
        raise InputError(
            path, found=found, expected="train, validation or test", do="Correct it, or name another split_column."
        )
    return NAMES[cell.lower()]


def _refuse_leakage(options: SplitOptions, path: Path, leakage: str) -> None:
    if leakage and options.leakage == "refuse":
        do = "Correct the official table, leave one of each pair out (duplicates.parquet), or remove splits.parquet."
        raise InputError(path, found=leakage, expected="tied patients in one split", do=do)


def _counts(splits: pl.DataFrame, labels: Labels | None) -> str:
    labels = None if isinstance(labels, pl.DataFrame) else labels
    parts = []
    for name in ORDER:
        hit = [split == name for split in splits["split"]]
        finding = f" ({sum(1 for h, label in zip(hit, labels, strict=True) if h and label)} with a finding)" if labels else ""
        parts.append(f"{sum(hit)} {name}{finding}")
    return ", ".join(parts)


def _rarest_words(places: Mapping[str, Place], having: Mapping[str, frozenset[str]] | None) -> str:
    """Say how the rarest of the balanced findings came out."""
    if not having:
        return ""
    there = {finding: patients for finding, patients in having.items() if patients}
    nobody = f"nobody has {', '.join(sorted(set(having) - set(there)))}" if len(there) < len(having) else ""
    if not there:
        return nobody
    finding, patients = min(there.items(), key=lambda own: (len(own[1]), own[0]))
    splits = [places[patient][0] for patient in patients]
    rarest = f"rarest is {finding}, in " + ", ".join(f"{splits.count(split)} {split}" for split in ORDER) + " patients"
    return "; ".join(filter(None, (nobody, rarest)))
