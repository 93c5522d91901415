"""The tables that ingest writes: the cohort, one row a scan, and every series with why it was chosen or not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.outputs import read_table, write_table

COHORT: Final = "cohort.parquet"
SERIES: Final = "series.parquet"
DUPLICATES: Final = "duplicates.parquet"

COHORT_COLUMNS: Final[Mapping[str, Any]] = {
    "scan": pl.String,
    "patient": pl.String,
    "study_uid": pl.String,
    "series_uid": pl.String,
    "source": pl.String,
    "shape_z": pl.Int64,
    "shape_y": pl.Int64,
    "shape_x": pl.Int64,
    "spacing_z_mm": pl.Float64,
    "spacing_y_mm": pl.Float64,
    "spacing_x_mm": pl.Float64,
    "verdict": pl.String,
    "notes": pl.List(pl.String),
    "age_years": pl.Float64,
    "sex": pl.String,
    "manufacturer": pl.String,
    "kernel": pl.String,
    "slice_mm": pl.Float64,
    "contrast": pl.String,
    "site": pl.String,
    "stem": pl.String,
    "accession": pl.String,
    "format": pl.String,
    "files": pl.List(pl.String),
    "voxels_sha256": pl.String,
    "hints": pl.String,
    "official_split": pl.String,
    "body_part": pl.String,
    "contrast_seen": pl.Boolean,
    "coverage_mm": pl.Float64,
    "lungs_ml": pl.Float64,
    "hu_p01": pl.Float64,
    "hu_median": pl.Float64,
    "hu_p99": pl.Float64,
}
SERIES_COLUMNS: Final[Mapping[str, Any]] = {
    "scan": pl.String,
    "patient": pl.String,
    "study_uid": pl.String,
    "series_uid": pl.String,
    "source": pl.String,
    "format": pl.String,
    "description": pl.String,
    "slices": pl.Int64,
    "spacing_z_mm": pl.Float64,
    "coverage_mm": pl.Float64,
    "axial": pl.Boolean,
    "kernel": pl.String,
    "problem": pl.String,
    "chosen": pl.Boolean,
    "why": pl.String,
}

DUPLICATES_COLUMNS: Final[Mapping[str, Any]] = {
    "scan": pl.String,
    "other_scan": pl.String,
    "patient": pl.String,
    "other_patient": pl.String,
    "kind": pl.String,
    "differ_hu": pl.Float64,
}


def read_cohort(folder: Path) -> pl.DataFrame:
    """Return the cohort of a study, one row a scan that is sound or noted; raise `MissingError` before `ingest`."""
    return read_table(folder / COHORT, kind="cohort")


def read_series_table(folder: Path) -> pl.DataFrame:
    """Return every series that ingest saw, chosen or not, with the rule that decided."""
    return read_table(folder / SERIES, kind="series")


def write_cohort(folder: Path, rows: Sequence[Mapping[str, Any]], *, key: str) -> Path:
    """Write `cohort.parquet`, readable by its owner only, ordered by patient, study and scan."""
    return _write(folder / COHORT, rows, COHORT_COLUMNS, kind="cohort", key=key)


def write_series_table(folder: Path, rows: Sequence[Mapping[str, Any]], *, key: str) -> Path:
    """Write `series.parquet`, readable by its owner only, ordered by patient, study and scan."""
    return _write(folder / SERIES, rows, SERIES_COLUMNS, kind="series", key=key)


def read_duplicates(folder: Path) -> pl.DataFrame:
    """Return the pairs of scans that show the same volume; an empty table before there is one."""
    if not (folder / DUPLICATES).is_file():
        return pl.DataFrame(schema=dict(DUPLICATES_COLUMNS))
    return read_table(folder / DUPLICATES, kind="duplicates")


def write_duplicates(folder: Path, rows: Sequence[Mapping[str, Any]], *, key: str) -> Path:
    """Write `duplicates.parquet`, readable by its owner only."""
    path = folder / DUPLICATES
    frame = pl.DataFrame([dict(row) for row in rows], schema=dict(DUPLICATES_COLUMNS)).sort("scan", "other_scan")
    write_table(path, frame, kind="duplicates", key=key, private=True)
    return path


def _write(path: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], *, kind: str, key: str) -> Path:
    plain = [{name: row.get(name) for name in columns} for row in rows]
    frame = pl.DataFrame(plain, schema=dict(columns)).sort("patient", "study_uid", "scan")
    write_table(path, frame, kind=kind, key=key, private=True)
    return path
