import stat
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from espalier.cohort.options import SplitOptions
from espalier.cohort.pseudonyms import pseudonym_of, read_key
from espalier.cohort.splits import read_splits
from espalier.cohort.table import COHORT_COLUMNS, write_cohort
from espalier.errors import InputError, SettingsError
from espalier.labels.label import EVIDENCE, LABELS, label, read_labels
from espalier.labels.options import LabelOptions
from espalier.labels.reading import read_all
from espalier.labels.unmatched import UNMATCHED

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


def unmatched(folder: Path) -> list[tuple[str, ...]]:
    return pl.read_csv(folder / UNMATCHED, infer_schema=False).drop("do").rows()


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
    assert unmatched(tmp_path) == [
        ("report", "A3", "", "no_scan", "4"),
        ("report", "A9", "", "no_scan", "5"),
        ("scan", "", "s4", "no_report", ""),
    ]
    assert stat.S_IMODE((tmp_path / UNMATCHED).stat().st_mode) == 0o600
    assert "2 reports have no scan, 1 scans no report (unmatched.csv)" in summary.words
    assert "read from reports.csv (read as UTF-8)" in summary.words
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


def test_rows_that_repeat_count_once_and_rows_that_differ_are_left_out(tmp_path: Path) -> None:
    cohort(tmp_path, [("s1", "P1", "A1"), ("s2", "P2", "A2"), ("s3", "P3", "A3")])
    reports = "accession,report\nA1,Clear  lungs.\nA1,Clear lungs.\nA2,Hernia.\nA2,No hernia.\nA3,-\nA3,Clear.\n,Clear.\n"
    summary = label(study(tmp_path, reports=reports), SplitOptions(), folder=tmp_path)
    assert set(read_labels(tmp_path).select("report", "scan").rows()) == {("A1", "s1"), ("A3", "s3")}
    assert unmatched(tmp_path) == [
        ("report", "A2", "", "conflicting_reports", "4 5"),
        ("report", "", "", "no_id", "8"),
        ("scan", "", "s2", "conflicting_reports", ""),
    ]
    assert pl.read_csv(tmp_path / "set_aside.csv").select("scan", "reason").rows() == [("s2", "conflicting_reports")]
    for words in ("1 rows have no id", "2 rows repeat another", "1 ids with reports that differ are left out (unmatched.csv)"):
        assert words in summary.words
    assert target(read_labels(tmp_path), "A3", "lung_nodule")[0] != "failed"


def test_a_word_for_nothing_is_no_report_but_a_patient_may_be_called_na(tmp_path: Path) -> None:
    cohort(tmp_path, [("s1", "NA", "A1"), ("s2", "yok", "A2")])
    (tmp_path / "r.csv").write_text("patient;report\nNA;N/A\nyok;Keine Rundherde.\n", encoding="utf-8")
    label(LabelOptions(reports="r.csv", id_column="patient"), SplitOptions(), folder=tmp_path)
    labels = read_labels(tmp_path)
    assert set(labels.select("report", "scan").rows()) == {("NA", "s1"), ("yok", "s2")}
    assert target(labels, "NA", "lung_nodule") == ("failed", 0.0, 0.0)
    assert target(labels, "yok", "lung_nodule")[0] != "failed"


def test_reports_reach_their_scans_through_a_link_and_a_changed_link_is_followed(tmp_path: Path) -> None:
    cohort(tmp_path, [("s1", "P1", "A1"), ("s2", "P2", "A2")])
    (tmp_path / "r.csv").write_text("ris;report\n1;Clear.\n2;Hiatal hernia.\n", encoding="utf-16")
    (tmp_path / "link.csv").write_text("ris,study_uid\n1,1.A2\n", encoding="utf-8")
    options = LabelOptions(reports="r.csv", id_column="ris", link="link.csv")
    summary = label(options, SplitOptions(), folder=tmp_path)
    assert "matched by link.csv" in summary.words
    assert unmatched(tmp_path) == [("report", "2", "", "not_in_link", "3"), ("scan", "", "s1", "no_report", "")]
    (tmp_path / "link.csv").write_text("ris,study_uid\n1,1.A2\n2,1.A1\n", encoding="utf-8")
    label(options, SplitOptions(), folder=tmp_path)
    assert unmatched(tmp_path) == []
    assert target(read_labels(tmp_path).filter(pl.col("scan") == "s1"), "2", "hiatal_hernia")[0] == "present"


