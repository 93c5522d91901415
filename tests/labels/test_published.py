from pathlib import Path

import pytest

from espalier.cohort.cells import MISSING
from espalier.cohort.csv_table import read_csv
from espalier.errors import InputError, SettingsError
from espalier.labels.published import finding_columns, state_of


def test_columns_of_the_finding_set_count_where_there_are_any(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("VolumeName,Lung nodule,Hiatal hernia,smoker\na,1,0,1\n", encoding="utf-8")
    table = read_csv(tmp_path / "t.csv")
    assert finding_columns(table, id_column="VolumeName", lexicon="ct-rate", missing=MISSING) == {
        "hiatal_hernia": 2,
        "lung_nodule": 1,
    }


def test_else_every_column_of_only_zeros_and_ones_counts(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,Gallstones,age\na,1,40\nb,,50\n", encoding="utf-8")
    table = read_csv(tmp_path / "t.csv")
    assert finding_columns(table, id_column="id", lexicon="ct-rate", missing=MISSING) == {"gallstones": 1}


def test_a_table_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,age\na,40\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column of 0 and 1"):
        finding_columns(read_csv(tmp_path / "t.csv"), id_column="id", lexicon="ct-rate", missing=MISSING)


def test_a_cell_that_is_no_label_is_named_by_row_and_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,x\na,maybe\n", encoding="utf-8")
    table = read_csv(tmp_path / "t.csv")
    with pytest.raises(SettingsError, match="'maybe' in row 2 of column x"):
        state_of("maybe", table=table, row=0, finding="x", missing=MISSING)
    assert [state_of(c, table=table, row=0, finding="x", missing=MISSING) for c in ("1", "0,0", "-1", "", "N/A", "-")] == [
        "present",
        "absent",
        "uncertain",
        "failed",
        "failed",
        "failed",
    ]
