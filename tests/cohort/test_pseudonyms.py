import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from espalier.cohort.cells import plain_id
from espalier.cohort.headers import About
from espalier.cohort.pseudonyms import check_key, pseudonym_of, pseudonymised, read_key
from espalier.cohort.table import write_cohort
from espalier.errors import InputError

KEY = b"0123456789abcdef0123456789abcdef"
ABOUT = About(
    patient="MRN 0012",
    study_uid="1.2.840.1",
    series_uid="1.2.840.1.7",
    accession="ACC-9",
    age_years=93.0,
    sex="F",
    manufacturer="Maker",
    kernel="B30f",
    slice_mm=1.5,
    contrast="Iohexol, given by Dr Miller",
    site="Miller Hospital",
    description="Chest for Mrs Smith",
    number=4,
    official_split="test",
)


def test_a_missing_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "key"
    key = read_key(path)
    assert re.fullmatch(rb"[0-9a-f]{64}", key)
    assert read_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["key"]  # noqa: PTH208 - hidden files count too
    assert read_key(tmp_path / "other") != key


def test_processes_that_make_a_key_at_once_end_with_the_same_one(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from espalier.cohort.pseudonyms import read_key; "
    code += "sys.stdin.read(); print(read_key(Path(sys.argv[1])).decode())"
    command = [sys.executable, "-c", code, str(tmp_path / "key")]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert len({process.communicate("")[0] for process in started}) == 1


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"x" * 31 + b"\n", 0o600, "a key of 31 bytes; expected at least 32"),
        (b"x" * 40, 0o640, "others may read"),
        (b"x" * 40, 0o604, "others may read"),
    ],
)
def test_a_key_that_keeps_no_secret_is_refused(tmp_path: Path, content: bytes, mode: int, words: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(InputError, match=words) as refused:
        read_key(path)
    assert "xxx" not in str(refused.value)


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        read_key(tmp_path)


def test_another_key_than_the_first_is_refused_since_it_would_give_everybody_a_new_id(tmp_path: Path) -> None:
    check_key(KEY, path=tmp_path / "key", folder=tmp_path)
    check_key(KEY, path=tmp_path / "key", folder=tmp_path)
    with pytest.raises(InputError, match="another key"):
        check_key(KEY[::-1], path=tmp_path / "key", folder=tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and KEY in p.read_bytes()]


def test_a_study_that_holds_plain_ids_gets_no_pseudonyms_afterwards(tmp_path: Path) -> None:
    write_cohort(tmp_path, [], key="1")
    with pytest.raises(InputError, match="made without one"):
        check_key(KEY, path=tmp_path / "key", folder=tmp_path)


@given(value=st.text(), other=st.text(), key=st.binary(min_size=32, max_size=40))
def test_equal_ids_have_equal_pseudonyms_and_others_have_others(value: str, other: str, key: bytes) -> None:
    hidden = pseudonym_of("patient", value, key)
    assert hidden == pseudonym_of("report", f"  {value} ", key)
    assert (hidden == pseudonym_of("stem", other, key)) == (plain_id(value) == plain_id(other))
    assert (hidden == "") == (not plain_id(value))
    if hidden:
        assert hidden != pseudonym_of("patient", value, key + b"x")
        assert re.fullmatch(r"[0-9a-f]{16}|2\.25\.[0-9]+", hidden)


@given(uid=st.from_regex(r"[1-9][0-9]{0,9}(\.[1-9][0-9]{0,9}){1,5}", fullmatch=True))
def test_a_uid_becomes_a_valid_uid(uid: str) -> None:
    hidden = UID(pseudonym_of("series_uid", uid, KEY))
    assert hidden.is_valid
    assert hidden.startswith("2.25.")
    assert hidden != uid


def test_what_identifies_a_person_is_replaced_and_the_rest_stays() -> None:
    hidden = pseudonymised(ABOUT, KEY)
    told = str(hidden)
    for word in ("MRN", "0012", "840", "ACC", "Miller", "Smith", "Iohexol"):
        assert word not in told
    assert (hidden.sex, hidden.manufacturer, hidden.kernel, hidden.slice_mm, hidden.number, hidden.official_split) == (
        "F",
        "Maker",
        "B30f",
        1.5,
        4,
        "test",
    )
    assert (hidden.age_years, hidden.contrast, hidden.description) == (90.0, "given", "")
    assert hidden == pseudonymised(ABOUT, KEY)
    assert hidden.patient == pseudonym_of("patient", "MRN 0012", KEY)


def test_nothing_stays_nothing_so_that_nobody_shares_an_empty_id() -> None:
    assert pseudonymised(About(), KEY) == About()


def test_words_for_no_contrast_stay() -> None:
    assert pseudonymised(About(contrast="NONE"), KEY).contrast == "none"
