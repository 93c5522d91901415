from math import erf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from espalier.evaluation.intervals import (
    Estimate,
    draw_resamples,
    estimate,
    macro_of,
    resampled_auroc,
    resampled_aurocs,
    sides,
)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=3, max_size=30))
@settings(deadline=None)
def test_the_auroc_under_a_resample_is_that_of_the_scans_written_out(rows: list[tuple[bool, int, int]]) -> None:
    present, scores, times = (np.array(column) for column in zip(*rows, strict=True))
    ours = resampled_auroc(present, scores[None, None].astype(float), times[:, None].astype(np.float32))[0, 0]
    written_out = np.repeat(present, times)
    if written_out.all() or not written_out.any():
        assert np.isnan(ours)
    else:
        assert ours == pytest.approx(roc_auc_score(written_out, np.repeat(scores, times)))


def test_many_scans_in_float32_and_in_float64_agree_to_the_last_bit() -> None:
    generator = np.random.default_rng(0)
    present = generator.random(900) < 0.4
    scores = generator.integers(0, 50, (1, 1, 900)).astype(float)
    counts = generator.integers(0, 4, (900, 7)).astype(np.float32)
    once = resampled_auroc(present, scores, counts)
    # Forty equal seeds exceed what float32 counts exactly, so the second call works in float64.
    again = resampled_auroc(present, np.repeat(scores, 40, axis=1), counts)
    np.testing.assert_array_equal(once, again)


def test_seeds_are_averaged() -> None:
    present = np.array([True, False, True, False])
    scores = np.array([[[0.9, 0.1, 0.8, 0.2], [0.1, 0.9, 0.2, 0.8]]])
    assert resampled_auroc(present, scores, np.ones((4, 1), dtype=np.float32)).tolist() == [[0.5]]


def test_scans_of_one_patient_always_count_alike() -> None:
    patients = [f"p{i // 3}" for i in range(30)]
    targets = np.tile([[1.0], [0.0], [1.0]], (10, 1))
    counts = draw_resamples(patients, targets, np.ones_like(targets), resamples=200, seed=1)
    of_patients = counts.reshape(10, 3, -1)
    assert (of_patients == of_patients[:, :1]).all()
    assert (of_patients[:, 0].sum(axis=0) == 10).all()
    assert len(np.unique(counts[:, 1:], axis=1).T) > 150


def test_the_first_resample_is_the_cohort_itself() -> None:
    targets = np.array([[1.0], [0.0], [0.0]])
    assert (draw_resamples(["a", "b", "c"], targets, np.ones_like(targets), resamples=5, seed=0)[:, 0] == 1).all()


def test_no_resample_lacks_the_positives_of_a_rare_finding() -> None:
    targets = np.zeros((40, 2))
    targets[0, 0] = targets[1:20, 1] = 1.0
    patients = [f"p{i}" for i in range(40)]
    counts = draw_resamples(patients, targets, np.ones_like(targets), resamples=500, seed=0)
    assert (counts[0] > 0).all()


def test_a_finding_without_positives_does_not_stop_the_draw() -> None:
    targets = np.zeros((10, 1))
    counts = draw_resamples([f"p{i}" for i in range(10)], targets, np.ones_like(targets), resamples=20, seed=0)
    areas = resampled_aurocs(np.zeros((1, 1, 10, 1)), targets, np.ones_like(targets), counts)
    assert estimate(areas[0, 0], positives=0, negatives=10) is None


def test_equal_seeds_give_equal_resamples_and_other_seeds_others() -> None:
    targets = np.array([[1.0], [0.0]] * 10)
    patients = [f"p{i}" for i in range(20)]
    one, two, other = (draw_resamples(patients, targets, np.ones_like(targets), resamples=30, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_the_macro_leaves_out_what_a_resample_lacks() -> None:
    areas = np.array([[0.8, np.nan], [0.6, 0.9], [np.nan, np.nan]])
    assert macro_of(areas).tolist() == pytest.approx([0.7, 0.9])


def test_few_positives_are_not_to_be_trusted() -> None:
    assert not Estimate(0.9, 0.8, 1.0, positives=19, negatives=400).trusted
    assert Estimate(0.9, 0.8, 1.0, positives=20, negatives=20).trusted


def test_sides_count_only_scans_with_a_label() -> None:
    targets = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.75]])
    weights = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    assert sides(targets, weights) == [(1, 1), (0, 1)]


def test_intervals_of_a_paired_difference_hold_the_truth_in_about_95_of_100_studies() -> None:
    """Two networks whose scores share half their noise; scans come in pairs of one patient."""
    generator = np.random.default_rng(7)
    truth = _area(1.2) - _area(0.8)
    held = 0
    for study in range(200):
        present = np.repeat(generator.random(60) < 0.4, 2)
        shared = np.repeat(generator.normal(size=60), 2) * 0.6 + generator.normal(size=120) * 0.37
        own = np.repeat(generator.normal(size=(2, 60)), 2, axis=1) * 0.5 + generator.normal(size=(2, 120)) * 0.5
        scores = (shared + own) / np.sqrt(0.6**2 + 0.37**2 + 0.5) + present * np.array([[0.8], [1.2]])
        targets = present[:, None].astype(float)
        patients = [f"p{i // 2}" for i in range(120)]
        counts = draw_resamples(patients, targets, np.ones_like(targets), resamples=400, seed=study)
        plain, masks = resampled_aurocs(scores[:, None, :, None], targets, np.ones_like(targets), counts)[:, 0]
        gain = estimate(masks - plain, positives=int(present.sum()), negatives=int((~present).sum()))
        assert gain is not None
        held += gain.low <= truth <= gain.high
    assert 0.90 <= held / 200 <= 0.985


def _area(shift: float) -> float:
    """AUROC of unit normals `shift` apart: Φ(shift / √2)."""
    return 0.5 * (1 + erf(shift / 2))
