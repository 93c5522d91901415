import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.cohort.cells import MISSING, is_missing, number_of, plain_id, refuse_ruined_ids
from espalier.errors import InputError


@pytest.mark.parametrize("one", ["007", "NA", "1E05", "../../etc/passwd", "a/b\\c", "12345678901234567890", "Müller", "con"])
def test_an_id_stays_as_it_is(one: str) -> None:
    assert plain_id(one) == one


@pytest.mark.parametrize(
    ("cell", "one"),
    [
        (" A1\u00a0", "A1"),
        ("\u200fA1\u200e", "A1"),
        ("A\0001", "A1"),
        ("\ufeffA1", "A1"),
        (unicodedata.normalize("NFD", "Müller"), "Müller"),
        ('="007"', "007"),
        ("A \t 1", "A 1"),
    ],
)
def test_what_nobody_sees_is_no_part_of_an_id(cell: str, one: str) -> None:
    assert plain_id(cell) == one


@given(st.text(max_size=12))
def test_a_plain_id_is_as_plain_as_it_gets(cell: str) -> None:
    one = plain_id(cell)
    assert one.isascii() or plain_id(one) == one
    assert one == "" or (one[0] != " " and "\0" not in one)


def test_words_for_nothing_are_known_in_any_case_but_a_sentence_is_none() -> None:
    assert all(is_missing(word) for word in ("", " ", "NA", "n/a", "-", "YOK", "Keine", "NaN", "NULL"))
    assert not any(is_missing(text) for text in ("No nodule.", "0", "Keine Rundherde.", "na zdjęciu"))
    assert is_missing("leer", ("leer",))
    assert not is_missing("yok", ("leer",))
    assert "" in MISSING


@pytest.mark.parametrize(
    ("cell", "number"), [("1,5", 1.5), ("1.5", 1.5), (" 63 ", 63.0), ("-1,0", -1.0), ("1e2", 100.0), (",5", 0.5)]
)
def test_a_decimal_comma_is_a_decimal_point(cell: str, number: float) -> None:
    assert number_of(cell) == number


@pytest.mark.parametrize("cell", ["", "nan", "inf", "1_000", "1.234,5", "٣", "063Y", "1e9999", "--1"])
def test_what_is_no_plain_number_is_none(cell: str) -> None:
    assert number_of(cell) is None


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (["7", "1.23457E+19"], "row 3, column accession: a number as in 1.23E"),
        (["7", "1,23457E+11"], "row 3, column accession: a number as in 1.23E"),
        (["12345678901234500", "99945678901234000"], "all long ids end in zeros after 15 digits"),
        (["7.0", "", "12.0"], "all 2 ids end in .0"),
    ],
)
def test_ids_that_a_spreadsheet_ruined_are_refused(cells: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        refuse_ruined_ids(cells, source=Path("t.csv"), column="accession", numbers=range(2, 2 + len(cells)))
    assert not any(cell and cell in str(error.value) for cell in cells if len(cell) > 4)


@pytest.mark.parametrize(
    "cells",
    [["1E05", "7E12"], ["1.2.840.0", "1.3"], ["7.0", "8"], ["12345678901234567890", "12345678901234500000"], [""], ["NA"]],
)
def test_ids_that_only_look_odd_are_taken(cells: list[str]) -> None:
    refuse_ruined_ids(cells, source=Path("t.csv"), column="accession", numbers=range(2, 2 + len(cells)))
