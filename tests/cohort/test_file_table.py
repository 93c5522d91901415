import unicodedata
from pathlib import Path

import pytest

from espalier.cohort.file_table import read_file_table
from espalier.cohort.files import Single, single_series
from espalier.errors import InputError


def table(folder: Path, text: str) -> Path:
    (folder / "files.csv").write_text(text, encoding="utf-8")
    return folder / "files.csv"


def test_ages_take_a_decimal_comma_and_words_for_nothing_and_patients_do_not(tmp_path: Path) -> None:
    told = read_file_table(table(tmp_path, "file;patient;age_years\na.nii;NA;63,5\nb.nii;007;n/a\n"))
    assert [(one.file, one.cells["patient"], one.age_years) for one in told] == [("a.nii", "NA", 63.5), ("b.nii", "007", None)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,age_years\na,old\n", "row 2, column age_years: no number of years"),
        ("file,age_years\na,450\n", "row 2, column age_years: 450 years"),
        ("file,patient\na,1\nb,2\na,2\n", "rows 2 and 4 tell different things of one file"),
        ("file,patient\na,1.5E+11\n", "row 2, column patient: a number as in"),
        ("name,patient\na,1\n", "no column file"),
    ],
)
def test_a_cell_that_cannot_be_is_named_by_row_and_column(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_file_table(table(tmp_path, text))


def test_equal_rows_count_once(tmp_path: Path) -> None:
    assert len(read_file_table(table(tmp_path, "file,patient\na,1\na,1\n"))) == 1


def test_a_name_in_another_unicode_form_is_the_same_file(tmp_path: Path) -> None:
    files = [Single(tmp_path / "x", unicodedata.normalize("NFD", "Köln.nii"))]
    series, absent = single_series(files, table(tmp_path, "file,patient\nKöln.nii,P\n"))
    assert ([one.about.patient for one in series], absent) == (["P"], [])


def test_a_name_of_two_files_is_refused_and_a_path_is_one_file(tmp_path: Path) -> None:
    files = [Single(tmp_path / "P1/ct.nii", "P1/ct.nii"), Single(tmp_path / "P2/ct.nii", "P2/ct.nii")]
    with pytest.raises(InputError, match="row 2, column file: 2 files have this name"):
        single_series(files, table(tmp_path, "file,patient\nct.nii,P\n"))
    series, absent = single_series(files, table(tmp_path, "file,patient\nP2\\ct.nii,P\n../ct.nii,Q\n"))
    assert ([one.source for one in series], absent) == ([(tmp_path / "P2/ct.nii").as_posix()], ["../ct.nii"])
