from pathlib import Path

import pytest

from espalier.errors import InputError, MissingError, SettingsError
from espalier.labels.tables import read_csv

TEXT = 'accession;report\r\n007;"Grüße; no\nnodule"\r\n1e5;clear\r\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_an_encoding_is_found_and_every_cell_stays_text(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "reports.csv"
    path.write_bytes(TEXT.encode(encoding))
    table = read_csv(path)
    assert table.columns == ("accession", "report")
    assert table.column("accession", setting="id_column") == ["007", "1e5"]
    assert table.column("report", setting="text_column")[0] == "Grüße; no\nnodule"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_separator_is_found(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f'"id, or name; it"{separator}report\n1{separator}clear\n', encoding="utf-8")
    assert read_csv(path).rows == [["1", "clear"]]


def test_a_missing_column_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("AccessionNo,report_text\n1,clear\n", encoding="utf-8")
    with pytest.raises(SettingsError, match='Did you mean id_column = "AccessionNo"') as error:
        read_csv(path).column("accession", setting="id_column")
    assert "no column 'accession' in t.csv" in str(error.value)


def test_upper_and_lower_case_of_a_column_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Accession,Report\n1,clear\n", encoding="utf-8")
    assert read_csv(path).column("accession", setting="id_column") == ["1"]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(" \n", encoding="utf-8")
    with pytest.raises(InputError, match="an empty file"):
        read_csv(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"gone\.csv: no such file"):
        read_csv(tmp_path / "gone.csv")


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,report,report\n1,a,b\n", encoding="utf-8")
    with pytest.raises(InputError, match="the column 'report' twice"):
        read_csv(path)


def test_a_row_with_too_many_cells_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,report\n1,clear\n2,no nodule, no mass\n", encoding="utf-8")
    with pytest.raises(InputError, match="3 cells"):
        read_csv(path)
