"""Identifiers replaced by keyed hashes before anything is written: `[cohort] pseudonyms = "KEYFILE"`.

Who holds the key finds a patient again by hashing the id; who does not, cannot, however many ids are tried.
"""

import hashlib
import hmac
import os
import re
import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from espalier.cohort.cells import plain_id
from espalier.cohort.headers import About
from espalier.cohort.table import COHORT
from espalier.errors import InputError, ResourceError
from espalier.outputs import PRIVATE, hash_of, key_of, write_json

FEWEST_BYTES: Final = 32
IDS: Final = frozenset({"patient", "study_uid", "series_uid", "sop_uid", "accession", "stem", "report"})
UID: Final = re.compile(r"[0-9]+(\.[0-9]+)+", re.ASCII)
OLDEST_YEARS: Final = 90.0
"""Higher ages identify people (45 CFR 164.514(b)(2)(i)(C)); they are told as this one."""
FINGERPRINT: Final = Path("records", "pseudonyms.json")


def read_key(path: Path) -> bytes:
    """Return the secret in a key file; made, of 32 random bytes in hexadecimal, where it is missing.

    Raises
    ------
    InputError
        When it is shorter than 32 bytes, not a file, or readable by others than its owner.
    """
    if not path.exists():
        _make(path)
    if not path.is_file():
        raise InputError(path, found="no file", expected="a key file", do="Name a file in [cohort] pseudonyms.")
    if path.stat().st_mode & 0o077:
        do = f"Run chmod 600 {path.name} there."
        raise InputError(path, found="a key file that others may read", expected="one of its owner's alone", do=do)
    key = path.read_bytes().strip()
    if len(key) < FEWEST_BYTES:
        found, do = f"a key of {len(key)} bytes", "Remove the file: a new key is made then."
        raise InputError(path, found=found, expected=f"at least {FEWEST_BYTES}", do=do)
    return key


def check_key(key: bytes, *, path: Path, folder: Path) -> None:
    """Note which key made a study's ids; raise `InputError` for another one, or where there are ids that no key made.

    Parameters
    ----------
    key, path
        The secret and its file.
    folder
        The study's folder.
    """
    print_ = hash_of(hmac.new(key, b"fingerprint", hashlib.sha256).hexdigest())
    before = key_of(folder / FINGERPRINT)
    if before is None and (folder / COHORT).is_file():
        do = "Make the study anew in another folder: pseudonyms hold from the start."
        raise InputError(path, found="a key for a study that was made without one", expected="a new study", do=do)
    if before is None:
        write_json(folder / FINGERPRINT, {}, kind="record", key=print_, private=True)
    elif before != print_:
        do = "Bring the first key back, or make the study anew in another folder."
        raise InputError(path, found="another key than the one that made this study's ids", expected="that one", do=do)


def pseudonym_of(kind: str, value: str, key: bytes) -> str:
    """Return what stands for an identifier: equal for equal ones, "" for none.

    All ids share one space, so that the id of a report can be hashed before it is known whose it is. What looks like a
    DICOM UID becomes a valid one below 2.25 (PS3.5, annex B.2), all else 16 hexadecimal characters.

    Parameters
    ----------
    kind
        What it identifies: a column of ids in `cohort.parquet`, `sop_uid`, `report`; `site` has a space of its own.
    value
        The identifier as a header or a table says it; blanks around it and marks that nobody sees do not count.
    key
        The secret.
    """
    plain = plain_id(value)
    if not plain:
        return ""
    space = "id" if kind in IDS else kind
    digest = hmac.new(key, f"{space}\x1f{plain}".encode(), hashlib.sha256).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}" if UID.fullmatch(plain) else digest[:8].hex()


def pseudonymised(about: About, key: bytes) -> About:
    """Return what headers say without what identifies a person.

    Patient, study, series, accession number and institution become pseudonyms, so that they still join and group. The
    series description and the contrast agent are typed by hand and may hold names: the first is left out, of the
    second only stays whether it was given. Ages above 90 years become 90. Sex, manufacturer and kernel stay.
    """
    return replace(
        about,
        patient=pseudonym_of("patient", about.patient, key),
        study_uid=pseudonym_of("study_uid", about.study_uid, key),
        series_uid=pseudonym_of("series_uid", about.series_uid, key),
        accession=pseudonym_of("accession", about.accession, key),
        site=pseudonym_of("site", about.site, key),
        age_years=None if about.age_years is None else min(about.age_years, OLDEST_YEARS),
        contrast=_plain_contrast(about.contrast),
        description="",
    )


def _plain_contrast(told: str) -> str:
    from espalier.cohort.contrast import WITHOUT

    word = told.strip().lower()
    return word if word in WITHOUT or not word else "given"


def _make(path: Path) -> None:
    """Make a key file; of two processes that do so at once, one wins and both read its key."""
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(FEWEST_BYTES) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(partial)
    except OSError as error:
        found = f"the key file could not be made ({error.strerror or type(error).__name__})"
        raise ResourceError(path, found=found, do="Name a file in a folder that can be written.") from error
    finally:
        partial.unlink(missing_ok=True)
