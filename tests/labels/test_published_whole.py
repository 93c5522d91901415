"""The published tables as they were downloaded, the whole way into labels.parquet."""

from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from espalier.cohort.csv_table import read_csv
from espalier.cohort.options import SplitOptions
from espalier.cohort.table import COHORT_COLUMNS, write_cohort
from espalier.errors import InputError, SettingsError
from espalier.labels.findings import CT_RATE_TITLES, FINDINGS, RATIC_COLUMNS
from espalier.labels.label import EVIDENCE, label, read_labels
from espalier.labels.options import LabelOptions
from espalier.labels.reports import group_reports, read_tables
from espalier.labels.unmatched import UNMATCHED
from espalier.study import read_study, recipe_text

from .test_published import NAMES, PUBLISHED_PLACES, rad_chestct

RECONSTRUCTIONS = (("s1", "train_1_a", "train_1_a_1"), ("s2", "train_1_a", "train_1_a_2"), ("s3", "valid_1_a", "valid_1_a_1"))
REPORT_COLUMNS = "VolumeName,ClinicalInformation_EN,Technique_EN,Findings_EN,Impressions_EN\n"


def cohort(folder: Path, *rows: tuple[str, str, str], known: bool = True) -> None:
    empty: dict[str, Any] = dict.fromkeys(COHORT_COLUMNS)
    own = [
        empty
        | {"scan": scan, "patient": study.rpartition("_")[0] or study, "stem": stem, "notes": [], "files": []}
        | ({"accession": study, "study_uid": study, "series_uid": stem} if known else {})
        for scan, study, stem in rows
    ]
    write_cohort(folder, own, key="k")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def options_of(recipe: str, folder: Path) -> LabelOptions:
    """Return the `[labels]` table of a shipped recipe."""
    (folder / "study.toml").write_text(recipe_text(recipe), encoding="utf-8")
    return read_study(folder / "study.toml").label_options()


def ct_rate_tables(folder: Path, *, other: str = "0") -> None:
    """Write both label tables of CT-RATE; every volume has a lung nodule, the second also `other` as its hernia."""
    heading = ",".join(("VolumeName", *CT_RATE_TITLES))
    cells = ["1" if title == "Lung nodule" else "0" for title in CT_RATE_TITLES]
    second = [other if title == "Hiatal hernia" else cell for title, cell in zip(CT_RATE_TITLES, cells, strict=True)]
    place = folder / "dataset/multi_abnormality_labels"
    rows = (f"train_1_a_1.nii.gz,{','.join(cells)}", f"train_1_a_2.nii.gz,{','.join(second)}")
    write(place / "train_predicted_labels.csv", "\n".join((heading, *rows)) + "\n")
    write(place / "valid_predicted_labels.csv", f"{heading}\nvalid_1_a_1.nii.gz,{','.join('0' * 18)}\n")


def present(folder: Path) -> dict[str, list[str]]:
    rows = read_labels(folder).filter((pl.col("target") == 1) & (pl.col("weight") == 1))
    return {scan: own["finding"].to_list() for (scan,), own in rows.partition_by("scan", as_dict=True).items()}


def unmatched(folder: Path) -> list[tuple[str, ...]]:
    return pl.read_csv(folder / UNMATCHED, infer_schema=False).drop("do").rows()


def test_both_label_tables_of_ct_rate_reach_every_reconstruction(tmp_path: Path) -> None:
    ct_rate_tables(tmp_path)
    cohort(tmp_path, *RECONSTRUCTIONS)
    summary = label(options_of("ct-rate", tmp_path), SplitOptions(), folder=tmp_path)
    labels = read_labels(tmp_path)
    assert present(tmp_path) == {"s1": ["lung_nodule"], "s2": ["lung_nodule"]}
    assert labels.select("report", "scan").unique().sort("scan").rows() == [
        ("train_1_a", "s1"), ("train_1_a", "s2"), ("valid_1_a", "s3")]  # fmt: skip
    assert set(labels.filter(pl.col("scan") == "s3").select("target", "weight").rows()) == {(0.0, 1.0)}
    assert labels["finding"].unique(maintain_order=True).to_list() == list(FINDINGS["ct-rate"])
    assert "read from train_predicted_labels.csv, valid_predicted_labels.csv" in summary.words
    assert "1 rows are further reconstructions of a scan" in summary.words
    assert "repeat another" not in summary.words
    assert unmatched(tmp_path) == []


def test_one_reconstruction_of_a_scan_leaves_none_of_its_rows_unmatched(tmp_path: Path) -> None:
    ct_rate_tables(tmp_path)
    cohort(tmp_path, *RECONSTRUCTIONS[1:])
    label(options_of("ct-rate", tmp_path), SplitOptions(), folder=tmp_path)
    assert present(tmp_path) == {"s2": ["lung_nodule"]}
    assert unmatched(tmp_path) == []


