"""The strict reader: every mistake named at once, with its line and the nearest right name."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from espalier.errors import SettingsError
from espalier.settings import changed, merged, parse, read_toml


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
