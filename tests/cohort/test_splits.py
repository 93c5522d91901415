from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.cohort.assign import Place, Settled, assign, tied_groups
from espalier.cohort.options import SplitOptions
from espalier.cohort.pseudonyms import pseudonym_of
from espalier.cohort.splits import make_splits, read_splits, split_by_hash
from espalier.cohort.stratify import presence
from espalier.cohort.table import write_cohort, write_duplicates
from espalier.errors import InputError, MissingError, SettingsError

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
    assert "1 of the split table's patient values fit no scan; 5 patients are not in the split table" in summary.words


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
        ("patient,split\nP000,holdout\n", {}, "row 2, column split: no name of a split"),
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


def whole(folder: Path) -> dict[str, Place]:
    return {r["patient"]: (r["split"], r["why"]) for r in read_splits(folder).to_dicts()}


def having(folder: Path, **findings: Sequence[str]) -> pl.DataFrame:
    """Labels as a matrix: which patients have each finding."""
    patients = pl.read_parquet(folder / "cohort.parquet")["patient"]
    return pl.DataFrame({name: [patient in set(own) for patient in patients] for name, own in findings.items()})


def twins(folder: Path, *pairs: tuple[str, str]) -> None:
    rows = [
        {"scan": f"{a}-0", "other_scan": f"{b}-0", "patient": a, "other_patient": b, "kind": "same_volume"} for a, b in pairs
    ]
    write_duplicates(folder, rows, key=str(rows))


CODES = st.integers(0, 11).map(lambda n: f"P{n}")
TIES = st.lists(st.tuples(CODES, CODES), max_size=8)
SPLIT_NAMES = st.sampled_from(["train", "validation", "test"])
OPTIONS = st.builds(
    SplitOptions,
    seed=st.integers(0, 50),
    test=st.sampled_from([0.0, 0.2, 0.5, 0.9]),
    validation=st.sampled_from([0.0, 0.1, 0.5]),
)
HAVING = st.none() | st.dictionaries(st.sampled_from("abc"), st.frozensets(CODES), min_size=1)


@settings(max_examples=150, deadline=None)
@given(
    patients=st.sets(CODES, min_size=1),
    tied=TIES,
    options=OPTIONS,
    found=HAVING,
    official=st.dictionaries(CODES, SPLIT_NAMES),
    kept=st.dictionaries(CODES, SPLIT_NAMES),
)
def test_official_and_kept_splits_stay_and_ties_hold_wherever_those_allow_it(
    patients: set[str],
    tied: list[tuple[str, str]],
    options: SplitOptions,
    found: dict[str, frozenset[str]] | None,
    official: dict[str, str],
    kept: dict[str, str],
) -> None:
    settled = Settled(official=official, validates="validation" in official.values(), kept=kept)
    places = assign(sorted(patients), options, settled, tied=tied, having=found)
    assert set(places) == patients
    for patient, (split, why) in places.items():
        own = official.get(patient)
        if own is not None:
            assert split == own or (own == "train" and not settled.validates and split == "validation")
        elif patient in kept:
            assert split == kept[patient]
            assert why.startswith(("kept", "hash"))
    for group in tied_groups(sorted(patients), tied):
        splits = {places[p][0] for p in group}
        given_splits = {places[p][0] for p in group if p in kept} | {official[p] for p in group if p in official}
        assert len(splits) == 1 or len(given_splits) > 1
        assert all(places[p][1].endswith(", leakage") == (len(splits) > 1) for p in group)


@settings(max_examples=80, deadline=None)
@given(patients=st.sets(CODES, min_size=1), tied=TIES, options=OPTIONS, found=HAVING, seed=st.randoms())
def test_neither_the_order_of_patients_nor_of_ties_matters(
    patients: set[str], tied: list[tuple[str, str]], options: SplitOptions, found: dict[str, frozenset[str]] | None, seed: Any
) -> None:
    first = assign(sorted(patients), options, Settled(), tied=tied, having=found)
    shuffled, turned = sorted(patients), [(b, a) for a, b in tied]
    seed.shuffle(shuffled)
    seed.shuffle(turned)
    assert assign(shuffled, options, Settled(), tied=turned, having=found) == first