def test_pseudonyms_stand_for_the_ids_of_reports_as_for_those_of_scans(tmp_path: Path) -> None:
    secret = read_key(tmp_path / "key")
    a1 = pseudonym_of("accession", "A1", secret)
    cohort(tmp_path, [("s1", "P1", a1)])
    label(study(tmp_path), SplitOptions(), folder=tmp_path, pseudonyms="key")
    labels = read_labels(tmp_path)
    assert labels.filter(pl.col("scan") == "s1")["report"].unique().to_list() == [a1]
    written = [*labels["report"], *pl.read_parquet(tmp_path / EVIDENCE)["report"], *(row[1] for row in unmatched(tmp_path))]
    assert len(set(written)) == 4
    assert not {"A1", "A2", "A3", "A9"} & set(written)
    (tmp_path / "link.csv").write_text("no,accession\nA2,A1\n", encoding="utf-8")
    label(LabelOptions(reports="reports.csv", link="link.csv"), SplitOptions(), folder=tmp_path, pseudonyms="key")
    assert read_labels(tmp_path).filter(pl.col("scan") == "s1").height == 18


def test_the_list_of_mismatches_is_made_again_where_it_is_gone(tmp_path: Path) -> None:
    cohort(tmp_path, [("s1", "P1", "A1"), ("s4", "P3", "A7")])
    options = study(tmp_path)
    label(options, SplitOptions(), folder=tmp_path)
    whole = (tmp_path / UNMATCHED).read_bytes()
    (tmp_path / UNMATCHED).unlink()
    label(options, SplitOptions(), folder=tmp_path)
    assert (tmp_path / UNMATCHED).read_bytes() == whole


@pytest.mark.parametrize("sign", ["=", "+", "-", "@"])
def test_an_id_that_a_spreadsheet_would_run_is_quoted_in_what_is_written(tmp_path: Path, sign: str) -> None:
    cohort(tmp_path, [("s1", "P1", "A1")])
    reports = f'accession,report\nA1,Clear.\n"\t\u200f{sign}cmd|calc!A1",Clear.\n'
    label(study(tmp_path, reports=reports), SplitOptions(), folder=tmp_path)
    assert unmatched(tmp_path)[0][:2] == ("report", f"'{sign}cmd|calc!A1")
    assert f"{sign}cmd|calc!A1" in set(read_labels(tmp_path)["report"])


def test_ids_with_paths_and_nul_bytes_make_no_file(tmp_path: Path) -> None:
    cohort(tmp_path, [("s1", "P1", "A1")])
    label(
        study(tmp_path, reports="accession,report\nA\0001,Clear.\n../../x,Clear.\n/etc/y,\n"), SplitOptions(), folder=tmp_path
    )
    assert [row[1] for row in unmatched(tmp_path)] == ["../../x", "/etc/y"]
    names = {path.name for path in tmp_path.rglob("*")}
    assert {"x", "y"} & names == set()
    assert not (tmp_path.parents[1] / "x").exists()


def test_a_text_that_a_line_break_cut_is_refused(tmp_path: Path) -> None:
    options = study(tmp_path, reports="accession,report,date\nA1,No nodule\nand no mass,2020\nA2,Clear.,2020\n")
    with pytest.raises(InputError, match="row 3 ends early, and words stand where its id should"):
        label(options, SplitOptions(), folder=tmp_path)


def test_a_heading_alone_is_no_table_of_reports(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a heading and no rows"):
        label(study(tmp_path, reports="accession,report\n"), SplitOptions(), folder=tmp_path)


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


def test_two_rows_of_a_table_that_disagree_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("accession;Emphysema\n7;1,0\n7;0\n8;1\n8;1.0\n8;yok\n", encoding="utf-8")
    label(LabelOptions(table="t.csv"), SplitOptions(), folder=tmp_path)
    assert read_labels(tmp_path).select("report", "state").rows() == [("8", "present")]
    assert unmatched(tmp_path) == [("report", "7", "", "conflicting_reports", "2 3")]


def test_without_reports_or_table_the_setting_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="neither reports nor table"):
        label(LabelOptions(), SplitOptions(), folder=tmp_path)


def test_two_workers_read_as_one_does() -> None:
    texts = [f"Nodule of {size} mm. No effusion." for size in range(1001)]
    assert read_all(texts, lexicon="ct-rate", workers=2) == read_all(texts, lexicon="ct-rate")
