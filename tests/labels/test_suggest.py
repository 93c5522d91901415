import pytest

from espalier.labels.lexicon import read_lexicon
from espalier.labels.reading import read_all
from espalier.labels.suggest import suggest

LEXICON = read_lexicon("ct-rate")


def suggested(*texts: str, top: int = 50) -> dict[tuple[str, str], int]:
    found = suggest(texts, read_all(texts, lexicon="ct-rate"), LEXICON, top=top)
    return {(one.finding, one.words): one.reports for one in found}


def reports(*endings: str) -> list[str]:
    return [f"Bronchi of coarse calibre in {ending}." for ending in endings]


def test_words_near_a_finding_that_no_rule_matches_are_listed_with_the_number_of_reports() -> None:
    found = suggested(*reports("segment six", "the lingula", "both lungs"))
    assert found["bronchiectasis", "bronchi of coarse calibre"] == 3


def test_words_of_fewer_than_three_different_reports_are_not_shown() -> None:
    assert suggested(*reports("segment six", "the lingula")) == {}
    assert suggested(*reports("segment six", "segment six", "the lingula")) == {}


def test_words_that_a_rule_has_read_are_not_suggested() -> None:
    assert suggested("Mild bronchiectasis.", "Severe bronchiectasis.", "No bronchiectasis.", "Old bronchiectasis.") == {}


def test_words_of_a_silent_section_and_numbers_are_left_out() -> None:
    assert suggested(*(f"Indication: {text}" for text in reports("a", "b", "c"))) == {}
    found = suggested(*(f"Bronchi 4711 wide {n}" for n in ("one", "two", "three")))
    assert not [words for _, words in found if "4711" in words or "bronchi wide" in words]


def test_words_that_may_be_a_patients_name_or_number_are_left_out() -> None:
    places = ("segment six", "the lingula", "both lungs")
    named = suggested(*(f"Zebulon Quartermain has bronchi of coarse calibre in {place}." for place in places))
    assert named["bronchiectasis", "bronchi of coarse calibre"] == 3
    assert not [words for _, words in named if "zebulon" in words or "quartermain" in words]
    for number in ("qmrn4711", "4711qmrn"):
        numbered = suggested(*(f"Bronchi of {number} bronchi of coarse calibre in {place}." for place in places))
        assert numbered
        assert not [words for _, words in numbered if "qmrn" in words]


def test_words_that_are_never_written_small_are_told_where_many_reports_have_them() -> None:
    read = [f"BRONCHIECTASIS, {word}." for word in ("MILD", "OLD", "NEW")]
    loud = [f"BRONCHI OF COARSE CALIBRE, LEVEL {chr(97 + n)}." for n in range(20)]
    assert suggested(*read, *loud)["bronchiectasis", "bronchi of coarse calibre"] == 20
    assert suggested(*read, *loud[:19]) == {}


def test_a_run_is_told_once_in_its_longest_form() -> None:
    found = suggested(*reports("segment six", "the lingula", "both lungs"))
    assert ("bronchiectasis", "bronchi of") not in found


def test_roots_that_nearly_always_mean_something_else_are_left_out() -> None:
    normal = [f"Main bronchi are open. Level {word}." for word in "abcdefghijklmnopqrst"]
    assert suggested(*normal) == {}


def test_at_most_as_many_as_asked_for_are_returned() -> None:
    assert len(suggested(*reports("segment six", "the lingula", "both lungs"), top=1)) == 1


def test_texts_without_their_readings_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        suggest(["Emphysema."], [], LEXICON)
