"""The strict reader: every mistake named at once, with its line and the nearest right name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from espalier.errors import SettingsError
from espalier.settings import changed, merged, parse, read_toml
from espalier.study import read_study


@dataclass(frozen=True, kw_only=True, slots=True)
class Inner:
    spacing_mm: tuple[float, float, float] = (3.0, 1.5, 1.5)
    name: str = "a"

    def __post_init__(self) -> None:
        if min(self.spacing_mm) <= 0:
            raise ValueError(f"spacing_mm is {self.spacing_mm}: spacings are positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outer:
    store: Inner = field(default_factory=Inner)
    epochs: int = 1
    folder: str | None = None


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_tables_become_frozen_options(tmp_path: Path) -> None:
    path = written(tmp_path, "epochs = 3\n[store]\nspacing_mm = [1.0, 2.0, 3.0]\n")
    assert parse(Outer, read_toml(path), source=path) == Outer(epochs=3, store=Inner(spacing_mm=(1.0, 2.0, 3.0)))


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_right_one(tmp_path: Path) -> None:
    path = written(tmp_path, "epochs = 3\n\n[store]\nspacing = 1.5\n")
    with pytest.raises(SettingsError, match=r"line 4, \[store\] spacing: no such setting\. Did you mean spacing_mm\?"):
        parse(Outer, read_toml(path), source=path)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, 'epochs = "many"\n[store]\nname = 3\n')
    with pytest.raises(SettingsError) as caught:
        parse(Outer, read_toml(path), source=path)
    assert "line 1, epochs" in str(caught.value)
    assert "line 3, [store] name" in str(caught.value)
    assert caught.value.exit_code == 2


def test_what_an_option_refuses_itself_is_told_in_its_own_words(tmp_path: Path) -> None:
    path = written(tmp_path, "[store]\nspacing_mm = [0.0, 1.0, 1.0]\n")
    with pytest.raises(SettingsError, match="spacings are positive"):
        parse(Outer, read_toml(path), source=path)


def test_a_file_that_is_not_toml_or_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(SettingsError, match="not TOML"):
        read_toml(written(tmp_path, "a = = b"))


def test_the_command_line_changes_one_setting(tmp_path: Path) -> None:
    tables = {"store": {"name": "a"}}
    assert changed(tables, ["store.name=b", "epochs=4"]) == {"store": {"name": "b"}, "epochs": 4}
    assert tables == {"store": {"name": "a"}}
    with pytest.raises(SettingsError, match="no '='"):
        changed(tables, ["epochs"])


def test_an_arm_keeps_the_shared_values_it_does_not_name() -> None:
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wide:
    column: str | tuple[str, ...] = "a"
    findings: Literal["all"] | tuple[str, ...] | None = None
    order: Literal["rules first", "model only"] | tuple[str, ...] = "rules first"
    level: float | Literal["auto"] = 1.0
    words: tuple[str, ...] = ()
    each: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    inner: Inner | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    labels: Wide | None = None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("column = 3", "line 2, [labels] column: should be a text or a list of texts (found 3)"),
        ('column = ["a", 3]', "line 2, [labels] column: should be a text or a list of texts (found ['a', 3])"),
        ("findings = true", 'line 2, [labels] findings: should be "all" or a list of texts (found True)'),
        ('findings = "some"', """line 2, [labels] findings: should be "all" or a list of texts (found 'some')"""),
        ("order = 1", 'line 2, [labels] order: should be "rules first", "model only" or a list of texts (found 1)'),
        ('level = "high"', """line 2, [labels] level: should be "auto" or a number (found 'high')"""),
        ("words = [1, 2]", "line 2, [labels] words: input should be a valid string (found 1)"),
        ("inner = { spacing_mm = [1.0] }", "[labels.inner] spacing_mm: "),
        ("each = { a = 3 }", "[labels.each] a: should be a text or a list of texts (found 3)"),
    ],
)
def test_a_setting_that_takes_several_kinds_is_told_once_in_one_sentence(line: str, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"[labels]\n{line}\n")
    with pytest.raises(SettingsError) as caught:
        parse(Whole, read_toml(path), source=path)
    assert caught.value.found.startswith(says)
    assert ";" not in caught.value.found
    assert not [word for word in ("tuple", "str]", "labels.Wide") if word in caught.value.found]


@dataclass(frozen=True, kw_only=True, slots=True)
class Needy:
    column: str | tuple[str, ...]


def test_a_setting_that_must_be_there_is_asked_for() -> None:
    with pytest.raises(SettingsError, match="column: field required"):
        parse(Needy, {}, source="settings")


def test_a_study_says_what_a_column_of_texts_may_be(tmp_path: Path) -> None:
    path = written(tmp_path, '[labels]\nreports = "r.csv"\ntext_column = 7\n')
    with pytest.raises(SettingsError) as caught:
        read_study(path)
    assert caught.value.found == "line 3, [labels] text_column: should be a text or a list of texts (found 7)"


def test_what_an_option_refuses_in_a_value_of_several_kinds_is_told_in_its_own_words(tmp_path: Path) -> None:
    whole: dict[str, Any] = {"labels": {"inner": {"spacing_mm": [0.0, 1.0, 1.0]}, "column": 3}}
    with pytest.raises(SettingsError, match="spacings are positive") as caught:
        parse(Whole, whole, source="settings")
    assert "a text or a list of texts" in caught.value.found