def test_reconstructions_whose_labels_differ_are_left_out_with_their_rows(tmp_path: Path) -> None:
    ct_rate_tables(tmp_path, other="1")
    cohort(tmp_path, *RECONSTRUCTIONS)
    label(options_of("ct-rate", tmp_path), SplitOptions(), folder=tmp_path)
    assert present(tmp_path) == {}
    assert unmatched(tmp_path)[0] == (
        "report", "train_1_a", "", "conflicting_reports", "train_predicted_labels.csv:2 train_predicted_labels.csv:3"
    )  # fmt: skip


def test_volumes_of_ct_rate_that_were_read_as_plain_files_are_found_by_their_names(tmp_path: Path) -> None:
    ct_rate_tables(tmp_path)
    cohort(tmp_path, *RECONSTRUCTIONS, known=False)
    summary = label(options_of("ct-rate", tmp_path), SplitOptions(), folder=tmp_path)
    assert present(tmp_path) == {"s1": ["lung_nodule"], "s2": ["lung_nodule"]}
    assert "matched by stem" in summary.words


def test_reports_of_ct_rate_are_findings_and_impression_together(tmp_path: Path) -> None:
    write(tmp_path / "train_reports.csv", REPORT_COLUMNS + (
        "train_1_a_1.nii.gz,Nodule?,CT.,A small pleural effusion.,Not given.\n"
        "train_1_a_2.nii.gz,Nodule?,CT.,A small pleural effusion.,Not given.\n"))  # fmt: skip
    write(tmp_path / "validation_reports.csv", REPORT_COLUMNS + (
        'valid_1_a_1.nii.gz,Not given.,Not given.,"No pleural effusion.\nNo nodule.",Hiatal hernia.\n'
        "valid_2_a_1.nii.gz,Nodule?,Not given.,Not given.,Not given.\n"))  # fmt: skip
    cohort(tmp_path, *RECONSTRUCTIONS)
    options = LabelOptions(
        reports=("train_reports.csv", "validation_reports.csv"),
        id_column="VolumeName",
        text_column=("Findings_EN", "Impressions_EN"),
    )
    summary = label(options, SplitOptions(), folder=tmp_path)
    assert present(tmp_path) == {"s1": ["pleural_effusion"], "s2": ["pleural_effusion"], "s3": ["hiatal_hernia"]}
    assert "3 reports read" in summary.words
    assert "1 of them without text" in summary.words
    lone = read_labels(tmp_path).filter(pl.col("report") == "valid_2_a")
    assert set(lone.select("scan", "state", "target", "weight").rows()) == {("", "failed", 0.0, 0.0)}
    assert unmatched(tmp_path) == [("report", "valid_2_a", "", "no_scan", "validation_reports.csv:3")]
    text = group_reports(read_tables(options, tmp_path), options).texts["valid_1_a"]
    assert text == "Findings:\nNo pleural effusion.\nNo nodule.\n\nImpressions:\nHiatal hernia."
    for row in pl.read_parquet(tmp_path / EVIDENCE).filter(pl.col("report") == "valid_1_a").iter_rows(named=True):
        assert text[row["start"] : row["end"]] == row["evidence"]
        assert row["section"] == ("impression" if row["finding"] == "hiatal_hernia" else "findings")


def test_the_three_label_tables_of_rad_chestct_reach_their_scans(tmp_path: Path) -> None:
    for part, rows in {
        "train": {"trn00001": ["nodule*left_upper"]},
        "valid": {"val00002": ["nodulegr1cm*left_upper"]},
        "test": {"tst00003": ["opacity*lung", "calcification*aorta"]},
    }.items():
        write(tmp_path / f"rad-chestct/img{part}_Abnormality_and_Location_Labels.csv", rad_chestct(rows))
    cohort(tmp_path, *((f"s{n}", one, one) for n, one in enumerate(("trn00001", "val00002", "tst00003"), start=1)))
    label(options_of("rad-chestct", tmp_path), SplitOptions(), folder=tmp_path)
    assert present(tmp_path) == {"s1": ["nodule"], "s3": ["opacities", "calcification"]}
    labels = read_labels(tmp_path)
    assert labels["finding"].unique(maintain_order=True).to_list() == list(FINDINGS["rad-chestct"])
    assert set(labels["weight"]) == {1.0}


def test_columns_in_another_order_in_the_second_table_are_found_by_their_names(tmp_path: Path) -> None:
    columns = [f"{name}*{place}" for name, place in product(NAMES, PUBLISHED_PLACES)]
    write(tmp_path / "a.csv", rad_chestct({"trn1": ["nodule*lung"]}, columns))
    write(tmp_path / "b.csv", rad_chestct({"trn2": ["hernia*lung"]}, columns[::-1]))
    options = LabelOptions(table=("a.csv", "b.csv"), id_column="NoteAcc_DEID", lexicon="rad-chestct")
    label(options, SplitOptions(), folder=tmp_path)
    rows = read_labels(tmp_path).filter(pl.col("target") == 1).select("report", "finding").rows()
    assert rows == [("trn1", "nodule"), ("trn2", "hernia")]


