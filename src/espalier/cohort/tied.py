"""Scans that show the same acquisition: the pairs, and notes on the rows of the cohort they concern."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from espalier.cohort.looks import read_look
from espalier.cohort.plans import READER
from espalier.cohort.table import DUPLICATES, read_duplicates, write_duplicates
from espalier.cohort.twins import SIDE, Twins, find_twins
from espalier.outputs import hash_of, key_of
from espalier.stage import Rows

NOTE_OF: Final = {"equal": "duplicate", "same": "duplicate", "mirrored": "near_duplicate", "near": "near_duplicate"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tied:
    """The cohort's rows with notes on twins, and how many pairs there are within and across patients."""

    rows: Rows
    within: int
    across: int


def with_twins(folder: Path, rows: Rows) -> Tied:
    """Look for scans that show the same acquisition, write `duplicates.parquet`, and note it in both rows.

    Nobody is left out for it: `espalier.cohort.splits` puts the patients of a pair into one split.
    """
    key = hash_of(READER, [[row["scan"], row["patient"], row["voxels_sha256"]] for row in rows])
    if key_of(folder / DUPLICATES) != key:
        write_duplicates(folder, _pairs(folder, rows), key=key)
    pairs = read_duplicates(folder).to_dicts()
    notes: dict[str, list[str]] = {}
    for pair in pairs:
        for scan in (pair["scan"], pair["other_scan"]):
            notes.setdefault(scan, []).append(NOTE_OF[pair["kind"]])
    within = sum(pair["patient"] == pair["other_patient"] for pair in pairs)
    return Tied(rows=[_noted(row, notes.get(row["scan"], [])) for row in rows], within=within, across=len(pairs) - within)


def _pairs(folder: Path, rows: Rows) -> Rows:
    thumbnails = np.empty((len(rows), SIDE, SIDE, SIDE), dtype=np.int16)
    seen: Rows = []
    for row in rows:
        look = read_look(folder, row["scan"])
        if look is not None:
            thumbnails[len(seen)] = look.thumbnail
            seen.append(row)
    if len(seen) < 2:
        return []
    patient = {row["scan"]: row["patient"] for row in seen}
    hashes = [row["voxels_sha256"] for row in seen]
    twins = find_twins(list(patient), list(patient.values()), thumbnails[: len(seen)], hashes)
    return [_pair(twin, patient) for twin in twins]


def _pair(twin: Twins, patient: dict[str, str]) -> dict[str, Any]:
    return {
        "scan": twin.first,
        "other_scan": twin.second,
        "patient": patient[twin.first],
        "other_patient": patient[twin.second],
        "kind": twin.kind,
        "differ_hu": twin.differ_hu,
    }


def _noted(row: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    return {**row, "notes": list(dict.fromkeys([*row["notes"], *notes])), "verdict": "noted"} if notes else row
