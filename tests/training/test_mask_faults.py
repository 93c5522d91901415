"""Gross faults of masks, and masks that are trusted by half, as training sees them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.conftest import FINDINGS, TINY, write_study

from espalier.errors import SettingsError
from espalier.store.read import open_store
from espalier.training.crops import fault_of, mask_crop, training_batch
from espalier.training.inputs import Inputs, gather
from espalier.training.options import SupervisionOptions, TrainingOptions

WHOLE = (slice(0, 10), slice(0, 12), slice(0, 14))


def gathered(folder: Path, options: TrainingOptions = TINY) -> Inputs:
    return gather(options, folder=folder, findings=FINDINGS, seed=0)


def faulty(kind: str, share: float = 1.0) -> TrainingOptions:
    return replace(TINY, supervision=SupervisionOptions(gross_fault=kind, gross_share=share))


def weighed(study: Path, folder: Path, weights: dict[str, float]) -> Path:
    """Return a copy of a study whose store says how far some masks are trusted."""
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("runs"))
    path = folder / "store.json"
    content = json.loads(path.read_text("utf-8"))
    for scan, weight in weights.items():
        content["scans"][scan]["mask_weight"] = weight
    path.write_text(json.dumps(content), "utf-8")
    return folder


def test_masks_that_are_trusted_by_half_weigh_half_in_their_batch(study: Path, tmp_path: Path) -> None:
    inputs = gathered(weighed(study, tmp_path / "other", {"scan003": 0.5}))
    assert inputs.mask_weights.tolist() == [0, 1, 1, 0.5, 1, 1, 1, 1, 1]
    batch = training_batch(inputs, TINY, seed=0, epoch=1, numbers=[2, 3, 0])
    assert batch.mask_weights.tolist() == [1, 0.5, 0]
    assert batch.masks is not None
    assert batch.masks[1].any()


def test_trust_alone_gives_the_batches_of_a_store_that_knows_no_weights(study: Path, tmp_path: Path) -> None:
    scans = open_store(study).scans
    trusted = gathered(weighed(study, tmp_path / "other", dict.fromkeys(scans[1:], 1.0)))
    plain = gathered(study)
    for numbers in ([1, 2, 3], [0, 4, 5]):
        one, other = (training_batch(inputs, TINY, seed=0, epoch=1, numbers=numbers) for inputs in (plain, trusted))
        assert one.masks is not None
        assert other.masks is not None
        assert torch.equal(one.masks, other.masks)
        assert torch.equal(one.mask_weights, other.mask_weights)


def test_the_placebo_weighs_masks_by_the_scan_they_come_from(study: Path, tmp_path: Path) -> None:
    options = replace(TINY, supervision=SupervisionOptions(masks_of="other scans"))
    inputs = gathered(weighed(study, tmp_path / "other", {"scan003": 0.5}), options)
    expected = [0.5 if scan == "scan003" else float(scan is not None) for scan in inputs.masks_of]
    assert inputs.mask_weights.tolist() == expected


def test_swapped_sides_exchange_the_numbers_and_nothing_else(study: Path) -> None:
    inputs, options = gathered(study), faulty("swap")
    own = inputs.store.masks("scan003")
    swapped = mask_crop(inputs, "scan003", WHOLE, fault=fault_of(inputs, options, "scan003", 0))
    np.testing.assert_array_equal(swapped, np.array([0, 2, 1])[own])


def test_a_missing_structure_is_background_and_the_rest_stays(study: Path) -> None:
    inputs, options = gathered(study), faulty("missing")
    gone = set()
    for scan in inputs.train.scans[1:]:
        own = inputs.store.masks(scan)
        left = mask_crop(inputs, scan, WHOLE, fault=fault_of(inputs, options, scan, 0))
        missing = set(np.unique(own)) - set(np.unique(left))
        assert len(missing) == 1
        np.testing.assert_array_equal(left, np.where(np.isin(own, list(missing)), 0, own))
        gone |= missing
    assert gone == {1, 2}


def test_shifted_masks_are_moved_by_20_mm_as_a_whole_and_every_crop_shows_the_same(tmp_path: Path) -> None:
    folder = write_study(tmp_path, train=9, shape=(24, 40, 44))
    options = replace(faulty("shift"), crop=(16, 30, 30))
    inputs = gathered(folder, options)
    whole = (slice(0, 24), slice(0, 40), slice(0, 44))
    steps = set()
    for scan in inputs.train.scans[1:]:
        fault = fault_of(inputs, options, scan, 0)
        assert fault is not None
        own, moved = inputs.store.masks(scan), mask_crop(inputs, scan, whole, fault=fault)
        padded = np.pad(own, 20)
        z, y, x = (20 - step for step in fault.step)
        np.testing.assert_array_equal(moved, padded[z : z + 24, y : y + 40, x : x + 44])
        box = (slice(3, 19), slice(7, 37), slice(11, 41))
        np.testing.assert_array_equal(mask_crop(inputs, scan, box, fault=fault), moved[box])
        steps.add(fault.step)
    lengths = {tuple(abs(step) * mm for step, mm in zip(own, (3.0, 1.5, 1.5), strict=True)) for own in steps}
    assert lengths <= {(21.0, 0, 0), (0, 19.5, 0), (0, 0, 19.5)}
    assert len(steps) >= 3


def test_faults_and_boundary_disturbance_go_together(study: Path) -> None:
    inputs, options = gathered(study), faulty("swap")
    fault = fault_of(inputs, options, "scan003", 0)
    disturbed = mask_crop(inputs, "scan003", WHOLE, disturb=0.5)
    both = mask_crop(inputs, "scan003", WHOLE, disturb=0.5, fault=fault)
    np.testing.assert_array_equal(both > 0, disturbed > 0)
    assert (both != disturbed).any()


def test_a_batch_holds_the_fault_and_leaves_the_voxels(study: Path) -> None:
    plain = training_batch(gathered(study), TINY, seed=0, epoch=1, numbers=[1, 2, 3])
    options = faulty("swap")
    inputs = gathered(study, options)
    batch = training_batch(inputs, options, seed=0, epoch=1, numbers=[1, 2, 3])
    assert torch.equal(plain.voxels, batch.voxels)
    assert plain.masks is not None
    assert batch.masks is not None
    assert not torch.equal(plain.masks, batch.masks)
    assert inputs.key != gathered(study).key


@pytest.mark.parametrize(
    "setting", [{"gross_fault": "swap"}, {"gross_share": 0.5}, {"gross_fault": "shift", "gross_share": 1.5}]
)
def test_half_a_setting_and_an_impossible_share_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="gross_share"):
        SupervisionOptions(**setting)


def test_sides_cannot_be_swapped_where_nothing_has_a_side(study: Path) -> None:
    options = replace(TINY, supervision=SupervisionOptions(gross_fault="swap", gross_share=0.5, structures=("right",)))
    with pytest.raises(SettingsError, match="counterpart on the other side"):
        gathered(study, options)
