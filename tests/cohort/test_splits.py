from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.cohort.options import SplitOptions
from espalier.cohort.splits import make_splits, read_splits, split_by_hash
from espalier.cohort.table import write_cohort
from espalier.errors import InputError, MissingError

PATIENTS = [f"P{n:03d}" for n in range(200)]


def cohort(folder: Path, patients: Sequence[str] = PATIENTS, *, scans_each: int = 2) -> Path:
    rows = [
        {
            "scan": f"{patient}-{n}",
            "patient": patient,
            "study_uid": f"study {patient} {n}",
            "accession": f"A{patient}{n}",
            "stem": f"volume_{patient}_{n}",
        }
        for patient in patients
        for n in range(scans_each)
    ]
    write_cohort(folder, rows, key=str(len(rows)))
    return folder


def split_of(folder: Path) -> dict[str, str]:
    return dict(read_splits(folder).select("scan", "split").iter_rows())


def test_shares_come_out_about_as_wanted_and_patients_stay_whole(tmp_path: Path) -> None:
    summary = make_splits(SplitOptions(test=0.2, validation=0.1), folder=cohort(tmp_path))
    splits = read_splits(tmp_path)
    assert splits.columns == ["scan", "patient", "split", "why"]
    assert splits.height == 400
    assert splits.group_by("patient").n_unique()["split"].max() == 1
    assert 50 < sum(s == "test" for s in splits["split"]) < 110
    assert 15 < sum(s == "validation" for s in splits["split"]) < 60
    assert set(splits["why"]) == {"hash"}
    assert (tmp_path / "splits.parquet").stat().st_mode & 0o077 == 0
    assert summary.done == 400


def test_scans_added_later_move_nobody(tmp_path: Path) -> None:
    make_splits(SplitOptions(), folder=cohort(tmp_path, PATIENTS[:80]))
    before = split_of(tmp_path)
    make_splits(SplitOptions(), folder=cohort(tmp_path, PATIENTS))
    after = split_of(tmp_path)
    assert len(after) > len(before)
    assert {scan: after[scan] for scan in before} == before


def test_another_seed_draws_others_and_no_share_draws_nobody(tmp_path: Path) -> None:
    cohort(tmp_path)
    drawn = []
    for options in (SplitOptions(seed=0), SplitOptions(seed=1), SplitOptions(test=0, validation=0)):
        make_splits(options, folder=tmp_path)
        drawn.append(split_of(tmp_path))
    assert drawn[0] != drawn[1]
    assert set(drawn[2].values()) == {"train"}


@settings(max_examples=60, deadline=None)
@given(
    patient=st.text(min_size=1, max_size=12),
    seed=st.integers(0, 2**31),
    test=st.floats(0, 0.9),
    more=st.floats(0, 0.09),
    validation=st.floats(0, 0.9),
)
def test_a_larger_share_only_adds_to_the_test_patients(
    patient: str, seed: int, test: float, more: float, validation: float
) -> None:
    few = split_by_hash(patient, SplitOptions(seed=seed, test=test, validation=validation))
    many = split_by_hash(patient, SplitOptions(seed=seed, test=test + more, validation=validation))
    assert many == few or many == "test"
    assert split_by_hash(patient, SplitOptions(seed=seed, test=test, validation=validation)) == few


def test_the_official_table_is_kept_and_the_rest_goes_by_hash(tmp_path: Path) -> None:
    cohort(tmp_path, PATIENTS[:20])
    lines = [f"{p},{'test' if n < 5 else 'Training'}" for n, p in enumerate(PATIENTS[:15])]
    (tmp_path / "official.csv").write_text("\n".join(["patient,split", *lines, "P999,train"]))
    summary = make_splits(SplitOptions(table="official.csv", validation=0.3), folder=tmp_path)
    rows = {r["patient"]: r for r in read_splits(tmp_path).to_dicts()}
    assert all(rows[p]["split"] == "test" and rows[p]["why"] == "table" for p in PATIENTS[:5])
    drawn = [rows[p] for p in PATIENTS[5:15]]
    assert {(r["split"], r["why"]) for r in drawn} == {("train", "table"), ("validation", "hash")}
    assert all(rows[p]["why"] == "hash" for p in PATIENTS[15:20])
    assert "1 of the split table's patient values fit no scan; 5 patients are not in it" in summary.words


def test_a_table_with_validation_patients_draws_no_others(tmp_path: Path) -> None:
    cohort(tmp_path, PATIENTS[:20])
    lines = [f"{p},{'val' if n < 5 else 'train'}" for n, p in enumerate(PATIENTS[:20])]
    (tmp_path / "official.csv").write_text("\n".join(["patient,split", *lines]))
    make_splits(SplitOptions(table="official.csv", validation=0.5), folder=tmp_path)
    splits = read_splits(tmp_path)
    assert {p for p, s in splits.select("patient", "split").iter_rows() if s == "validation"} == set(PATIENTS[:5])
    assert set(splits["why"]) == {"table"}


@pytest.mark.parametrize(
    ("column", "value"),
    [("accession", "A{}0"), ("AccessionNo", "A{}0"), ("VolumeName", "volume_{}_0.nii.gz"), ("study", "study {} 0")],
)
def test_a_table_may_name_studies_or_volumes_instead_of_patients(tmp_path: Path, column: str, value: str) -> None:
    cohort(tmp_path, PATIENTS[:4])
    lines = [f"{value.format(p)},test" for p in PATIENTS[:4]]
    (tmp_path / "official.csv").write_text("\n".join([f"{column},part", *lines]))
    make_splits(SplitOptions(table="official.csv", id_column=column, split_column="part"), folder=tmp_path)
    assert set(split_of(tmp_path).values()) == {"test"}
    assert len(split_of(tmp_path)) == 8


@pytest.mark.parametrize(
    ("table", "options", "words"),
    [
        ("patient,splits\nP000,train\n", {}, "Did you mean splits"),
        ("number,split\nP000,train\n", {}, "no column that identifies"),
        ("patient,split\nP000,holdout\n", {}, "row 2 names the split 'holdout'"),
        ("patient,split\nX1,train\nX2,test\n", {}, "none of its 2 values"),
        ("accession,split\nAP0000,train\nAP0001,test\n", {}, "1 patients stand in two splits"),
        ("patients,split\nP000,train\n", {"id_column": "patient"}, "Did you mean patients"),
    ],
)
def test_a_table_that_cannot_be_followed_is_refused(tmp_path: Path, table: str, options: dict[str, str], words: str) -> None:
    (cohort(tmp_path, PATIENTS[:4]) / "official.csv").write_text(table)
    with pytest.raises(InputError, match=words):
        make_splits(SplitOptions(table="official.csv", **options), folder=tmp_path)
    assert not (tmp_path / "splits.parquet").exists()


def test_nothing_is_written_again_when_all_is_up_to_date(tmp_path: Path) -> None:
    make_splits(SplitOptions(), folder=cohort(tmp_path))
    before = (tmp_path / "splits.parquet").stat().st_mtime_ns
    make_splits(SplitOptions(), folder=tmp_path)
    assert (tmp_path / "splits.parquet").stat().st_mtime_ns == before


def test_labels_are_counted_by_split(tmp_path: Path) -> None:
    cohort(tmp_path, PATIENTS[:2], scans_each=1)
    summary = make_splits(SplitOptions(test=0, validation=0), folder=tmp_path, labels=[1, 0])
    assert "2 train (1 with a finding)" in summary.words


def test_without_a_cohort_the_earlier_verb_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="espalier ingest"):
        make_splits(SplitOptions(), folder=tmp_path)
