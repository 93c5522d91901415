from pathlib import Path

import pytest

from espalier.errors import InputError, SettingsError
from espalier.labels.examples import examples_of, misread_examples
from espalier.labels.findings import FINDINGS
from espalier.labels.lexicon import read_lexicon
from espalier.labels.phrases import compiled, one_of
from espalier.labels.rules import RuleReader

OWN = """
[set]
name = "own"
[finding.gallstones]
phrases = ["gallstone*", "calculus|calculi ..2 gallbladder"]
none = ["pancreatic"]
"""


@pytest.mark.parametrize(("lexicon", "fewest"), [("ct-rate", 290), ("ratic", 90), ("rad-chestct", 45), ("ct-rate-de", 70)])
def test_a_lexicon_reads_its_own_examples_rightly(lexicon: str, fewest: int) -> None:
    assert len(examples_of(lexicon)) >= fewest
    assert misread_examples(lexicon) == {}


@pytest.mark.parametrize(("lexicon", "finding_set"), [("ct-rate", "ct-rate"), ("rad-chestct",) * 2, ("ct-rate-de", "ct-rate")])
def test_a_shipped_lexicon_tells_the_published_findings_in_their_order(lexicon: str, finding_set: str) -> None:
    assert read_lexicon(lexicon).findings == FINDINGS[finding_set]


def test_a_phrase_knows_endings_alternatives_and_gaps() -> None:
    phrase = compiled("effusion* ..2 pleura*|hemithorax")
    assert phrase.spans("effusions in the pleural space") == [(0, 24)]
    assert phrase.spans("effusion in the far left hemithorax") == []
    assert phrase.spans("effusion. the pleura") == []
    assert compiled("bull").spans("a bulletin") == []


def test_a_lexicon_of_ones_own_is_read_from_its_path(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN, encoding="utf-8")
    reader = RuleReader(read_lexicon("own.toml", folder=tmp_path))
    assert reader.read("Two gallstones.")[0] == {"gallstones": "present"}
    assert reader.read("No calculi in the gallbladder.")[0] == {"gallstones": "absent"}


def test_a_changed_word_changes_the_key(tmp_path: Path) -> None:
    for name, text in (("a.toml", OWN), ("b.toml", OWN.replace("pancreatic", "hepatic"))):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_lexicon("a.toml", folder=tmp_path).key != read_lexicon("b.toml", folder=tmp_path).key


def test_an_unknown_key_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN.replace("none =", "non ="), encoding="utf-8")
    with pytest.raises(SettingsError, match="Did you mean none"):
        read_lexicon("own.toml", folder=tmp_path)


def test_a_lexicon_without_findings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('[set]\nname = "own"\n', encoding="utf-8")
    with pytest.raises(InputError, match="no table"):
        read_lexicon("own.toml", folder=tmp_path)


def test_of_phrases_that_begin_alike_the_one_of_most_words_counts() -> None:
    pattern = one_of(["may be", "may ..1 be ..1 due to", "maybe*"])
    assert pattern is not None
    assert [m.group() for m in pattern.finditer("it may be due to, may be or maybes")] == ["may be due to", "may be", "maybes"]


def test_a_phrase_may_begin_anywhere_in_a_word_or_with_a_sign(tmp_path: Path) -> None:
    words = OWN.replace('"gallstone*"', '"*lithiasis", "(+) stones"')
    (tmp_path / "own.toml").write_text(words, encoding="utf-8")
    reader = RuleReader(read_lexicon("own.toml", folder=tmp_path))
    assert reader.read("Cholelithiasis.")[0] == {"gallstones": "present"}
    assert reader.read("Gallbladder (+) stones")[0] == {"gallstones": "present"}


EXTENDING = """
[set]
name = "own"
extends = "ct-rate"
own_only = %s
[finding.lung_nodule]
like = ["lung_nodule"]
phrases = ["lung spot*"]
none = ["imaginary"]
[finding.gallstones]
phrases = ["gallstone*"]
"""


def extending(folder: Path, own_only: str, more: str = "") -> RuleReader:
    (folder / "own.toml").write_text(EXTENDING % own_only + more, encoding="utf-8")
    return RuleReader(read_lexicon("own.toml", folder=folder))


def test_a_lexicon_that_extends_another_has_its_findings_and_adds_words(tmp_path: Path) -> None:
    reader = extending(tmp_path, "false")
    assert reader.findings == (*FINDINGS["ct-rate"], "gallstones")
    states, _ = reader.read("Lung spots. Gallstones. Emphysema.")
    assert [f for f, s in states.items() if s == "present"] == ["emphysema", "lung_nodule", "gallstones"]
    assert reader.read("Thyroid nodule. An imaginary nodule.")[0]["lung_nodule"] == "not_mentioned"


def test_a_lexicon_may_keep_only_its_own_findings(tmp_path: Path) -> None:
    reader = extending(tmp_path, "true")
    assert reader.findings == ("lung_nodule", "gallstones")
    assert reader.read("Nodule in the lingula.")[0]["lung_nodule"] == "present"


def test_a_finding_like_several_has_the_words_of_each(tmp_path: Path) -> None:
    both = '[finding.calcium]\nlike = ["arterial_wall_calcification", "coronary_artery_wall_calcification"]\n'
    reader = extending(tmp_path, "true", both)
    for report in ("Aortic calcification.", "Coronary calcification."):
        assert reader.read(report)[0]["calcium"] == "present"
    assert reader.read("No coronary calcification.")[0]["calcium"] == "absent"


def test_a_finding_like_none_that_is_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[finding.spots\] like: lung_spots"):
        extending(tmp_path, "true", '[finding.spots]\nlike = ["lung_spots"]\n')


def test_a_language_of_ones_own_lies_beside_the_lexicon(tmp_path: Path) -> None:
    (tmp_path / "dutch.toml").write_text('[triggers]\nnegation_before = ["geen"]\n', encoding="utf-8")
    (tmp_path / "own.toml").write_text(OWN.replace('"own"', '"own"\nlanguage = "dutch.toml"'), encoding="utf-8")
    reader = RuleReader(read_lexicon("own.toml", folder=tmp_path))
    assert reader.read("Geen gallstones.")[0] == {"gallstones": "absent"}
    assert reader.read("No gallstones.")[0] == {"gallstones": "present"}
