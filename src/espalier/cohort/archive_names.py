"""Names in archives to names on disk: the same wherever every disk takes them, else a hash that keeps the ending."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

LONGEST_PART: Final = 200
"""Bytes of one part of a path; most file systems take 255."""
ENDING: Final = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}\Z")
"""What tells the format of a file: one suffix, or two as in .nii.gz."""


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each name in an archive the one it has on disk: the same, where every disk takes it.

    Parts that are too long or no printable text become a hash with the same ending, and so do names that differ from
    another only in upper and lower case. The same names give the same answer in any order.
    """
    safe = {name: "/".join(map(_safe_part, name.split("/"))) for name in names}
    counts = Counter(place.casefold() for place in safe.values())
    return {name: place if counts[place.casefold()] == 1 else _told_apart(name, place) for name, place in safe.items()}


def _safe_part(part: str) -> str:
    raw = part.encode("utf-8", "surrogatepass")
    return part if part.isprintable() and len(raw) <= LONGEST_PART else _hash(raw) + _ending(part)


def _told_apart(name: str, place: str) -> str:
    folder, slash, last = place.rpartition("/")
    ending = _ending(last)
    return f"{folder}{slash}{last.removesuffix(ending)}-{_hash(name.encode('utf-8', 'surrogatepass'))}{ending}"


def _ending(part: str) -> str:
    match = ENDING.search(part)
    return match[0] if match else ""


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]
