from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.labels.language import read_language
from espalier.labels.text import plain, sentences


def parts(report: str) -> list[tuple[str, str, str]]:
    return [(s.section, s.heading, report[s.start : s.end]) for s in sentences(report)]


def test_sections_and_headings_are_told_apart() -> None:
    report = (
        "INDICATION: fall.\nFINDINGS:\nLIVER: Normal. No laceration.\n"
        "SPLEEN:\nA tear of the\nupper pole.\nIMPRESSION\n1. Splenic tear."
    )
    assert parts(report) == [
        ("indication", "", "fall."),
        ("findings", "LIVER", "Normal."),
        ("findings", "LIVER", "No laceration."),
        ("findings", "SPLEEN", "A tear of the\nupper pole."),
        ("impression", "", "Splenic tear."),
    ]


def test_a_heading_ends_with_its_line_but_holds_when_it_stands_alone() -> None:
    report = "Heart: normal.\nA nodule is seen.\nPLEURA:\nClear.\nNo fluid.\n\nBones intact."
    assert [heading for _, heading, _ in parts(report)] == ["Heart", "", "PLEURA", "PLEURA", ""]


def test_numbers_and_abbreviations_do_not_end_a_sentence() -> None:
    report = "A nodule of 3.5 cm, approx. 2 cm from the hilum. Dr. Who saw it."
    assert [text for _, _, text in parts(report)] == ["A nodule of 3.5 cm, approx. 2 cm from the hilum.", "Dr. Who saw it."]


def test_bullets_and_stray_quotes_end_sentences() -> None:
    report = '• Small effusion • Hernia "Emphysema. " Nodules in both lungs'
    assert [text for _, _, text in parts(report)] == ["Small effusion", "Hernia", "Emphysema.", "Nodules in both lungs"]


def test_markup_does_not_join_sentences() -> None:
    report = "Lungs & <b>pleura</b>. There is <i>effusion.</i> No nodule. & <b>Heart</b>. Large."
    expected = ["Lungs & <b>pleura</b>.", "There is <i>effusion.", "No nodule.", "& <b>Heart</b>.", "Large."]
    assert [text for _, _, text in parts(report)] == expected


def test_a_question_stays_with_its_answer() -> None:
    assert [text for _, _, text in parts("Effusion? No. Nodule? It grew.")] == ["Effusion? No.", "Nodule?", "It grew."]


def test_findings_without_a_heading_of_their_own_follow_the_history_in_its_paragraph() -> None:
    sections = [section for section, _, _ in parts("Clinical history: cough. A nodule is seen. No effusion. Heart normal.")]
    assert sections == ["history", "findings", "findings", "findings"]
    told = "Clinical history: cough. Known nodule. No effusion. Weight loss.\nFindings: Clear."
    assert [section for section, _, _ in parts(told)] == ["history"] * 4 + ["findings"]


def test_wrapped_lines_are_joined_and_list_lines_are_not() -> None:
    wrapped = "There is a small effusion on the left that was described in the\nprevious report. No nodule."
    listed = "Small effusion\nLarge hernia"
    assert len(sentences(wrapped)) == 2
    assert len(sentences(listed)) == 2


def test_a_language_says_what_ends_no_sentence() -> None:
    report = "Befund:\nAufnahme vom 12. März. Z. n. Operation. Kein Erguss."
    german = [report[s.start : s.end] for s in sentences(report, read_language("german"))]
    assert german == ["Aufnahme vom 12. März.", "Z. n. Operation.", "Kein Erguss."]
    assert len(sentences("Since March 12. The node grew.")) == 2


@settings(deadline=None)
@given(st.text(max_size=300))
def test_offsets_always_point_into_the_text_and_never_overlap(report: str) -> None:
    found = sentences(report)
    assert all(0 <= s.start < s.end <= len(report) for s in found)
    assert all(a.end <= b.start for a, b in pairwise(found))


@settings(deadline=None)
@given(st.text(max_size=200))
def test_plain_text_keeps_its_length(text: str) -> None:
    assert len(plain(text)) == len(text)
