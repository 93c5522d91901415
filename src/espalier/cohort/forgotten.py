"""Who has withdrawn: a private list of hashes, so that a patient whose files are still there does not come back.

The hashes are salted and the ids cannot be read from them, but who has the file can try ids one by one, as the list must
know a patient again without the patient's id being kept anywhere. With `[cohort] pseudonyms` the ids are keyed already.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from espalier.cohort.cells import plain_id
from espalier.outputs import read_json, write_json

FORGOTTEN: Final = "forgotten.json"
KIND: Final = "record"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The salt, and the hashes of every forgotten id by what it identifies: a column of the cohort, or `report`."""

    salt: str = ""
    hashes: Mapping[str, frozenset[str]] | None = None


def read_forgotten(folder: Path) -> Forgotten:
    """Return the list of a study, an empty one where nobody was forgotten."""
    path = folder / FORGOTTEN
    if not path.is_file():
        return Forgotten()
    told = read_json(path, kind=KIND)
    return Forgotten(told["salt"], {kind: frozenset(own) for kind, own in told["hashes"].items()})


def is_forgotten(forgotten: Forgotten, *, patient: str, scan: str = "", study: str = "") -> bool:
    """Tell whether a scan is one that was forgotten, under whatever patient id, or one of a forgotten patient or study."""
    told = (("patient", patient), ("scan", scan), ("study_uid", study))
    return any(value and holds(forgotten, kind, value) for kind, value in told)


def holds(forgotten: Forgotten, kind: str, value: str) -> bool:
    """Tell whether an id of a kind is on the list."""
    return bool(forgotten.hashes) and _hash(forgotten.salt, kind, value) in (forgotten.hashes or {}).get(kind, ())


def remember_forgotten(folder: Path, ids: Mapping[str, Iterable[str]]) -> None:
    """Add ids by kind to a study's list, which is readable by its owner only; equal lists give equal bytes."""
    before = read_forgotten(folder)
    salt = before.salt or secrets.token_hex(16)
    hashes = {kind: set(own) for kind, own in (before.hashes or {}).items()}
    for kind, own in ids.items():
        hashes.setdefault(kind, set()).update(_hash(salt, kind, one) for one in own if one)
    content = {"salt": salt, "hashes": {kind: sorted(own) for kind, own in sorted(hashes.items())}}
    write_json(folder / FORGOTTEN, content, kind=KIND, private=True)


def _hash(salt: str, kind: str, value: str) -> str:
    return hashlib.sha256("\x1f".join((salt, kind, plain_id(value))).encode()).hexdigest()[:32]