@settings(max_examples=40, deadline=None)
@given(
    grown=st.lists(st.sets(CODES, min_size=1), min_size=2, max_size=4),
    tied=st.lists(TIES, min_size=4, max_size=4),
    found=HAVING,
    options=OPTIONS,
)
def test_patients_reports_and_ties_added_later_move_nobody(
    grown: list[set[str]],
    tied: list[list[tuple[str, str]]],
    found: dict[str, frozenset[str]] | None,
    options: SplitOptions,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("study")
    options = SplitOptions(
        seed=options.seed, test=options.test, validation=options.validation, stratify="all" if found else None
    )
    there: set[str] = set()
    before: dict[str, str] = {}
    for patients, pairs in zip(grown, tied, strict=False):
        there |= patients
        cohort(folder, sorted(there))
        # A report may come later, so that a finding is known of more patients each time.
        labels = having(folder, **{name: sorted(own & there) for name, own in found.items()}) if found else None
        make_splits(options, folder=folder, labels=labels, tied=pairs)
        after = split_of(folder)
        assert {scan: after[scan] for scan in before} == before
        before = after


def test_other_settings_draw_anew_and_equal_ones_keep(tmp_path: Path) -> None:
    cohort(tmp_path, PATIENTS[:60])
    labels = having(tmp_path, nodule=PATIENTS[:20])
    make_splits(SplitOptions(stratify="all"), folder=tmp_path, labels=labels)
    first = whole(tmp_path)
    assert {why for _, why in first.values()} == {"label"}
    cohort(tmp_path, PATIENTS[:70])
    make_splits(SplitOptions(stratify="all"), folder=tmp_path, labels=having(tmp_path, nodule=PATIENTS[40:60]))
    second = whole(tmp_path)
    assert {p: second[p] for p in first} == {p: (split, "kept") for p, (split, _) in first.items()}
    assert {second[p][1] for p in PATIENTS[60:70]} == {"label"}
    make_splits(SplitOptions(stratify="all", seed=9), folder=tmp_path, labels=having(tmp_path, nodule=PATIENTS[:20]))
    assert {why for _, why in whole(tmp_path).values()} == {"label"}


def test_without_ties_or_balance_a_later_table_is_the_one_that_a_first_draw_gives(tmp_path: Path) -> None:
    grown, fresh = tmp_path / "grown", tmp_path / "fresh"
    for count in (30, 90):
        make_splits(SplitOptions(), folder=cohort(grown, PATIENTS[:count]))
    make_splits(SplitOptions(), folder=cohort(fresh, PATIENTS[:90]))
    assert (grown / "splits.parquet").read_bytes() == (fresh / "splits.parquet").read_bytes()


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(0, 60), min_size=1, max_size=4), seed=st.integers(0, 9))
def test_findings_that_exclude_each_other_come_out_as_wanted_to_within_two_patients(counts: list[int], seed: int) -> None:
    options = SplitOptions(seed=seed, test=0.25, validation=0.2, stratify="all")
    starts = [sum(counts[:n]) for n in range(len(counts))]
    found = {
        f"f{n}": frozenset(PATIENTS[start : start + count]) for n, (start, count) in enumerate(zip(starts, counts, strict=True))
    }
    patients = PATIENTS[: sum(counts)]
    places = assign(patients, options, Settled(), having=found)
    for own in found.values():
        for split, share in (("train", 0.6), ("validation", 0.15), ("test", 0.25)):
            assert abs(sum(places[p][0] == split for p in own) - share * len(own)) < 1.5


def test_rare_findings_reach_every_split_where_chance_would_often_leave_one_without(tmp_path: Path) -> None:
    cohort(tmp_path)
    labels = having(tmp_path, common=PATIENTS[::2], rare=PATIENTS[3:13], other=PATIENTS[8:20])
    summary = make_splits(SplitOptions(test=0.3, validation=0.3, stratify=("rare", "common")), folder=tmp_path, labels=labels)
    rare = [split for patient, (split, _) in whole(tmp_path).items() if patient in PATIENTS[3:13]]
    assert (rare.count("train"), rare.count("validation"), rare.count("test")) == (5, 2, 3)
    assert "rarest is rare, in 5 train, 2 validation, 3 test patients" in summary.words


def test_new_patients_make_up_for_what_the_kept_ones_lack() -> None:
    kept = dict.fromkeys(PATIENTS[:20], "train")
    options = SplitOptions(test=0.5, validation=0, stratify="all")
    places = assign(PATIENTS[:40], options, Settled(kept=kept), having={"nodule": frozenset(PATIENTS[:40])})
    assert {places[p] for p in PATIENTS[20:40]} == {("test", "label")}


def test_an_official_training_patient_is_balanced_into_validation_but_never_tests(tmp_path: Path) -> None:
    cohort(tmp_path, PATIENTS[:40])
    lines = [f"{p},{'test' if n < 8 else 'train'}" for n, p in enumerate(PATIENTS[:40])]
    (tmp_path / "official.csv").write_text("\n".join(["patient,split", *lines]))
    options = SplitOptions(table="official.csv", validation=0.25, stratify="all")
    make_splits(options, folder=tmp_path, labels=having(tmp_path, rare=PATIENTS[4:16]))
    places = whole(tmp_path)
    assert {p for p, (split, _) in places.items() if split == "test"} == set(PATIENTS[:8])
    assert sum(places[p] == ("validation", "label") for p in PATIENTS[8:16]) == 2
    assert sum(places[p] == ("validation", "label") for p in PATIENTS[8:40]) == 8


def test_balancing_needs_labels_and_findings_that_they_have(tmp_path: Path) -> None:
    cohort(tmp_path, PATIENTS[:4])
    with pytest.raises(MissingError, match="espalier label"):
        make_splits(SplitOptions(stratify="all"), folder=tmp_path)
    with pytest.raises(SettingsError, match="no finding named 'nodul'; expected some of nodule"):
        make_splits(SplitOptions(stratify=("nodul",)), folder=tmp_path, labels=having(tmp_path, nodule=[]))
    with pytest.raises(ValueError, match="stratify names no finding"):
        SplitOptions(stratify=())


