"""The cohort's rows by scan, read once per process: scan-wise work functions know a scan by its id only."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from espalier.cohort.table import COHORT, read_cohort
from espalier.outputs import hash_file


def cohort_key(folder: Path) -> str:
    """Return the hash of the cohort's table; raise `MissingError` before `ingest`."""
    read_cohort(folder)
    return hash_file(folder / COHORT)


@lru_cache(maxsize=2)
def cohort_rows(folder: Path, key: str) -> Mapping[str, Mapping[str, Any]]:
    """Return every row of the cohort by its scan; `key` is the table's hash, so that a new table is read anew."""
    del key
    return {row["scan"]: row for row in read_cohort(folder).to_dicts()}
