from pathlib import Path

import pytest

from espalier.cohort.csv_table import read_csv_table
from espalier.errors import InputError


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_ids_stay_text_whatever_the_separator(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeffpatient,age\n007,1E05\nNA,\n".replace(",", separator), encoding="utf-8")
    assert read_csv_table(path).to_dicts() == [{"patient": "007", "age": "1E05"}, {"patient": "NA", "age": ""}]


def test_a_missing_column_suggests_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Patient,splits\n1,train\n")
    with pytest.raises(InputError, match="Did you mean splits"):
        read_csv_table(tmp_path / "t.csv", needed=("split",))


def test_quoted_line_breaks_stay_in_their_cell(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n"x\ny",2\n')
    assert read_csv_table(tmp_path / "t.csv")["a"].to_list() == ["x\ny"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1\n", "row 2 has another number"),
        (b"a,b\n1,2\n\xfc,3\n", "row 3 is not UTF-8"),
        (b"", "no rows"),
        (b"a,a\n1,2\n", "one name"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_row(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_csv_table(tmp_path / "t.csv")
