"""Tell what a file is, and whether it is still what it was when it was made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from espalier.errors import InputError
from espalier.outputs import COMPLETION, read_json, verify_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What a file is: lines for people, and the same as data."""

    lines: tuple[str, ...]
    data: Mapping[str, Any]


def describe(path: Path, *, scan: str | None = None) -> Description:
    """Tell what a file or folder of Espalier's is; for a cohort table write its page, or explain one scan of it.

    Parameters
    ----------
    path
        The file or folder.
    scan
        A scan of the cohort: its id, series UID, study UID, accession number or patient id; `path` is the cohort table, or
        the study's folder.

    Raises
    ------
    InputError
        When it is none of Espalier's, or no cohort where a scan is asked for.
    UseError
        When the cohort holds no such scan.
    """
    from espalier.cohort.one_scan import explain_scan
    from espalier.cohort.overview import write_overview
    from espalier.cohort.table import COHORT

    if scan is not None:
        lines, told = explain_scan(path / COHORT if path.is_dir() else path, scan)
        return Description(lines=tuple(lines), data=told)
    data = _described(path)
    if data.get("kind") != "cohort":
        return Description(lines=tuple(f"{key}: {value}" for key, value in data.items()), data=data)
    lines, told = write_overview(path)
    return Description(lines=tuple(lines), data=data | told)


def _described(path: Path) -> dict[str, Any]:
    if path.is_dir():
        record = next((p for p in (path / COMPLETION, path / "store.json", path / "run.json") if p.is_file()), None)
        if record is None:
            return {
                "folder": str(path),
                "holds": ", ".join(sorted(p.name for p in path.iterdir() if not p.name.startswith("."))),
            }
        return {"folder": str(path), **_described(record)}
    if path.suffix == ".parquet" and path.is_file():
        return _describe_table(path)
    if path.suffix == ".json" and path.is_file():
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and "espalier" in data:
            own = data.pop("espalier")
            return {"file": str(path), "kind": own["kind"], "version": own["version"], "holds": ", ".join(data)}
    raise InputError(path, found="not a file of Espalier's", expected="a Parquet, JSON or folder that it wrote", do="Name one.")


def _describe_table(path: Path) -> dict[str, Any]:
    own = json.loads(dict(pl.read_parquet_metadata(path)).get("espalier", "null"))
    if not own:
        raise InputError(path, found="a Parquet table without Espalier's stamp", expected="one that it wrote", do="Name one.")
    frame = pl.read_parquet(path)
    told = {"file": str(path), "kind": own["kind"], "version": own["version"], "rows": frame.height}
    told["columns"] = ", ".join(f"{name} ({kind})" for name, kind in frame.schema.items())
    for name in ("verdict", "state", "split", "structure"):
        if name in frame.columns:
            counts = frame[name].value_counts(sort=True)
            told[f"by {name}"] = ", ".join(f"{value} {count}" for value, count in counts.iter_rows())
    return told


def verify_path(path: Path) -> dict[str, int]:
    """Rehash whatever under `path` was recorded with hashes; return the number of files checked by what they belong to.

    Raises
    ------
    AlteredError
        When a file differs or is gone.
    InputError
        When nothing under `path` carries hashes.
    """
    from espalier.store.verify import verify_store

    checked = {}
    for record in sorted(path.rglob(COMPLETION)):
        kind = json.loads(record.read_text(encoding="utf-8"))["espalier"]["kind"]
        checked[record.parent.relative_to(path.parent).as_posix()] = len(verify_folder(record.parent, kind=kind))
    if (path / "store.json").is_file():
        verify_store(path)
        checked["store"] = len(read_json(path / "store.json", kind="store")["scans"])
    if not checked:
        raise InputError(
            path, found="nothing here was recorded with hashes", expected="a study's folder or a bundle", do="Name one."
        )
    return checked
