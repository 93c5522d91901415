import stat
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from espalier.cohort.options import SplitOptions
from espalier.cohort.splits import read_splits
from espalier.cohort.table import COHORT_COLUMNS, write_cohort
from espalier.errors import InputError, SettingsError
from espalier.labels.label import EVIDENCE, LABELS, MISMATCHES, label, read_labels
from espalier.labels.options import LabelOptions
from espalier.labels.reading import read_all

REPORTS = "accession,report\nA1,Small left pleural effusion. No nodules.\nA2,Normal chest.\nA3,\nA9,Hiatal hernia.\n"


def study(folder: Path, *, reports: str = REPORTS) -> LabelOptions:
    (folder / "reports.csv").write_text(reports, encoding="utf-8")
    return LabelOptions(reports="reports.csv")


def cohort(folder: Path, rows: list[tuple[str, str, str]]) -> None:
    empty: dict[str, Any] = dict.fromkeys(COHORT_COLUMNS)
    own = [
        empty | {"scan": s, "patient": p, "accession": a, "study_uid": f"1.{a}", "notes": [], "files": []} for s, p, a in rows
    ]
    write_cohort(folder, own, key="k")


def target(labels: pl.DataFrame, report: str, finding: str) -> tuple[str, float, float]:
    row = labels.row(by_predicate=(pl.col("report") == report) & (pl.col("finding") == finding), named=True)
    return row["state"], row["target"], row["weight"]


def test_reports_are_labelled_without_any_scan(tmp_path: Path) -> None:
    summary = label(study(tmp_path), SplitOptions(), folder=tmp_path)
    labels = read_labels(tmp_path)
    assert summary.done == 4
    assert labels.columns == ["report", "scan", "finding", "state", "target", "weight"]
    assert set(labels["scan"]) == {""}
    assert labels.height == 4 * 18
    assert target(labels, "A1", "pleural_effusion") == ("present", 1.0, 1.0)
    assert target(labels, "A1", "lung_nodule") == ("absent", 0.0, 1.0)
    assert target(labels, "A3", "lung_nodule") == ("failed", 0.0, 0.0)
    assert not (tmp_path / "splits.parquet").exists()


def test_evidence_is_the_sentence_at_its_place(tmp_path: Path) -> None:
    label(study(tmp_path), SplitOptions(), folder=tmp_path)
    row = pl.read_parquet(tmp_path / EVIDENCE).row(0, named=True)
    assert (row["report"], row["finding"], row["evidence"]) == ("A1", "pleural_effusion", "Small left pleural effusion.")
    text = "Small left pleural effusion. No nodules."
    assert text[row["start"] : row["end"]] == row["evidence"]
    assert text[row["match_start"] : row["match_end"]] == "pleural effusion"


def test_every_scan_of_a_study_gets_its_labels_and_both_sides_of_each_mismatch_are_listed(tmp_path: Path) -> None:
    cohort(tmp_path, [("s1", "P1", "A1"), ("s2", "P1", "A1"), ("s3", "P2", "A2"), ("s4", "P3", "A7")])
    summary = label(study(tmp_path), SplitOptions(), folder=tmp_path)
    labels = read_labels(tmp_path)
    assert set(labels.filter(pl.col("report") == "A1")["scan"]) == {"s1", "s2"}
    assert set(labels.filter(pl.col("report") == "A9")["scan"]) == {""}
    listed = pl.read_csv(tmp_path / MISMATCHES, infer_schema=False)
    assert listed.rows() == [
        ("report without scan", "3", "A3", ""),
        ("report without scan", "4", "A9", ""),
        ("scan without report", "", "", "s4"),
    ]
    assert pl.read_csv(tmp_path / "set_aside.csv").select("scan", "reason").rows() == [("s4", "no_report")]
    assert summary.set_aside == 1
    assert set(read_splits(tmp_path)["scan"]) == {"s1", "s2", "s3", "s4"}


def test_labels_are_for_the_owner_only(tmp_path: Path) -> None:
    label(study(tmp_path), SplitOptions(), folder=tmp_path)
    assert stat.S_IMODE((tmp_path / LABELS).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / EVIDENCE).stat().st_mode) == 0o600


def test_nothing_is_done_twice_and_a_changed_option_is_followed(tmp_path: Path) -> None:
    options = study(tmp_path)
    label(options, SplitOptions(), folder=tmp_path)
    first = (tmp_path / LABELS).stat().st_mtime_ns
    label(options, SplitOptions(), folder=tmp_path)
    assert (tmp_path / LABELS).stat().st_mtime_ns == first
    label(LabelOptions(reports="reports.csv", not_mentioned="ignore"), SplitOptions(), folder=tmp_path)
    assert target(read_labels(tmp_path), "A2", "lung_nodule") == ("not_mentioned", 0.0, 0.0)


def test_a_killed_run_ends_with_the_same_bytes(tmp_path: Path) -> None:
    options = study(tmp_path)
    label(options, SplitOptions(), folder=tmp_path)
    whole = {name: (tmp_path / name).read_bytes() for name in (LABELS, EVIDENCE)}
    (tmp_path / LABELS).unlink()
    label(options, SplitOptions(), folder=tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in whole} == whole


def test_two_rows_of_one_id_are_one_report_with_an_addendum(tmp_path: Path) -> None:
    label(
        study(tmp_path, reports="accession,report\nA1,Clear.\nA1,Addendum: hiatal hernia.\n"), SplitOptions(), folder=tmp_path
    )
    labels = read_labels(tmp_path)
    assert labels.height == 18
    assert target(labels, "A1", "hiatal_hernia")[0] == "present"


def test_trauma_reports_fill_the_fourteen_columns(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("accession,report\nA1,Grade IV splenic laceration.\n", encoding="utf-8")
    label(LabelOptions(reports="r.csv", lexicon="ratic"), SplitOptions(), folder=tmp_path)
    ones = read_labels(tmp_path).filter(pl.col("target") == 1)["finding"].to_list()
    assert ones == ["bowel_healthy", "extravasation_healthy", "kidney_healthy", "liver_healthy", "spleen_high", "any_injury"]


def test_a_table_of_labels_stands_in_for_reports(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("patient_id,Lung nodule,Emphysema\n1,1,0\n2,0,\n", encoding="utf-8")
    label(LabelOptions(table="t.csv", id_column="patient_id"), SplitOptions(), folder=tmp_path)
    rows = read_labels(tmp_path).select("report", "finding", "state", "target", "weight").rows()
    assert rows == [
        ("1", "emphysema", "absent", 0.0, 1.0),
        ("1", "lung_nodule", "present", 1.0, 1.0),
        ("2", "emphysema", "failed", 0.0, 0.0),
        ("2", "lung_nodule", "absent", 0.0, 1.0),
    ]


def test_two_rows_that_disagree_in_a_table_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("accession,Emphysema\n7,1\n7,0\n", encoding="utf-8")
    with pytest.raises(InputError, match="rows 1 and 2 have one id and different labels"):
        label(LabelOptions(table="t.csv"), SplitOptions(), folder=tmp_path)


def test_without_reports_or_table_the_setting_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="neither reports nor table"):
        label(LabelOptions(), SplitOptions(), folder=tmp_path)


def test_two_workers_read_as_one_does() -> None:
    texts = [f"Nodule of {size} mm. No effusion." for size in range(1001)]
    assert read_all(texts, lexicon="ct-rate", workers=2) == read_all(texts, lexicon="ct-rate")
