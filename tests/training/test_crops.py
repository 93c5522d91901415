import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.conftest import FINDINGS, TINY

from espalier.training.crops import ahead, centre_batch, class_weights, mask_crop, training_batch
from espalier.training.inputs import gather
from espalier.training.options import SupervisionOptions
from espalier.training.order import crop_and_jitter


def test_a_batch_holds_scaled_crops_with_their_masks_and_targets(study: Path) -> None:
    inputs = gather(TINY, folder=study, findings=FINDINGS, seed=0)
    batch = training_batch(inputs, TINY, seed=0, epoch=1, numbers=[3, 0])
    box, _, _ = crop_and_jitter((10, 12, 14), TINY.crop, seed=0, epoch=1, index=3)
    hu = inputs.store.voxels("scan003", box)
    np.testing.assert_allclose(batch.voxels[0, 0].numpy(), np.clip((hu + 1000) / 600 - 1, -1, 1), atol=1e-6)
    assert batch.masks is not None
    assert np.array_equal(batch.masks[0].numpy(), inputs.store.masks("scan003", box))
    assert batch.mask_weights.tolist() == [1, 0]
    assert batch.targets.tolist() == inputs.train.targets[[3, 0]].tolist()


def test_a_batch_is_a_function_of_seed_and_epoch(study: Path) -> None:
    options = replace(TINY, intensity_jitter=0.1)
    inputs = gather(options, folder=study, findings=FINDINGS, seed=0)
    first, again, later = (training_batch(inputs, options, seed=0, epoch=e, numbers=[1, 2, 3]) for e in (1, 1, 2))
    assert torch.equal(first.voxels, again.voxels)
    assert not torch.equal(first.voxels, later.voxels)
    plain = training_batch(inputs, TINY, seed=0, epoch=1, numbers=[1, 2, 3])
    assert 0 < float((first.voxels - plain.voxels).abs().max()) <= 0.2 + 1e-6


def test_arms_see_the_same_voxels(study: Path) -> None:
    batches = []
    for supervision in (SupervisionOptions(weight=0.0), SupervisionOptions(), SupervisionOptions(masks_of="other scans")):
        options = replace(TINY, supervision=supervision)
        inputs = gather(options, folder=study, findings=FINDINGS, seed=0)
        batches.append(training_batch(inputs, options, seed=0, epoch=1, numbers=[1, 2, 3]))
    assert batches[0].masks is None
    assert torch.equal(batches[0].voxels, batches[1].voxels)
    assert torch.equal(batches[0].voxels, batches[2].voxels)


def test_disturbed_masks_belong_to_the_scan_wherever_it_is_cropped(study: Path) -> None:
    inputs = gather(TINY, folder=study, findings=FINDINGS, seed=0)
    whole = mask_crop(inputs, "scan003", (slice(0, 10), slice(0, 12), slice(0, 14)), disturb=0.5)
    assert not np.array_equal(whole, inputs.store.masks("scan003"))
    box = (slice(1, 9), slice(2, 12), slice(3, 12))
    crop = mask_crop(inputs, "scan003", box, disturb=0.5)
    assert np.mean(crop != whole[box]) < 0.02
    inner = tuple(slice(1, -1) for _ in range(3))
    assert np.array_equal(crop[inner], whole[box][inner])


def test_centre_crops_are_the_centre(study: Path) -> None:
    inputs = gather(TINY, folder=study, findings=FINDINGS, seed=0)
    hu = inputs.store.voxels("scan002", (slice(1, 9), slice(1, 11), slice(1, 13)))
    assert centre_batch(inputs, TINY, ["scan002"])[0, 0].numpy() == pytest.approx(
        np.clip((hu + 1000) / 600 - 1, -1, 1), abs=1e-6
    )


def test_balanced_classes_weigh_the_inverse_of_their_volume(study: Path) -> None:
    inputs = gather(TINY, folder=study, findings=FINDINGS, seed=0)
    voxels = sum(np.bincount(inputs.store.masks(s).ravel(), minlength=3) for s in inputs.train.scans[1:])
    weights = class_weights(inputs, 1.0)
    np.testing.assert_allclose(weights * voxels, (weights * voxels)[0], rtol=1e-5)
    assert float((weights * voxels).sum() / voxels.sum()) == pytest.approx(1.0, rel=1e-6)
    np.testing.assert_allclose(class_weights(inputs, 0.0), 1.0)


def test_work_is_done_ahead_in_order_and_its_errors_arrive() -> None:
    done: list[int] = []

    def work(job: int) -> int:
        if job == 4:
            raise ValueError("job 4")
        done.append(job)
        return job * 10

    answers = ahead(range(9), work)
    assert next(answers) == 0
    deadline = time.monotonic() + 5
    while len(done) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done == [0, 1, 2]
    assert [next(answers) for _ in range(3)] == [10, 20, 30]
    with pytest.raises(ValueError, match="job 4"):
        next(answers)
    assert threading.active_count() <= 2
