"""What a cohort comes to in numbers and in words, from the tables that `ingest` wrote."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.cohort.reasons import note_words, reason_words
from espalier.cohort.table import SERIES, SERIES_COLUMNS, read_duplicates, read_series_table
from espalier.errors import InputError
from espalier.outputs import read_table

STAGE: Final = "ingest"
_ASIDE: Final = ("source", "scan", "reason", "found", "expected", "do", "stage")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """A study's tables of scans; those that are not there are empty."""

    folder: Path
    cohort: pl.DataFrame
    series: pl.DataFrame
    set_aside: pl.DataFrame
    splits: pl.DataFrame
    duplicates: pl.DataFrame


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """A cohort in numbers.

    Parameters
    ----------
    usable, sound, noted
        Scans of `cohort.parquet`, without and with a note.
    patients, studies
        That have at least one usable scan.
    lost_studies
        That have none.
    series, not_chosen
        Series that were seen, and per rule how many it did not choose.
    set_aside, notes
        Scans per reason code, the most frequent first.
    splits
        Per split its scans and patients.
    twins
        Pairs of scans that show the same volume.
    """

    usable: int
    sound: int
    noted: int
    patients: int
    studies: int
    lost_studies: int
    series: int
    not_chosen: Mapping[str, int]
    set_aside: Mapping[str, int]
    notes: Mapping[str, int]
    splits: Mapping[str, tuple[int, int]]
    twins: int


def read_tables(path: Path) -> Tables:
    """Return the cohort in `path` and the tables beside it.

    Raises
    ------
    MissingError, InputError, VersionError
        When `path` is not there or no cohort.
    """
    folder = path.parent
    series = read_series_table(folder) if (folder / SERIES).is_file() else pl.DataFrame(schema=dict(SERIES_COLUMNS))
    splits = folder / "splits.parquet"
    return Tables(
        folder=folder,
        cohort=read_table(path, kind="cohort"),
        series=series,
        set_aside=_read_set_aside(folder / "set_aside.csv"),
        splits=read_table(splits, kind="splits") if splits.is_file() else pl.DataFrame(),
        duplicates=read_duplicates(folder),
    )


def _read_set_aside(path: Path) -> pl.DataFrame:
    if not path.is_file():
        return pl.DataFrame(schema=dict.fromkeys(_ASIDE, pl.String))
    try:
        return pl.read_csv(path, infer_schema=False).select(_ASIDE).filter(stage=STAGE).fill_null("")
    except pl.exceptions.PolarsError as error:
        do = "Run `espalier ingest` again."
        raise InputError(path, found="not the table that ingest wrote", expected=", ".join(_ASIDE), do=do) from error


def count(tables: Tables) -> Counts:
    """Return the cohort in numbers."""
    cohort, series = tables.cohort, tables.series
    study = ["patient", "study_uid"]
    rivals = series.filter(~pl.col("chosen").fill_null(value=False))
    return Counts(
        usable=cohort.height,
        sound=cohort.filter(verdict="sound").height,
        noted=cohort.filter(verdict="noted").height,
        patients=cohort["patient"].n_unique(),
        studies=cohort.select(study).unique().height,
        lost_studies=series.select(study).unique().join(cohort, on=study, how="anti", nulls_equal=True).height,
        series=series.height,
        not_chosen=tally(rivals["why"].to_list()),
        set_aside=tally(tables.set_aside["reason"].to_list()),
        notes=tally(cohort["notes"].explode().drop_nulls().to_list()),
        splits=_splits(tables.splits),
        twins=tables.duplicates.height,
    )


def tally(values: Sequence[Any]) -> dict[str, int]:
    """Return how often each value stands, the most frequent first, equals by name; an empty or absent value is ""."""
    counts = Counter("" if value is None else str(value) for value in values)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _splits(splits: pl.DataFrame) -> dict[str, tuple[int, int]]:
    if splits.is_empty():
        return {}
    own = {str(name): part for (name,), part in splits.group_by("split")}
    order = {"train": 0, "validation": 1, "test": 2}
    return {name: (own[name].height, own[name]["patient"].n_unique()) for name in sorted(own, key=lambda n: order.get(n, 3))}


def answers(counts: Counts) -> list[str]:
    """Return the sentences that tell what the cohort comes to, the most important one first."""
    aside = sum(counts.set_aside.values())
    total = counts.usable + aside
    if not total:
        return ["No scan was found."]
    first = f"{number(counts.usable)} of {plural(total, 'scan')} {'is' if 1 in (counts.usable, total) else 'are'} usable"
    if not aside:
        first = f"All {plural(total, 'scan')} are usable; none was set aside" if total > 1 else "The only scan is usable"
    else:
        reason, most = next(iter(counts.set_aside.items()))
        share = "all" if most == aside else f"most ({number(most)})" if 2 * most > aside else f"{number(most)} of them"
        share = "" if aside == 1 else f"{share} "
        first += f"; {number(aside)} set aside, {share}for {reason_words(reason)}"
    told = [f"{first}."]
    if counts.usable:
        told.append(f"They come from {plural(counts.patients, 'patient')} and {plural(counts.studies, 'study', 'studies')}.")
    if counts.lost_studies:
        told.append(f"{plural(counts.lost_studies, 'study has', 'studies have')} no usable scan.")
    if counts.noted:
        code, most = next(iter(counts.notes.items()))
        carry = "carries" if counts.noted == 1 else "carry"
        told.append(f"{number(counts.noted)} {carry} a note, most often: {note_words(code)} ({number(most)}).")
    if counts.twins:
        told.append(f"{plural(counts.twins, 'pair', 'pairs')} of scans show the same volume.")
    return told


def number(value: int) -> str:
    """Return a whole number with its thousands parted."""
    return f"{value:,}"


def plural(value: int, one: str, many: str = "") -> str:
    """Return a count with its noun, as `1 scan` or `2 scans`."""
    return f"{number(value)} {one if value == 1 else many or one + 's'}"
