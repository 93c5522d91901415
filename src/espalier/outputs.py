"""Files that appear whole or not at all, that say what they are, and that notice when they were changed."""

import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.errors import AlteredError, InputError, MissingError, ResourceError, VersionError

VERSIONS: Final[Mapping[str, int]] = {
    "cohort": 1,
    "series": 1,
    "duplicates": 1,
    "splits": 1,
    "labels": 1,
    "evidence": 1,
    "masks": 1,
    "store": 1,
    "record": 1,
    "audit": 1,
    "audit_score": 1,
    "run": 1,
    "cost": 1,
    "curves": 1,
    "predictions": 1,
    "metrics": 1,
    "comparison": 1,
    "bundle": 1,
    "folder": 1,
    "phantom": 1,
    "prediction": 1,
    "status": 1,
    "benchmark": 1,
    "validation": 1,
    "checkpoint": 1,
    "study": 1,
}
COMPLETION: Final = "complete.json"
PRIVATE: Final = 0o600
UNWRITABLE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG, errno.EISDIR}


@contextmanager
def written_whole(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield a neighbour of `path` to write; it takes the name `path` only when the block ends well.

    The neighbour keeps all suffixes of `path`, since many writers choose their format by them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        if private:
            # From its first byte on: a killed writer leaves it behind.
            partial.touch(mode=PRIVATE)
        yield partial
        _sync(partial)
        if private:
            partial.chmod(PRIVATE)
        partial.replace(path)
        _sync(path.parent)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise ResourceError(
            path,
            found=f"could not be written ({error.strerror or type(error).__name__})",
            do="Free the disk or mend its permissions, then run the same command again.",
        ) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def written_folder(folder: Path, *, kind: str, key: str = "") -> Iterator[Path]:
    """Yield a neighbour folder to fill; it replaces `folder` when the block ends well, with hashes of all it holds."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".partial-{folder.name}-", dir=folder.parent))
    try:
        yield partial
        complete_folder(partial, kind=kind, key=key)
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def complete_folder(folder: Path, *, kind: str, key: str = "") -> None:
    """Write the completion record of a folder: what it is, and the SHA-256 of every file in it."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != COMPLETION)
    hashes = {p.relative_to(folder).as_posix(): hash_file(p) for p in files}
    write_json(folder / COMPLETION, {"files": hashes}, kind=kind, key=key)


def verify_folder(folder: Path, *, kind: str) -> dict[str, str]:
    """Return the hashes of a completed folder by file name; raise `AlteredError` where a file differs or is gone."""
    recorded: dict[str, str] = read_json(folder / COMPLETION, kind=kind)["files"]
    for name, expected in recorded.items():
        path = folder / name
        if not path.is_file():
            raise AlteredError(
                path,
                found="the file is gone",
                expected="the file named in the completion record",
                do="Copy the whole folder again, or make it anew.",
            )
        if hash_file(path) != expected:
            raise AlteredError(
                path,
                found="its bytes differ from the recorded SHA-256",
                expected=expected[:12] + "…",
                do="Do not use it; copy the whole folder again, or make it anew.",
            )
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != COMPLETION}
    for extra in sorted(present - set(recorded)):
        raise AlteredError(
            folder / extra, found="a file that the completion record does not name", do="Remove it, or make the folder anew."
        )
    return recorded


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_of(*parts: object) -> str:
    """Return the SHA-256 of plain values (text, numbers, lists, mappings), independent of mapping order."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def safe_id(*parts: str) -> str:
    """Return 16 hexadecimal characters that stand for `parts` in file names; the parts cannot be read from them."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def stamp(kind: str, key: str = "") -> dict[str, Any]:
    """Return what every file says of itself: kind, version and the hash of all that went into it."""
    return {"kind": kind, "version": VERSIONS[kind]} | ({"key": key} if key else {})


def write_json(path: Path, data: Mapping[str, Any], *, kind: str, key: str = "", private: bool = False) -> None:
    """Write `data` with its stamp, whole or not at all; equal data give equal bytes."""
    text = json.dumps({"espalier": stamp(kind, key), **data}, indent=1, ensure_ascii=False, default=_plain)
    with written_whole(path, private=private) as partial:
        # A file name that is no UTF-8 is told with its odd bytes escaped; the same in every run.
        partial.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def read_json(path: Path, *, kind: str) -> dict[str, Any]:
    """Return the content of a stamped JSON file; raise `MissingError`, `InputError` or `VersionError`."""
    if not path.is_file():
        raise MissingError(path, found="no such file", expected=f"a file of kind {kind!r}", do=_how_to_make(kind))
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(path, found="not readable as JSON", do=_how_to_make(kind)) from error
    _check_stamp(path, data.get("espalier") if isinstance(data, dict) else None, kind)
    return dict(data)


