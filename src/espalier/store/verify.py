"""Checking that the store still holds the bytes that `prepare` wrote."""

from pathlib import Path

from espalier.errors import AlteredError
from espalier.outputs import hash_file, inside, read_json
from espalier.store.read import ARRAYS, STORE


def verify_store(folder: Path) -> int:
    """Rehash every array of a study's store against `store.json`; return how many there are.

    Raises
    ------
    AlteredError
        When an array is gone or differs; the first is named, and how many more there are.
    MissingError
        Before `prepare`.
    """
    entries = read_json(folder / STORE, kind="store")["scans"]
    recorded = {name: sha256 for entry in entries.values() for name, sha256 in entry["sha256"].items()}
    wrong = [(name, fault) for name, sha256 in recorded.items() if (fault := _fault(folder, name, sha256))]
    if wrong:
        name, fault = wrong[0]
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise AlteredError(
            folder / ARRAYS / name,
            found=fault + more,
            expected="the bytes that `prepare` wrote",
            do="Delete what is altered and run `espalier prepare study.toml` again.",
        )
    return len(recorded)


def _fault(folder: Path, name: str, sha256: str) -> str:
    path = inside(folder / ARRAYS, name)
    if not path.is_file():
        return "the file is gone"
    return "" if hash_file(path) == sha256 else f"its SHA-256 is not {sha256[:12]}…"
