"""Looks for words in every file of a folder, whatever its form: bytes, names, and what Parquet and gzip hide."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from espalier.outputs import table_metadata


def readable(path: Path) -> bytes:
    """Return a file's bytes, and after them its content in plain text where it is packed."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        content += pl.read_parquet(path).write_ndjson().encode()
        content += str(table_metadata(path, kind="any")).encode()
    if path.suffix == ".gz":
        content += gzip.decompress(content)
    return content


def own_files(folder: Path, *, leave: Iterable[str]) -> Iterator[Path]:
    """Yield every file below a study but those in its sources."""
    outside = tuple(leave)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.relative_to(folder).as_posix().startswith(outside):
            yield path


def found_in(folder: Path, words: Iterable[str], *, leave: Iterable[str]) -> dict[str, list[str]]:
    """Return for every file that holds any of the words, in its name or content, which ones."""
    wanted = list(words)
    told = {}
    for path in own_files(folder, leave=leave):
        name = path.relative_to(folder).as_posix()
        content = readable(path) + name.encode()
        hits = [word for word in wanted if word.encode() in content]
        if hits:
            told[name] = hits
    return told
