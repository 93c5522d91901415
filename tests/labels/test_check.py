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
