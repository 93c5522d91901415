from pathlib import Path

import pytest

from espalier.errors import InputError
from espalier.labels.options import LabelOptions
from espalier.labels.reports import group_reports, read_tables

ROWS = "accession,report\n1,Small effusion.\n2,Normal.\n1,ADDENDUM: a nodule too.\n1,Small  effusion.\n"


def grouped(folder: Path, **more: str):
    (folder / "reports.csv").write_text(ROWS, encoding="utf-8")
    options = LabelOptions(reports="reports.csv", **more)  # type: ignore[arg-type]
    return group_reports(read_tables(options, folder), options)


def test_rows_of_one_id_that_differ_are_at_odds(tmp_path: Path) -> None:
    assert grouped(tmp_path).conflicting == {"1"}


def test_a_report_and_its_addenda_are_joined_in_order_each_text_once(tmp_path: Path) -> None:
    reports = grouped(tmp_path, several_rows="join")
    assert not reports.conflicting
    assert reports.texts == {"1": "Small effusion.\n\nADDENDUM: a nodule too.", "2": "Normal."}
    assert reports.said["1"] == "Small effusion. ADDENDUM: a nodule too."
    assert reports.rows["1"] == ("2", "4", "5")


def test_a_folder_of_reports_is_called_a_folder(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    with pytest.raises(InputError, match="a folder"):
        read_tables(LabelOptions(reports="texts"), tmp_path)


def test_a_table_beside_with_nearly_the_same_name_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "reports.csv").write_text(ROWS, encoding="utf-8")
    with pytest.raises(InputError, match=r"Did you mean reports\.csv\?"):
        read_tables(LabelOptions(reports="report.csv"), tmp_path)


@pytest.mark.parametrize(
    ("begin", "kind"),
    [(b"PK\x03\x04", "Excel"), (b"PAR1", "Parquet"), (b"\x1f\x8b", "gzip"), (b"\xd0\xcf\x11\xe0", "old kind")],
)
def test_a_file_of_another_kind_is_called_by_it(tmp_path: Path, begin: bytes, kind: str) -> None:
    (tmp_path / "reports.csv").write_bytes(begin + b"\x00\x8b\x00" * 20)
    with pytest.raises(InputError, match=kind) as caught:
        read_tables(LabelOptions(reports="reports.csv"), tmp_path)
    assert "CSV" in caught.value.do
