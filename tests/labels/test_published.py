from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import pytest

from espalier.cohort.cells import MISSING
from espalier.cohort.csv_table import Table, read_csv
from espalier.errors import InputError, SettingsError
from espalier.labels.findings import FINDINGS, RATIC_COLUMNS
from espalier.labels.options import LabelOptions
from espalier.labels.published import PLACES, finding_columns, state_of, states_of

PUBLISHED_PLACES = (
    "abdomen adrenal_gland airways anterior aorta aortic_valve axilla bone breast centrilobular chest_wall diaphragm esophagus "
    "gallbladder heart hilum inferior interstitial intestine ivc kidney lateral left left_lower left_lung left_mid left_upper "
    "liver lung medial mediastinum mitral_valve other_location pancreas posterior pulmonary_artery pulmonary_valve "
    "pulmonary_vein rib right right_lower right_lung right_mid right_upper spine spleen stomach subpleural superior svc thyroid "
    "tricuspid_valve"
).split()
NAMES = ["opacity" if finding == "opacities" else finding for finding in FINDINGS["rad-chestct"]] + ["nodulegr1cm"]
RAD = LabelOptions(table="t.csv", id_column="NoteAcc_DEID", lexicon="rad-chestct")
RATIC = LabelOptions(table="t.csv", id_column="patient_id", lexicon="ratic")


def table(folder: Path, text: str) -> Table:
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return read_csv(folder / "t.csv")


def rad_chestct(rows: Mapping[str, Sequence[str]], columns: Sequence[str] = ()) -> str:
    """Return a label table of RAD-ChestCT; a row names the columns that are 1."""
    columns = columns or [f"{name}*{place}" for name, place in product(NAMES, PUBLISHED_PLACES)]
    lines = [[one, *("1" if column in there else "0" for column in columns)] for one, there in rows.items()]
    return "\n".join(",".join(cells) for cells in (["NoteAcc_DEID", *columns], *lines)) + "\n"


def ratic(*rows: str, columns: Sequence[str] = RATIC_COLUMNS) -> str:
    return "\n".join([",".join(["patient_id", *columns]), *rows]) + "\n"


def rad_states(folder: Path, text: str, options: LabelOptions = RAD) -> list[dict[str, str]]:
    own = table(folder, text)
    return states_of(own, finding_columns(own, options), MISSING)


def present(states: Mapping[str, str]) -> list[str]:
    return [finding for finding, state in states.items() if state == "present"]


def test_columns_of_the_finding_set_count_where_there_are_any(tmp_path: Path) -> None:
    own = table(tmp_path, "VolumeName,Lung nodule,Hiatal hernia,smoker\na,1,0,1\n")
    assert finding_columns(own, LabelOptions(id_column="VolumeName")) == {"hiatal_hernia": (2,), "lung_nodule": (1,)}


def test_else_every_column_of_only_zeros_and_ones_counts(tmp_path: Path) -> None:
    own = table(tmp_path, "id,Gallstones,age\na,1,40\nb,,50\n")
    assert finding_columns(own, LabelOptions(id_column="id")) == {"gallstones": (1,)}


def test_the_findings_that_count_can_be_named(tmp_path: Path) -> None:
    own = table(tmp_path, "id,Lung nodule,Gallstones\na,1,0\n")
    options = LabelOptions(id_column="id", findings=("gallstones", "Lung nodule"))
    assert finding_columns(own, options) == {"gallstones": (2,), "lung_nodule": (1,)}
    assert list(finding_columns(own, LabelOptions(id_column="id", findings="all"))) == ["lung_nodule", "gallstones"]
    with pytest.raises(SettingsError, match=r"\[labels\] findings: no finding 'gallstone'.*Did you mean gallstones"):
        finding_columns(own, LabelOptions(id_column="id", findings=("gallstone",)))


def test_two_columns_of_one_finding_are_refused(tmp_path: Path) -> None:
    own = table(tmp_path, "id,Lung nodule,lung_nodule\na,1,0\n")
    with pytest.raises(InputError, match="columns 2 and 3 have one name"):
        finding_columns(own, LabelOptions(id_column="id"))


def test_a_table_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no column of 0 and 1"):
        finding_columns(table(tmp_path, "id,age\na,40\n"), LabelOptions(id_column="id"))


def test_a_cell_that_is_no_label_is_named_by_row_and_column_and_its_words_are_not_said(tmp_path: Path) -> None:
    own = table(tmp_path, "id,x\na,Mr Miller\n")
    with pytest.raises(SettingsError, match="a text in row 2 of column x") as error:
        states_of(own, {"x": (1,)}, MISSING)
    assert "Miller" not in str(error.value)
    with pytest.raises(SettingsError, match="2,5 in row 2 of column x"):
        state_of("2,5", table=own, row=0, column=1, missing=MISSING)


