from pathlib import Path

import pytest

from espalier.errors import SettingsError
from espalier.labels.findings import RATIC_COLUMNS
from espalier.labels.options import LabelOptions
from espalier.labels.reading import make_reader
from espalier.labels.trauma import TraumaReader, trauma_target

READER = TraumaReader()


def injuries(report: str) -> set[str]:
    states, _ = READER.read(report)
    return {c for c, s in states.items() if s in {"present", "uncertain"} and not c.endswith("_healthy") and c != "any_injury"}


@pytest.mark.parametrize(
    ("grade", "column"),
    [
        ("grade I", "low"),
        ("AAST grade III", "low"),
        ("grade 3", "low"),
        ("OIS IV", "high"),
        ("AAST-OIS grade 5", "high"),
        ("grade II-III", "low"),
        ("grade III to IV", "high"),
        ("high-grade", "high"),
        ("grade three", "low"),
        ("grade five", "high"),
    ],
)
def test_grades_up_to_three_are_low(grade: str, column: str) -> None:
    assert injuries(f"There is a {grade} laceration of the spleen.") == {f"spleen_{column}"}


def test_an_injury_without_a_grade_is_low_unless_its_words_mean_more() -> None:
    assert injuries("Laceration of the liver.") == {"liver_low"}
    assert injuries("Shattered spleen.") == {"spleen_high"}
    assert injuries("Devascularised lower pole of the left kidney.") == {"kidney_high"}


def test_grave_words_that_are_denied_do_not_raise_a_grade() -> None:
    assert injuries("Laceration of the left kidney without urinary leak.") == {"kidney_low"}
    assert injuries("Laceration of the left kidney with urinary leak.") == {"kidney_high"}


def test_a_structure_that_escaped_injury_has_none() -> None:
    states, _ = READER.read("The kidneys and the bowel have escaped injury.")
    assert (states["kidney_healthy"], states["bowel_healthy"]) == ("present", "present")


def test_a_stated_grade_goes_before_grave_words() -> None:
    assert injuries("Grade III splenic laceration with a devascularised fragment.") == {"spleen_low"}


def test_a_grade_in_the_next_sentence_belongs_to_the_injury_before() -> None:
    assert injuries("Laceration of the right hepatic lobe. This corresponds to AAST grade IV.") == {"liver_high"}


def test_each_structure_keeps_its_own_grade() -> None:
    assert injuries("Grade III splenic laceration and grade V renal injury.") == {"spleen_low", "kidney_high"}
    assert injuries("Lacerations of liver and spleen (grade II and grade IV respectively).") == {"liver_low", "spleen_high"}


def test_exactly_one_column_of_an_injured_structure_is_present() -> None:
    states, _ = READER.read("Grade IV laceration of the left kidney.")
    assert [states[f"kidney_{kind}"] for kind in ("healthy", "low", "high")] == ["absent", "absent", "present"]
    assert states["any_injury"] == "present"
    assert tuple(states) == RATIC_COLUMNS


def test_no_solid_organ_injury_clears_liver_spleen_and_kidneys_only() -> None:
    states, _ = READER.read("No solid organ injury.")
    assert [states[f"{s}_healthy"] for s in ("liver", "spleen", "kidney", "bowel")] == ["present"] * 3 + ["not_mentioned"]


def test_silence_means_healthy_by_default_and_nothing_when_ignored() -> None:
    states, _ = READER.read("Normal lungs.")
    assert trauma_target("liver_healthy", states, LabelOptions()) == (1.0, 1.0)
    assert trauma_target("liver_low", states, LabelOptions()) == (0.0, 1.0)
    assert trauma_target("liver_healthy", states, LabelOptions(not_mentioned="ignore"))[1] == 0.0


def test_the_columns_of_an_uncertain_structure_are_left_out_together() -> None:
    states, _ = READER.read("Splenic laceration cannot be excluded.")
    weights = [
        trauma_target(f"spleen_{kind}", states, LabelOptions(uncertain="ignore"))[1] for kind in ("healthy", "low", "high")
    ]
    assert weights == [0.0, 0.0, 0.0]
    soft = [trauma_target(f"spleen_{kind}", states, LabelOptions(uncertain="soft"))[0] for kind in ("healthy", "low", "high")]
    assert soft == [0.25, 0.75, 0.0]


@pytest.mark.parametrize(
    "report",
    [
        "Right psoas haematoma.",
        "Rectus sheath hematoma adjacent to the liver.",
        "Simple cyst of the left kidney.",
        "Old healed splenic laceration.",
        "Extravasation of contrast from the bladder.",
        "Oral contrast extravasation is not seen.",
        "Perisplenic fluid without splenic laceration.",
        "Grade 2 hydronephrosis of the left kidney.",
    ],
)
def test_what_only_sounds_like_an_injury_is_none(report: str) -> None:
    assert injuries(report) == set()


def test_an_injury_does_not_look_for_its_structure_across_a_semicolon() -> None:
    report = "The remaining solid organs are intact; there is a mural hematoma and free gas at a bowel loop."
    assert injuries(report) == {"bowel_injury"}


def test_evidence_points_into_the_report() -> None:
    report = "SPLEEN: Grade III laceration.\nLIVER: Normal."
    _, mentions = READER.read(report)
    assert {(m.finding, m.state, report[m.start : m.end]) for m in mentions} == {
        ("spleen_low", "present", "Grade III"),
        ("spleen_low", "present", "laceration"),
        ("liver_healthy", "present", "Normal"),
    }


def test_a_trauma_lexicon_of_ones_own_adds_words_to_the_shipped_one(tmp_path: Path) -> None:
    own = '[set]\nname = "own"\nextends = "ratic"\n[structure]\nspleen = ["lien"]\n[words]\ninjury = ["dent|dented"]\n'
    (tmp_path / "own.toml").write_text(own, encoding="utf-8")
    reader = make_reader("own.toml", folder=tmp_path)
    assert reader.findings == RATIC_COLUMNS
    assert reader.key != READER.key
    assert reader.read("Dented lien.")[0]["spleen_low"] == "present"
    assert reader.read("Grade IV laceration of the spleen.")[0]["spleen_high"] == "present"
    assert READER.read("Dented lien.")[0]["spleen_low"] == "not_mentioned"


def test_a_trauma_lexicon_without_words_for_a_structure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[set]\nname = "own"\n[structure]\nspleen = ["spleen"]\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="no words for liver, kidney, bowel"):
        make_reader("own.toml", folder=tmp_path)


def test_an_unknown_list_of_a_trauma_lexicon_is_answered_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[set]\nname = "own"\nextends = "ratic"\n[words]\ninjurys = ["x"]\n', encoding="utf-8")
    with pytest.raises(SettingsError, match="Did you mean injury"):
        make_reader("own.toml", folder=tmp_path)
