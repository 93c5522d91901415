import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.training.conftest import FINDINGS, STRUCTURES, TINY, write_study

from espalier.errors import EspalierError, InputError, MissingError, SettingsError
from espalier.outputs import read_table, write_table
from espalier.training.inputs import Inputs, gather
from espalier.training.options import SupervisionOptions, TrainingOptions


def gathered(folder: Path, options: TrainingOptions = TINY, **change: object) -> Inputs:
    return gather(options, folder=folder, **{"findings": FINDINGS, "seed": 0} | change)


def supervised(**change: object) -> TrainingOptions:
    return replace(TINY, supervision=SupervisionOptions(**change))


def test_a_run_reads_its_labelled_scans_and_their_masks(study: Path) -> None:
    inputs = gathered(study)
    assert len(inputs.train.scans) == 9
    assert len(inputs.validation.scans) == 3
    assert inputs.structures == STRUCTURES
    assert inputs.masks_of == (None, *inputs.train.scans[1:])
    assert inputs.train.targets.shape == (9, 2)


def test_a_plain_run_knows_no_mask(study: Path) -> None:
    inputs = gathered(study, supervised(weight=0.0))
    assert inputs.structures == ()
    assert set(inputs.masks_of) == {None}


def test_structures_that_are_not_learned_are_background(study: Path) -> None:
    inputs = gathered(study, supervised(structures=("right",)))
    assert inputs.values[:4].tolist() == [0, 0, 1, 0]


def test_the_placebo_learns_other_scans_masks(study: Path) -> None:
    inputs = gathered(study, supervised(masks_of="other scans"))
    assert inputs.masks_of[0] is None
    assert all(own != other for own, other in zip(inputs.train.scans[1:], inputs.masks_of[1:], strict=True))


def test_the_key_follows_what_a_run_depends_on_and_nothing_else(study: Path, tmp_path: Path) -> None:
    key = gathered(study).key
    assert gathered(study, replace(TINY, seeds=(0, 1, 2))).key == key
    assert gathered(study, seed=1).key != key
    assert gathered(study, replace(TINY, epochs=3)).key != key
    assert gathered(study, findings=FINDINGS[:1]).key != key
    other = shutil.copytree(study, tmp_path / "other", ignore=shutil.ignore_patterns("runs"))
    labels = read_table(other / "labels.parquet", kind="labels")
    write_table(other / "labels.parquet", labels.with_columns(target=1 - pl.col("target")), kind="labels")
    assert gathered(other).key != key


def test_scans_without_any_label_are_not_trained_on(study: Path, tmp_path: Path) -> None:
    other = shutil.copytree(study, tmp_path / "other", ignore=shutil.ignore_patterns("runs"))
    labels = read_table(other / "labels.parquet", kind="labels")
    write_table(other / "labels.parquet", labels.filter(pl.col("scan") != "scan001"), kind="labels")
    assert "scan001" not in gathered(other).train.scans


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"crop": (8, 12, 16)}, SettingsError, "at most the store's (10, 12, 14)"),
        ({"supervision": SupervisionOptions(structures=("spleen",))}, SettingsError, "no mask has spleen"),
        ({"supervision": SupervisionOptions(structures="abdomen")}, SettingsError, "no mask has liver"),
        ({"supervision": SupervisionOptions(structures="thorax")}, SettingsError, "known sets are chest"),
        ({"pretrained": "none.pth"}, MissingError, "none.pth: no such file"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_before_training(
    study: Path, change: dict[str, object], kind: type[EspalierError], words: str
) -> None:
    with pytest.raises(kind) as told:
        gathered(study, replace(TINY, **change))
    assert words in str(told.value)


def test_a_finding_that_no_training_scan_has_is_named(study: Path) -> None:
    with pytest.raises(InputError, match="none of 9 training scans has green"):
        gathered(study, findings=(*FINDINGS, "green"))


def test_no_finding_at_all_is_refused(study: Path) -> None:
    with pytest.raises(SettingsError, match="no finding to learn"):
        gathered(study, findings=())


def test_a_study_without_training_scans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training scan"):
        gathered(write_study(tmp_path, train=0, validation=3))


def test_masks_that_no_training_scan_has_are_missed(tmp_path: Path) -> None:
    folder = write_study(tmp_path, train=4, validation=1, without_masks=4)
    with pytest.raises(MissingError, match="none of 4 training scans has masks"):
        gathered(folder)
    assert len(gathered(folder, supervised(weight=0.0)).train.scans) == 4


def test_the_best_weights_need_a_validation_scan(tmp_path: Path) -> None:
    folder = write_study(tmp_path, train=4, validation=0)
    with pytest.raises(SettingsError, match="no scan validates"):
        gathered(folder, replace(TINY, keep="best"))
    assert gathered(folder).validation.scans == ()


def test_without_a_store_the_stage_to_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="prepare"):
        gathered(tmp_path)