def test_tables_of_two_kinds_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "id,Lung nodule,Emphysema\n1,1,0\n")
    write(tmp_path / "b.csv", "id,Lung nodule,Hiatal hernia\n2,1,0\n")
    with pytest.raises(InputError, match=r"b.csv: columns that a.csv has not, or lacks: Emphysema, Hiatal hernia"):
        label(LabelOptions(table=("a.csv", "b.csv"), id_column="id"), SplitOptions(), folder=tmp_path)


def test_the_table_of_ratic_reaches_both_series_of_a_patient(tmp_path: Path) -> None:
    rows = ("10004,1,0,0,1,0,1,0,1,0,0,0,0,1,1", "10005,1,0,1,0,1,0,0,1,0,0,1,0,0,0")
    write(tmp_path / "train.csv", "\n".join([",".join(("patient_id", *RATIC_COLUMNS)), *rows]) + "\n")
    cohort(tmp_path, ("s1", "10004", "21057"), ("s2", "10004", "21058"), ("s3", "10005", "4"))
    label(options_of("ratic", tmp_path), SplitOptions(), folder=tmp_path)
    injured = ["bowel_healthy", "extravasation_injury", "kidney_low", "liver_healthy", "spleen_high", "any_injury"]
    assert present(tmp_path) == {
        "s1": injured,
        "s2": injured,
        "s3": [f"{name}_healthy" for name in ("bowel", "extravasation", "kidney", "liver", "spleen")],
    }
    assert set(read_labels(tmp_path)["weight"]) == {1.0}


def test_a_finding_without_a_column_is_told(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "id," + ",".join(CT_RATE_TITLES[:-2]) + "\n1" + ",1" * 16 + "\n")
    summary = label(LabelOptions(table="t.csv", id_column="id"), SplitOptions(), folder=tmp_path)
    assert "no column for bronchiectasis, interlobular_septal_thickening" in summary.words


def test_each_finding_trains_as_the_study_says(tmp_path: Path) -> None:
    write(tmp_path / "t.csv", "id,Lung nodule,Emphysema,Hiatal hernia\n1,-1,-1,-1\n2,,0,1\n")
    study = '[labels]\ntable = "t.csv"\nid_column = "id"\n[labels.uncertain_of]\n"Lung nodule" = "soft"\nemphysema = "ignore"\n'
    write(tmp_path / "study.toml", study)
    label(read_study(tmp_path).label_options(), SplitOptions(), folder=tmp_path)
    assert read_labels(tmp_path).select("report", "finding", "target", "weight").sort("report", "finding").rows() == [
        ("1", "emphysema", 0.0, 0.0),
        ("1", "hiatal_hernia", 1.0, 1.0),
        ("1", "lung_nodule", 0.75, 1.0),
        ("2", "emphysema", 0.0, 1.0),
        ("2", "hiatal_hernia", 1.0, 1.0),
        ("2", "lung_nodule", 0.0, 0.0),
    ]


def test_trauma_columns_of_a_structure_follow_its_own_setting(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", "accession,report\nA1,Possible liver laceration. Possible splenic laceration.\n")
    options = LabelOptions(reports="r.csv", lexicon="ratic", uncertain_of={"liver": "ignore", "spleen": "soft"})
    label(options, SplitOptions(), folder=tmp_path)
    own = {f: (target, weight) for f, target, weight in read_labels(tmp_path).select("finding", "target", "weight").rows()}
    assert [own[f"liver_{grade}"][1] for grade in ("healthy", "low", "high")] == [0.0] * 3
    assert [own[f"spleen_{grade}"] for grade in ("healthy", "low", "high")] == [(0.25, 1.0), (0.75, 1.0), (0.0, 1.0)]


def test_only_the_findings_that_the_study_names_are_labels(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", "accession,report\nA1,Hiatal hernia.\n")
    label(LabelOptions(reports="r.csv", findings=("Hiatal hernia",)), SplitOptions(), folder=tmp_path)
    assert read_labels(tmp_path).select("finding", "state").rows() == [("hiatal_hernia", "present")]
    with pytest.raises(SettingsError, match="Did you mean hiatal_hernia"):
        label(LabelOptions(reports="r.csv", findings=("Hiatal herna",)), SplitOptions(), folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "setting"), [("accession,report\nA1,\nA2,-\n", "reports"), ("accession,x,y\n1,,\n2,0,\n", "")]
)
def test_a_table_in_which_no_row_says_anything_is_refused(tmp_path: Path, text: str, setting: str) -> None:
    write(tmp_path / "t.csv", text)
    if setting:
        with pytest.raises(InputError, match="no row has a text"):
            label(LabelOptions(reports="t.csv"), SplitOptions(), folder=tmp_path)
    else:
        with pytest.raises(InputError, match="no row has a label"):
            group_reports(read_csv(tmp_path / "t.csv"), LabelOptions(table="t.csv", findings=("y",)))
