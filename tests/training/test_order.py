import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.errors import InputError
from espalier.training.order import batches_of, centre_crop, crop_and_jitter, exchange, scan_order, step_seed


def test_an_epoch_visits_every_scan_once_in_an_order_of_its_own() -> None:
    first, second = scan_order(50, seed=0, epoch=1), scan_order(50, seed=0, epoch=2)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first.tolist() != second.tolist()
    assert first.tolist() != scan_order(50, seed=1, epoch=1).tolist()
    assert first.tolist() == scan_order(50, seed=0, epoch=1).tolist()


def test_only_whole_batches_are_learned_from() -> None:
    assert [len(b) for b in batches_of(11, 4, seed=0, epoch=1)] == [4, 4]
    assert [len(b) for b in batches_of(3, 4, seed=0, epoch=1)] == [3]


@given(st.integers(0, 2**31), st.integers(1, 1000), st.integers(0, 10**6))
def test_every_crop_lies_inside_the_scan(seed: int, epoch: int, index: int) -> None:
    box, factor, shift = crop_and_jitter((10, 20, 12), (8, 20, 5), seed=seed, epoch=epoch, index=index, jitter=0.1)
    for side, have, want in zip(box, (10, 20, 12), (8, 20, 5), strict=True):
        assert side.start >= 0
        assert side.stop <= have
        assert side.stop - side.start == want
    assert abs(factor - 1) <= 0.1
    assert abs(shift) <= 0.1
    assert crop_and_jitter((10, 20, 12), (8, 20, 5), seed=seed, epoch=epoch, index=index, jitter=0.1) == (box, factor, shift)


def test_crops_reach_both_borders() -> None:
    starts = {crop_and_jitter((10, 4, 4), (8, 4, 4), seed=0, epoch=e, index=0)[0][0].start for e in range(40)}
    assert starts == {0, 1, 2}


def test_jitter_does_not_move_the_crop() -> None:
    plain = crop_and_jitter((10, 20, 12), (8, 8, 5), seed=0, epoch=1, index=3)
    assert plain[1:] == (1.0, 0.0)
    assert plain[0] == crop_and_jitter((10, 20, 12), (8, 8, 5), seed=0, epoch=1, index=3, jitter=0.2)[0]


def test_the_centre_crop_lies_in_the_centre() -> None:
    assert centre_crop((10, 9, 8), (4, 4, 8)) == (slice(3, 7), slice(2, 6), slice(0, 8))


def test_steps_have_seeds_of_their_own() -> None:
    assert len({step_seed(seed, step) for seed in range(3) for step in range(100)}) == 300


@given(st.lists(st.integers(0, 6), min_size=2, max_size=30), st.integers(0, 100))
def test_the_placebo_gives_every_scan_the_masks_of_another_patient(owners: list[int], seed: int) -> None:
    patients = {f"scan{i:02d}": f"patient{owner}" for i, owner in enumerate(owners)}
    if 2 * np.bincount(owners).max() > len(owners):
        with pytest.raises(InputError, match="one patient"):
            exchange(patients, seed=seed)
        return
    given_to = exchange(patients, seed=seed)
    assert sorted(given_to) == sorted(given_to.values()) == sorted(patients)
    assert all(patients[scan] != patients[other] for scan, other in given_to.items())
    assert given_to == exchange(dict(reversed(patients.items())), seed=seed)


def test_the_placebo_differs_between_seeds() -> None:
    patients = {f"scan{i:02d}": f"patient{i}" for i in range(20)}
    assert exchange(patients, seed=0) != exchange(patients, seed=1)
