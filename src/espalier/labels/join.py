"""Whose report is it: the ids of a table against the scans of a cohort."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from espalier.errors import InputError

ID_COLUMNS: Final = ("accession", "study_uid", "scan", "patient", "stem")
_SUFFIXES: Final = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".dcm", ".npz")


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """Which scans each id has; `column` is the cohort's column that answered, "" where there is no cohort."""

    column: str
    scans: dict[str, tuple[str, ...]]
    lone_ids: tuple[str, ...]
    lone_scans: tuple[str, ...]


def join(ids: Sequence[str], cohort: pl.DataFrame | None, *, source: str) -> Joined:
    """Match ids with whichever of the cohort's id columns matches most of them; ties go to the first.

    Parameters
    ----------
    ids
        One per report, as the table has them.
    cohort
        The table of scans, or None where there is none.
    source
        The table's name, for messages.

    Raises
    ------
    InputError
        Where there are scans but no id is any of theirs.
    """
    if cohort is None:
        return Joined(column="", scans={}, lone_ids=(), lone_scans=())
    found: dict[str, dict[str, tuple[str, ...]]] = {
        name: _matches(ids, cohort, name) for name in ID_COLUMNS if name in cohort.columns
    }
    column = max(found, key=lambda c: len(found[c]))
    scans = found[column]
    if ids and not scans:
        raise InputError(
            source,
            found=f"none of its {len(ids)} ids is that of a scan",
            expected=f"ids as in cohort.parquet: {', '.join(found)}",
            do="Name the column with such ids in [labels] id_column.",
        )
    taken = {scan for own in scans.values() for scan in own}
    return Joined(
        column=column,
        scans=scans,
        lone_ids=tuple(one for one in ids if one not in scans),
        lone_scans=tuple(scan for scan in cohort["scan"] if scan not in taken),
    )


def _matches(ids: Sequence[str], cohort: pl.DataFrame, column: str) -> dict[str, tuple[str, ...]]:
    own: defaultdict[str, list[str]] = defaultdict(list)
    for scan, value in zip(cohort["scan"], cohort[column], strict=True):
        if value:
            own[_bare(str(value))].append(scan)
    return {one: tuple(own[_bare(one)]) for one in ids if one.strip() and _bare(one) in own}


def _bare(name: str) -> str:
    """Return an id without blanks around it and without the suffix of a file."""
    name = name.strip()
    suffix = next((s for s in _SUFFIXES if name.lower().endswith(s)), "")
    return name.removesuffix(name[len(name) - len(suffix) :]) if suffix else name
