"""What each piece of a stage's work needs to know, kept beside its records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from espalier.outputs import hash_of, key_of, read_json, write_json

READER: Final = 2
"""Raised when reading or checking changes, so that records of an older reader are made again."""


def told_path(path: Path, folder: Path) -> str:
    """Return a path relative to the study's folder where it lies below it, else absolute."""
    whole, root = path.absolute(), folder.absolute()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else whole.as_posix()


def write_plan(folder: Path, stage: str, scan: str, plan: Mapping[str, Any]) -> None:
    """Keep what a scan's work needs to know beside its records, since a worker is told nothing but the scan's id."""
    path = folder / "records" / f"{stage}-plan" / f"{scan}.json"
    key = hash_of(plan)
    if key_of(path) != key:
        write_json(path, plan, kind="record", key=key, private=True)


def read_plan(folder: Path, stage: str, scan: str) -> dict[str, Any]:
    """Return what `write_plan` kept."""
    return read_json(folder / "records" / f"{stage}-plan" / f"{scan}.json", kind="record")
