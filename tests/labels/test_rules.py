import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.labels.lexicon import read_lexicon
from espalier.labels.rules import RuleReader

READER = RuleReader(read_lexicon("ct-rate"))


def state(report: str, finding: str) -> str:
    return READER.read(report)[0][finding]


@pytest.mark.parametrize(
    "report",
    [
        "No pleural effusion.",
        "Pleural effusion was not detected.",
        "Pleural effusion and pericardial effusion are not seen.",
        "Neither consolidation nor effusion.",
        "Pleural effusion: none.",
        "The pleural effusion seen in the previous examination was not detected in the current examination.",
        "Pleural effusion has completely resolved.",
        "The pleural effusion is no longer visible.",
        "No finding compatible with a pleural effusion was observed.",
        "Pleural effusion does not exist.",
        "Pleural effusion did not accompany.",
        "Pleural effusion hasn't developed.",
        "Pleural effusion was not distinguished.",
        "Pericardium natural, pleural effusion none.",
        "Pleural effusion or pleural implants: none.",
        "Pleural effusion? No.",
        "Pleural effusion resolved in comparison with the last examination.",
        "The pleural effusion which was present in the old study has totally disappeared.",
        "The pleural effusion, which was seen in the old study, is not seen now.",
    ],
)
def test_a_denied_finding_is_absent(report: str) -> None:
    assert state(report, "pleural_effusion") == "absent"


@pytest.mark.parametrize(
    "report",
    [
        "Small pleural effusion.",
        "No significant change in the pleural effusion.",
        "Pleural effusion, which was not present in the previous examination.",
        "No consolidation; small pleural effusion.",
        "No consolidation is seen, and there is a pleural effusion.",
        "The pleural effusion could not be measured exactly.",
        "Right lung: no consolidation. Pleura: effusion on the right.",
        "No pleural effusion on the left. Small pleural effusion on the right.",
        "No consolidation; pleural effusion.",
        "Pleural effusion; consolidation was not seen.",
        "Nodules: none, pleural effusion: right.",
        "Without consolidation, consistent with pleural effusion.",
        "The lesion is a pleural effusion and is not a nodule.",
        "The cause of the pleural effusion was not identified.",
        "No consolidation, pleural effusion unchanged.",
        "He cannot lie flat without his pleural effusion.",
    ],
)
def test_a_stated_finding_is_present(report: str) -> None:
    assert state(report, "pleural_effusion") == "present"


@pytest.mark.parametrize(
    "report",
    [
        "Possible pleural effusion.",
        "Pleural effusion cannot be excluded.",
        "Density at the base (pleural effusion?).",
        "Findings suspicious for pleural effusion.",
        "Pleura: possible small effusion.",
    ],
)
def test_a_hedged_finding_is_uncertain(report: str) -> None:
    assert state(report, "pleural_effusion") == "uncertain"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("No effusion other than the one described on the left.", "present"),
        ("No effusion or nodule other than a cyst.", "absent"),
        ("Apart from a small effusion, the chest is normal.", "present"),
        ("Resolved effusion.", "absent"),
        ("Resolved pneumonia, small effusion.", "present"),
        ("Effusion versus thickening.", "uncertain"),
        ("The effusion has not resolved.", "present"),
        ("No history of pleural effusion.", "absent"),
        ("History of pleural effusion.", "not_mentioned"),
        ("Effusion: There is none.", "absent"),
        ("Effusions: There are no pleural effusions.", "absent"),
        ("Pleural effusion: [ ] Yes [x] No", "absent"),
        ("Pleural effusion - none", "absent"),
    ],
)
def test_exceptions_neighbours_and_forms_are_read_as_meant(report: str, expected: str) -> None:
    assert state(report, "pleural_effusion") == expected


def test_a_question_in_brackets_does_not_reach_the_finding_before_it() -> None:
    assert (
        state("Marked mosaic attenuation pattern of the lungs (small airway disease?).", "mosaic_attenuation_pattern")
        == "present"
    )


@pytest.mark.parametrize(
    ("report", "finding", "expected"),
    [
        ("The heart is not large.", "cardiomegaly", "absent"),
        ("Bronchial wall thickening without bronchiectasis.", "peribronchial_thickening", "present"),
        ("Aortic wall calcified, coronary arteries no.", "coronary_artery_wall_calcification", "absent"),
        ("Aortic wall calcified, coronary arteries no.", "arterial_wall_calcification", "present"),
        ("Nodular consolidation in the right lower lobe.", "lung_nodule", "not_mentioned"),
        ("Nodule in the right lower lobe.", "lung_nodule", "present"),
        ("Millimetric nodules on both sides, cyst in the left kidney.", "lung_nodule", "present"),
        ("Nodule, measuring 12 mm in the left kidney.", "lung_nodule", "not_mentioned"),
        ("Heart size is normal.", "cardiomegaly", "absent"),
    ],
)
def test_a_match_keeps_what_is_its_own(report: str, finding: str, expected: str) -> None:
    assert state(report, finding) == expected


def test_indication_technique_and_history_say_nothing() -> None:
    report = "Indication: pleural effusion?\nHistory: emphysema.\nTechnique: after catheter placement.\nFindings: Clear lungs."
    assert set(READER.read(report)[0].values()) == {"not_mentioned"}


def test_a_heading_lends_its_anatomy_to_the_sentence() -> None:
    assert state("Pericardium: small effusion.", "pericardial_effusion") == "present"
    assert state("Pericardium: small effusion.", "pleural_effusion") == "not_mentioned"
    assert state("Heart: enlarged.", "cardiomegaly") == "present"


def test_findings_and_impression_are_united_and_present_wins() -> None:
    report = "Findings: No nodule on the left. A nodule of 4 mm on the right.\nImpression: No suspicious nodule."
    assert state(report, "lung_nodule") == "present"


def test_a_mention_points_at_its_words_and_its_sentence() -> None:
    report = "Heart is normal.\nThere is a SMALL\nhiatal  Hernia. No nodule."
    mention = next(m for m in READER.mentions(report) if m.finding == "hiatal_hernia")
    assert report[mention.start : mention.end] == "hiatal  Hernia"
    assert report[slice(*mention.sentence)] == "There is a SMALL\nhiatal  Hernia."


def test_a_sentence_met_before_reads_the_same() -> None:
    report = "Small effusion. Small effusion."
    first, second = READER.mentions(report)
    assert (first.finding, first.state, second.start - first.start) == (second.finding, second.state, 16)
    assert RuleReader(READER.lexicon).mentions(report) == READER.mentions(report)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["no", "effusion", "pleural", "was", "not seen", ",", ";", ".", "(?", "liver:", "nodule", "and"]))
)
def test_any_order_of_words_is_read_with_true_offsets(words: list[str]) -> None:
    report = " ".join(words)
    for mention in READER.mentions(report):
        assert report[mention.start : mention.end].strip() != ""
        assert mention.sentence[0] <= mention.start < mention.end <= mention.sentence[1]
