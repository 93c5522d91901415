from pathlib import Path

import pytest

from espalier.errors import SettingsError
from espalier.labels.check import check_lexicon
from espalier.labels.lexicon import SHIPPED

OWN = """[set]
name = "own"

[finding.gallstones]
phrases = [
    "gallstone*",
    "pancreatic stone",
    "gallstone*",
]
none = ["pancreatic"]

[[example]]
text = "Two gallstones."
present = ["gallstones"]

[[example]]
text = "No gallstones."
present = ["gallstones"]
"""


def check(folder: Path, text: str):
    (folder / "own.toml").write_text(text, encoding="utf-8")
    return check_lexicon("own.toml", folder=folder)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_lexicon_is_sound(name: str) -> None:
    report = check_lexicon(name)
    assert report.lines == (f"{name}: {report.examples} of {report.examples} examples are read as they say.",)
    assert report.sound


def test_an_example_read_otherwise_is_named_with_both_states(tmp_path: Path) -> None:
    report = check(tmp_path, OWN)
    (wrong,) = report.misread
    assert (wrong.text, wrong.finding, wrong.expected, wrong.found) == ("No gallstones.", "gallstones", "present", "absent")
    assert report.lines[0] == "own.toml: 1 of 2 examples are read as they say."
    assert not report.sound


def test_words_that_can_do_nothing_are_named_with_their_line(tmp_path: Path) -> None:
    assert [(p.line, p.words) for p in check(tmp_path, OWN).problems] == [
        (6, "[finding.gallstones] phrases has 'gallstone*' 2 times"),
        (7, "[finding.gallstones] phrases: 'pancreatic stone' is always ruled out by `none`"),
    ]


def test_a_phrase_that_is_the_name_of_a_section_is_named(tmp_path: Path) -> None:
    report = check(tmp_path, OWN.replace("pancreatic stone", "medical history"))
    assert any("a section's name" in p.words and p.line == 7 for p in report.problems)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("none =", "non =", r"line 10, [finding.gallstones] non: no such setting. Did you mean none?"),
        ('"pancreatic stone"', '".."', "is no phrase"),
        ('"pancreatic stone"', '"stone ..99 duct"', "at most .. or ..30"),
        ('name = "own"', 'name = "own"\nlanguage = "klingon"', "'klingon'"),
        ('name = "own"', 'name = "own"\nlanguag = "english"', "line 3, [set] languag: no such setting. Did you mean language?"),
        ("[[example]]", "[[exampel]]", "no such table: exampel"),
        ('name = "own"', 'name = "own"\nextends = "own.toml"', "extend each other"),
    ],
)
def test_a_lexicon_that_cannot_be_read_says_why(tmp_path: Path, old: str, new: str, words: str) -> None:
    (problem,) = check(tmp_path, OWN.replace(old, new)).problems
    assert words in problem.words


def test_an_example_of_an_unknown_finding_names_the_nearest(tmp_path: Path) -> None:
    report = check(tmp_path, OWN.replace('present = ["gallstones"]', 'present = ["gallstone"]', 1))
    assert any("Did you mean gallstones?" in p.words for p in report.problems)


def test_findings_without_an_example_are_noted_and_no_fault(tmp_path: Path) -> None:
    report = check(tmp_path, '[set]\nname = "own"\n[finding.gallstones]\nphrases = ["gallstone*"]\n')
    assert report.sound
    assert report.notes == ("there are no examples",)


def test_a_trauma_lexicon_is_checked_too(tmp_path: Path) -> None:
    words = '[set]\nname = "own"\nextends = "ratic"\n[words]\ninjury = ["dent*", "dent*"]\n'
    report = check(tmp_path, words + '[[example]]\ntext = "Dented spleen."\npresent = ["spleen_low", "any_injury"]\n')
    assert [(p.line, p.words) for p in report.problems] == [(5, "[words] injury has 'dent*' 2 times")]
    assert report.misread == ()


def test_a_lexicon_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no lexicon"):
        check_lexicon("nowhere.toml", folder=tmp_path)


def test_a_finding_without_phrases_is_named_with_its_line(tmp_path: Path) -> None:
    report = check(tmp_path, OWN.replace('name = "own"', 'name = "own"\n\n[finding.polyps]\nnone = ["colon"]'))
    assert [(p.line, p.words) for p in report.problems if "polyps" in p.words] == [
        (4, "[finding.polyps] has no phrases: it is never present")
    ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('ct-rate = "broder:hiatal_hernia"', "maps to ct-rate: 'broder:hiatal_hernia'"),
        ('rad-chestct = "exact:herniaa"', "maps to rad-chestct: 'exact:herniaa'"),
        ('ct-rat = "exact:hiatal_hernia"', "'ct-rat' is no shipped set. Did you mean ct-rate?"),
    ],
)
def test_a_map_that_leads_nowhere_is_named_with_its_line(tmp_path: Path, said: str, told: str) -> None:
    report = check(tmp_path, OWN.replace('none = ["pancreatic"]', f'none = ["pancreatic"]\nmaps = {{ {said} }}'))
    (problem,) = [p for p in report.problems if told in p.words]
    assert problem.line == 11


def test_a_map_to_a_shipped_finding_is_sound(tmp_path: Path) -> None:
    report = check(tmp_path, OWN.replace('none = ["pancreatic"]', 'maps = { ct-rate = "exact:hiatal_hernia" }'))
    assert not [p for p in report.problems if "maps" in p.words]


@pytest.mark.parametrize("phrase", ["gallstones?", "(a+)+$", "[unclosed", "nodul(e|es)", "\\\\bstone"])
def test_signs_of_regular_expressions_are_noted(tmp_path: Path, phrase: str) -> None:
    report = check(tmp_path, OWN.replace('"pancreatic stone"', f'"{phrase}"'))
    assert any("read letter by letter" in note for note in report.notes)


def test_phrases_as_people_write_them_give_no_note(tmp_path: Path) -> None:
    report = check(tmp_path, OWN.replace('"pancreatic stone"', '"stone*|calcul* .. gallbladder", "t.i.p.s. (-)"'))
    assert not [note for note in report.notes if "letter by letter" in note]


def test_a_new_finding_named_nearly_like_one_of_the_extended_lexicon_is_noted(tmp_path: Path) -> None:
    own = '[set]\nname = "own"\nextends = "ct-rate"\n\n[finding.lung_nodul]\nphrases = ["coin lesion*"]\n'
    assert any("did you mean lung_nodule" in note for note in check(tmp_path, own).notes)
    named = own.replace("lung_nodul", "lung_nodule")
    assert not [note for note in check(tmp_path, named).notes if "did you mean" in note]


def test_a_phrase_with_nothing_beside_a_bar_is_no_phrase(tmp_path: Path) -> None:
    report = check(tmp_path, OWN.replace("pancreatic stone", "stone|"))
    assert "fits any word" in report.problems[0].words.replace("would fit", "fits")
    assert "examples are read" not in report.lines[0]


def test_a_wrong_example_is_named_by_its_number(tmp_path: Path) -> None:
    report = check(tmp_path, OWN.replace('text = "No gallstones."\n', ""))
    assert "[[example]] 2" in report.problems[0].words