def write_table(
    path: Path, frame: pl.DataFrame, *, kind: str, key: str = "", more: Mapping[str, str] | None = None, private: bool = False
) -> None:
    """Write a Parquet table with its stamp in the file's metadata, whole or not at all."""
    metadata = {"espalier": json.dumps(stamp(kind, key)), **(more or {})}
    packed = io.BytesIO()  # polars tells a full disk as an error of its computing
    frame.write_parquet(packed, metadata=metadata)
    with written_whole(path, private=private) as partial:
        partial.write_bytes(packed.getvalue())


def read_table(path: Path, *, kind: str) -> pl.DataFrame:
    """Return a stamped Parquet table; raise `MissingError`, `InputError` or `VersionError`."""
    metadata = table_metadata(path, kind=kind)
    _check_stamp(path, json.loads(metadata.get("espalier", "null")), kind)
    return pl.read_parquet(path)


def table_metadata(path: Path, *, kind: str) -> dict[str, str]:
    """Return the metadata of a Parquet table without reading its rows."""
    if not path.is_file():
        raise MissingError(path, found="no such file", expected=f"a table of kind {kind!r}", do=_how_to_make(kind))
    try:
        return dict(pl.read_parquet_metadata(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(path, found="not readable as Parquet", do=_how_to_make(kind)) from error


def key_of(path: Path) -> str | None:
    """Return the key a JSON, Parquet or completed folder was stamped with, or None where there is no whole file.

    A stage whose output carries the key it would write now has nothing left to do.
    """
    file = path / COMPLETION if path.is_dir() else path
    if not file.is_file():
        return None
    try:
        if file.suffix == ".parquet":
            own = json.loads(dict(pl.read_parquet_metadata(file)).get("espalier", "null"))
        else:
            own = json.loads(file.read_text(encoding="utf-8")).get("espalier")
    except (ValueError, OSError, pl.exceptions.PolarsError):
        return None
    return str(own["key"]) if own and "key" in own else None


def write_csv(path: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str], *, private: bool = False) -> None:
    """Write a CSV for people, if it would differ; cells that a spreadsheet would run as a formula are quoted (CWE-1236)."""
    safe = [{c: _spreadsheet_safe(_readable(str(row.get(c, "")))) for c in columns} for row in rows]
    frame = pl.DataFrame(safe, schema=dict.fromkeys(columns, pl.String))
    text = frame.write_csv().encode()
    if path.is_file() and path.read_bytes() == text:
        return
    with written_whole(path, private=private) as partial:
        partial.write_bytes(text)


def inside(root: Path, name: str) -> Path:
    """Return `root / name`; raise `InputError` where `name` (from a table, tag or archive) would leave `root`."""
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise InputError(
            root,
            found="a path that leads outside its folder",
            expected="paths below the folder",
            do="Correct the path in the table or archive.",
        )
    return path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for one run at a time; the kernel lets go when the process dies, however it dies."""
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            raise ResourceError(
                folder, found=f"{holder} is at work here", expected="one run at a time", do="Wait for it to end, or stop it."
            ) from error
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {os.uname().nodename}\n")
        stream.flush()
        yield


def sweep(folder: Path) -> None:
    """Remove what killed runs left half-written below `folder`; call it only while holding the lock."""
    for path in sorted(folder.rglob(".partial-*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _plain(value: object) -> object:
    """Turn paths, tuples, numpy scalars and frozen dataclasses into what JSON knows."""
    import dataclasses

    if isinstance(value, Path):
        return value.as_posix()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _readable(text: str) -> str:
    """Return text whose bytes that are no UTF-8, as file names can hold, are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _spreadsheet_safe(cell: str) -> str:
    return "'" + cell if cell[:1] in {"=", "+", "@", "\t", "\r"} or (cell[:1] == "-" and not _is_number(cell)) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_stamp(path: Path, own: Mapping[str, Any] | None, kind: str) -> None:
    if not own or own.get("kind") != kind:
        found = f"a file of kind {own['kind']!r}" if own and "kind" in own else "a file without Espalier's stamp"
        raise InputError(path, found=found, expected=f"kind {kind!r}", do="Name another file.")
    if int(own["version"]) > VERSIONS[kind]:
        raise VersionError(
            path,
            found=f"version {own['version']} of kind {kind!r}",
            expected=f"at most {VERSIONS[kind]}",
            do="Install the newer Espalier that wrote it.",
        )


def _how_to_make(kind: str) -> str:
    makers = {
        "cohort": "ingest",
        "splits": "label",
        "labels": "label",
        "masks": "segment",
        "store": "prepare",
        "run": "train",
        "predictions": "evaluate",
        "metrics": "evaluate",
        "comparison": "compare",
        "bundle": "export",
    }
    return f"Run `espalier {makers[kind]}` first." if kind in makers else "Name an existing file."
