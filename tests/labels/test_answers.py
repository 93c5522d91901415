import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.labels.answers import Answer, read_answers, section_at
from espalier.labels.language import read_language
from espalier.labels.prompt import STATES

ENGLISH = read_language()
REPORT = "INDICATION: Pleural effusion?\n\nFINDINGS: Small left pleural\n  effusion. No nodules seen.\n"


def one(evidence: object, state: object = "present", report: str = REPORT) -> Answer | str:
    said = json.dumps({"f": {"evidence": evidence, "state": state}})
    return read_answers(said, {"f": STATES}, report, language=ENGLISH)["f"]


def test_a_quote_is_found_across_line_breaks_at_its_exact_place() -> None:
    found = one("left pleural effusion")
    assert isinstance(found, Answer)
    assert REPORT[found.start : found.end] == "left pleural\n  effusion"


@pytest.mark.parametrize("quote", ['"No nodules seen."', " No  nodules\tseen ", "“No nodules seen.”"])
def test_quotation_marks_and_blanks_around_a_quote_do_not_matter(quote: str) -> None:
    found = one(quote, "absent")
    assert isinstance(found, Answer)
    assert REPORT[found.start : found.end].startswith("No nodules seen")


@pytest.mark.parametrize(
    "quote",
    [
        "large left pleural effusion",
        "small left pleural effusion",
        "left ... effusion",
        "",
        "No",
        "   ",
        "....",
        "odules seen",
        "nodul",
        None,
        7,
        ["No nodules seen"],
        "x" * 2000,
    ],
)
def test_a_quote_that_does_not_stand_in_the_report_is_none(quote: object) -> None:
    assert one(quote) == "no_quote"


def test_a_quote_of_the_whole_report_is_no_evidence() -> None:
    report = "No nodules seen in the left lung. " * 20
    assert one(report, report=report) == "no_quote"


def test_the_indication_is_no_evidence() -> None:
    assert one("Pleural effusion?") == "no_quote"
    again = one("Pleural effusion", report="INDICATION: Pleural effusion\n\nFINDINGS: Pleural effusion on the left.")
    assert again == Answer("present", 40, 56)


@pytest.mark.parametrize("state", ["maybe", "PRESENT", "", None, 1, ["present"], {"present": 1}, "failed"])
def test_a_state_that_is_none_of_the_four_is_a_fault(state: object) -> None:
    assert one("No nodules seen", state) == "no_state"


def test_silence_needs_no_evidence() -> None:
    assert one("anything", "not_mentioned") == Answer("not_mentioned")


@pytest.mark.parametrize(
    "said",
    [
        '{"f": {"evidence": "", "state": "not_mentioned"}}',
        '```json\n{"f": {"evidence": "", "state": "not_mentioned"}}\n```',
        '<think>{"f": {"state": "present"}}, or?</think>{"f": {"state": "not_mentioned"}}',
        'Here it is: {"f": {"state": "not_mentioned"}} I hope this helps {',
        '{"other": 1, "f": {"state": "not_mentioned", "sure": true}}',
    ],
)
def test_an_answer_is_found_in_what_models_put_around_it(said: str) -> None:
    assert read_answers(said, {"f": STATES}, REPORT, language=ENGLISH) == {"f": Answer("not_mentioned")}


@pytest.mark.parametrize("said", ["", "present", "{", '{"f": ', "[]", "null", '{"a":' * 100_000])
def test_what_is_no_object_is_a_fault_of_every_finding(said: str) -> None:
    assert read_answers(said, dict.fromkeys("fg", STATES), REPORT, language=ENGLISH) == {"f": "no_json", "g": "no_json"}


@pytest.mark.parametrize("said", ["{}", '{"f": null}', '{"f": "present"}', '{"f": ["present"]}', '{"F": {"state": "absent"}}'])
def test_a_finding_that_is_missing_or_no_object_is_a_fault(said: str) -> None:
    assert read_answers(said, {"f": STATES}, REPORT, language=ENGLISH) == {"f": "no_state"}


@given(st.text(max_size=60), st.text(max_size=30), st.sampled_from(["present", "absent", "uncertain"]))
def test_whatever_is_said_the_evidence_stands_in_the_report(report: str, quote: str, state: str) -> None:
    found = one(quote, state, report)
    if isinstance(found, Answer):
        own = report[found.start : found.end]
        assert own.split() in (quote.split(), quote.strip("\"'“”„«»‘’` \t\n\r").split())
        assert found.fits(report)


@given(st.text(max_size=80))
def test_whatever_a_model_writes_there_is_an_answer_or_a_fault(said: str) -> None:
    assert set(read_answers(said, dict.fromkeys("fg", STATES), REPORT, language=ENGLISH)) == {"f", "g"}


def test_a_place_has_the_section_it_lies_in() -> None:
    assert section_at(REPORT, REPORT.index("Pleural"), ENGLISH) == "indication"
    assert section_at(REPORT, REPORT.index("nodules"), ENGLISH) == "findings"


@pytest.mark.parametrize(
    "answer",
    [
        Answer("failed", 0, 3),
        Answer("present"),
        Answer("present", 3, 999),
        Answer("absent", -1, 2),
        Answer("not_mentioned", 0, 4),
    ],
)
def test_a_kept_answer_that_cannot_be_about_the_report_does_not_fit(answer: Answer) -> None:
    assert not answer.fits(REPORT)
