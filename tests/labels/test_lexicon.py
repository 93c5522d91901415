from pathlib import Path

import pytest

from espalier.errors import InputError, SettingsError
from espalier.labels.examples import examples_of, misread_examples
from espalier.labels.findings import FINDINGS
from espalier.labels.lexicon import compiled, read_lexicon
from espalier.labels.rules import RuleReader

OWN = """
[set]
name = "own"
[finding.gallstones]
phrases = ["gallstone*", "calculus|calculi ..2 gallbladder"]
none = ["pancreatic"]
"""


@pytest.mark.parametrize("lexicon", ["ct-rate", "ratic"])
def test_a_lexicon_reads_its_own_examples_rightly(lexicon: str) -> None:
    assert len(examples_of(lexicon)) >= 90
    assert misread_examples(lexicon) == {}


def test_the_shipped_lexicon_tells_the_published_findings_in_their_order() -> None:
    assert read_lexicon("ct-rate").findings == FINDINGS["ct-rate"]


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