def test_a_cell_is_one_zero_uncertain_or_nothing(tmp_path: Path) -> None:
    own = table(tmp_path, "id,x\na,1\n")
    states = [state_of(cell, table=own, row=0, column=1, missing=MISSING) for cell in ("1", "0,0", "-1", "", "N/A", "-")]
    assert states == ["present", "absent", "uncertain", "failed", "failed", "failed"]


def test_a_finding_of_rad_chestct_is_present_where_it_is_at_any_place(tmp_path: Path) -> None:
    assert len(set(PUBLISHED_PLACES)) == PLACES
    rows = {"trn1": ["nodule*thyroid", "hernia*abdomen"], "val2": ["nodulegr1cm*left_upper"], "tst3": ["opacity*lung"]}
    states = rad_states(tmp_path, rad_chestct(rows))
    assert [list(own) for own in states] == [list(FINDINGS["rad-chestct"])] * 3
    assert [present(own) for own in states] == [["hernia", "nodule"], [], ["opacities"]]
    assert {state for own in states for state in own.values()} == {"present", "absent"}


def test_all_findings_of_rad_chestct_are_those_of_its_columns(tmp_path: Path) -> None:
    options = LabelOptions(table="t.csv", id_column="NoteAcc_DEID", lexicon="rad-chestct", findings="all")
    (states,) = rad_states(tmp_path, rad_chestct({"val2": ["nodulegr1cm*left_upper"]}), options)
    assert (len(states), present(states)) == (17, ["nodulegr1cm"])


def test_an_empty_cell_beside_zeros_leaves_a_finding_open_and_beside_a_one_does_not(tmp_path: Path) -> None:
    lines = rad_chestct({"a": [], "b": ["hernia*svc"]}).splitlines()
    blank = lines[0].split(",").index("hernia*abdomen")
    rows = [line.split(",") for line in lines]
    for row in rows[1:]:
        row[blank] = ""
    states = rad_states(tmp_path, "\n".join(",".join(row) for row in rows))
    assert [own["hernia"] for own in states] == ["failed", "present"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([f"nodule*{place}" for place in PUBLISHED_PLACES[1:]], "columns of 51 places"),
        (
            [f"{n}*{p}" for n, p in product(("nodule", "hernia"), PUBLISHED_PLACES)][:-1],
            "1 findings without a column for each place",
        ),
        ([*(f"nodule*{place}" for place in PUBLISHED_PLACES), "age"], "column 54 has no name such as"),
        ([*(f"nodule*{place}" for place in PUBLISHED_PLACES), "mass*left*upper"], "column 54 has no name such as"),
    ],
    ids=["a place less", "a column less", "another column", "two stars"],
)
def test_columns_of_places_in_another_form_are_refused(tmp_path: Path, columns: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        rad_states(tmp_path, rad_chestct({"a": []}, columns))


def test_ratic_gives_its_fourteen_columns(tmp_path: Path) -> None:
    (states,) = rad_states(tmp_path, ratic("10004,1,0,0,1,0,1,0,1,0,0,0,0,1,1"), RATIC)
    assert tuple(states) == RATIC_COLUMNS
    assert present(states) == [
        "bowel_healthy",
        "extravasation_injury",
        "kidney_low",
        "liver_healthy",
        "spleen_high",
        "any_injury",
    ]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1,1,1,1,0,1,0,0,1,0,0,1,0,0,1", "row 2: 2 of bowel_healthy, bowel_injury are 1"),
        ("1,1,0,1,0,1,0,0,0,0,0,1,0,0,0", "row 2: 0 of liver_healthy, liver_low, liver_high are 1"),
        ("1,1,0,1,0,1,0,0,1,0,0,1,0,0,1", "row 2: any_injury is 1, its structures say 0"),
        ("1,0,1,1,0,1,0,0,1,0,0,1,0,0,0", "row 2: any_injury is 0, its structures say 1"),
    ],
)
def test_grades_of_ratic_that_contradict_one_another_are_refused(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        rad_states(tmp_path, ratic(row), RATIC)


def test_any_injury_follows_from_the_structures_where_no_column_says_it(tmp_path: Path) -> None:
    rows = (
        "1,1,0,1,0,1,0,0,1,0,0,0,1,0",
        "2,1,0,1,0,1,0,0,1,0,0,1,0,0",
        "3,1,0,1,0,1,0,0,,,,1,0,0",
        "4,1,0,1,0,1,0,0,,,,0,1,0",
    )
    states = rad_states(tmp_path, ratic(*rows, columns=RATIC_COLUMNS[:-1]), RATIC)
    assert [own["any_injury"] for own in states] == ["present", "absent", "failed", "present"]


def test_a_structure_that_was_not_looked_at_is_left_open(tmp_path: Path) -> None:
    (states,) = rad_states(tmp_path, ratic("3,1,0,1,0,1,0,0,,,,1,0,0,0"), RATIC)
    assert [states[f"liver_{grade}"] for grade in ("healthy", "low", "high")] == ["failed"] * 3
    assert states["any_injury"] == "absent"
