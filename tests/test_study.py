"""A study is one file: its arms spelled out, its recipes whole."""

from pathlib import Path

import pytest

from espalier.errors import MissingError, SettingsError
from espalier.study import read_study, recipe_names, recipe_text


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_a_whole_study(name: str, tmp_path: Path) -> None:
    study = read_study(written(tmp_path, recipe_text(name)))
    assert set(study.arms) == {"plain", "placebo", "masks"}
    assert study.arms["plain"].supervision.weight == 0
    assert study.arms["placebo"].supervision.masks_of == "other scans"
    assert study.cohort_options().sources
    assert study.label_options().reports or study.label_options().table


def test_arms_differ_in_what_they_say_and_in_nothing_else(tmp_path: Path) -> None:
    text = (
        "[training]\nepochs = 7\n[training.supervision]\nclass_balance = 0.5\n[arms.plain.training.supervision]\nweight = 0\n"
    )
    text += "[arms.masks.training.supervision]\nweight = 1\n"
    arms = read_study(written(tmp_path, text)).arms
    assert arms["plain"].epochs == arms["masks"].epochs == 7
    assert arms["plain"].supervision.class_balance == arms["masks"].supervision.class_balance == 0.5
    assert (arms["plain"].supervision.weight, arms["masks"].supervision.weight) == (0, 1)


def test_an_arm_cannot_change_what_all_arms_share(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="all arms share"):
        read_study(written(tmp_path, "[arms.a.store]\nspacing_mm = [1.0, 1.0, 1.0]\n"))


def test_a_mistake_in_an_arm_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Did you mean weight"):
        read_study(written(tmp_path, "[arms.a.training.supervision]\nwieght = 1\n"))


def test_a_study_holds_only_the_tables_its_verbs_need(tmp_path: Path) -> None:
    study = read_study(written(tmp_path, '[labels]\nreports = "reports.csv"\n'))
    assert study.label_options().reports == "reports.csv"
    with pytest.raises(MissingError, match=r"no \[cohort\] table"):
        study.cohort_options()


def test_the_command_line_changes_an_arm_too(tmp_path: Path) -> None:
    path = written(tmp_path, "[arms.masks.training.supervision]\nweight = 1\n")
    arms = read_study(path, changes=["training.epochs=2", "arms.masks.training.supervision.weight=5"]).arms
    assert (arms["masks"].epochs, arms["masks"].supervision.weight) == (2, 5)