def test_the_label_matrix_is_what_the_labels_call_present() -> None:
    labels = pl.DataFrame(
        {
            "scan": ["a", "a", "b", "c", ""],
            "finding": ["nodule", "effusion", "nodule", "effusion", "nodule"],
            "state": ["present", "absent", "uncertain", "present", "present"],
        }
    )
    matrix = presence(labels, ["b", "a", "c", "without report"])
    assert matrix.to_dict(as_series=False) == {
        "nodule": [False, True, False, False],
        "effusion": [False, False, True, False],
    }


def test_twins_under_two_ids_share_a_split(tmp_path: Path) -> None:
    cohort(tmp_path)
    pairs = list(zip(PATIENTS[:100:2], PATIENTS[1:100:2], strict=True))
    twins(tmp_path, *pairs)
    summary = make_splits(SplitOptions(test=0.5), folder=tmp_path)
    places = whole(tmp_path)
    assert all(places[a][0] == places[b][0] for a, b in pairs)
    assert {frozenset((places[a][1], places[b][1])) for a, b in pairs} == {frozenset(("hash", "tied"))}
    assert 30 < sum(split == "test" for split, _ in places.values()) / 2 < 70
    assert "leakage" not in summary.words


def test_a_twin_found_later_follows_and_twins_already_apart_are_called_leakage(tmp_path: Path) -> None:
    cohort(tmp_path, PATIENTS[:30])
    make_splits(SplitOptions(test=0.5, validation=0), folder=tmp_path)
    places = whole(tmp_path)
    tests = [p for p, (split, _) in places.items() if split == "test"][:3]
    trains = [p for p, (split, _) in places.items() if split == "train"][:3]
    new = next(p for p in PATIENTS[30:] if split_by_hash(p, SplitOptions(test=0.5, validation=0)) == "test")
    cohort(tmp_path, [*PATIENTS[:30], new])
    twins(tmp_path, (trains[0], new), (tests[1], trains[1]), (tests[2], trains[2]), (tests[1], tests[2]))
    summary = make_splits(SplitOptions(test=0.5, validation=0), folder=tmp_path)
    after = whole(tmp_path)
    assert after[new] == ("train", "tied")
    assert {after[p] for p in tests[1:]} == {("test", "hash, leakage")}
    assert after[tests[0]] == places[tests[0]]
    assert "leakage: 2 patients of test have a near-duplicate in train" in summary.words
    again = make_splits(SplitOptions(test=0.5, validation=0), folder=tmp_path)
    assert again.words == summary.words


def test_leakage_can_be_refused_and_leaves_the_earlier_table(tmp_path: Path) -> None:
    cohort(tmp_path, PATIENTS[:4])
    (tmp_path / "official.csv").write_text("patient,split\nP000,train\nP001,test\n")
    options = SplitOptions(table="official.csv", leakage="refuse")
    make_splits(options, folder=tmp_path)
    before = (tmp_path / "splits.parquet").read_bytes()
    twins(tmp_path, ("P000", "P001"))
    with pytest.raises(InputError, match="leakage: 1 patient of test has a near-duplicate in train") as refused:
        make_splits(options, folder=tmp_path)
    assert "P000" not in str(refused.value)
    assert (tmp_path / "splits.parquet").read_bytes() == before


def test_splits_that_the_data_set_itself_gives_are_kept_where_there_is_no_table(tmp_path: Path) -> None:
    rows = [
        {"scan": f"{p}-0", "patient": p, "study_uid": p, "official_split": "test" if n < 3 else ""}
        for n, p in enumerate(PATIENTS[:9])
    ]
    write_cohort(tmp_path, rows, key="1")
    make_splits(SplitOptions(test=0), folder=tmp_path)
    assert {p for p, place in whole(tmp_path).items() if place == ("test", "official")} == set(PATIENTS[:3])
    (tmp_path / "own.csv").write_text("patient,split\nP000,train\nP003,test\n")
    make_splits(SplitOptions(test=0, validation=0, table="own.csv"), folder=tmp_path)
    assert {p for p, (split, _) in whole(tmp_path).items() if split == "test"} == {"P003"}


@pytest.mark.parametrize("id_column", ["patient", "Number"])
def test_a_table_with_the_original_ids_fits_a_cohort_of_pseudonyms(tmp_path: Path, id_column: str) -> None:
    key = b"k" * 32
    cohort(tmp_path, [pseudonym_of("patient", p, key) for p in PATIENTS[:6]])
    lines = [f" {p},test" for p in PATIENTS[:5]]
    (tmp_path / "official.csv").write_text("\n".join([f"{id_column},split", *lines]))
    make_splits(SplitOptions(table="official.csv", id_column=id_column, test=0), folder=tmp_path, key=key)
    assert sum(place == ("test", "table") for place in whole(tmp_path).values()) == 5
    with pytest.raises(InputError, match="none of its 5 values"):
        make_splits(
            SplitOptions(table="official.csv", id_column=id_column), folder=tmp_path, key=b"another key of thirty-two bytes!"
        )
