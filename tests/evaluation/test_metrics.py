import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from espalier.evaluation.metrics import (
    at_threshold,
    auroc,
    average_precision,
    counted,
    finding_metrics,
    macro,
    macro_auroc,
)

PAIRS = st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60).filter(
    lambda rows: len({present for present, _ in rows}) == 2
)


def both(rows: list[tuple[bool, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([present for present, _ in rows]), np.array([score / 6 for _, score in rows])


@given(PAIRS)
@settings(deadline=None)
def test_areas_are_those_of_scikit_learn_with_ties(rows: list[tuple[bool, int]]) -> None:
    present, scores = both(rows)
    assert auroc(present, scores) == pytest.approx(roc_auc_score(present, scores))
    assert average_precision(present, scores) == pytest.approx(average_precision_score(present, scores))


@given(PAIRS, st.integers(0, 7))
@settings(deadline=None)
def test_measures_at_a_threshold_are_those_of_scikit_learn(rows: list[tuple[bool, int]], step: int) -> None:
    present, scores = both(rows)
    threshold = step / 6
    called = scores >= threshold
    ours = at_threshold(present, scores, threshold)
    assert ours["sensitivity"] == pytest.approx(recall_score(present, called))
    assert ours["specificity"] == pytest.approx(recall_score(~present, ~called))
    assert ours["precision"] == pytest.approx(precision_score(present, called, zero_division=0))
    assert ours["f1"] == pytest.approx(f1_score(present, called))
    assert ours["f1_weighted"] == pytest.approx(f1_score(present, called, average="weighted"))


def test_a_finding_without_positives_is_told_and_left_out_of_the_macro_mean() -> None:
    scores = np.array([0.1, 0.7, 0.4])
    lacking = finding_metrics("emphysema", np.zeros(3, dtype=bool), scores, threshold=0.5)
    whole = finding_metrics("nodule", np.array([False, True, False]), scores, threshold=0.5)
    assert lacking.why == "no positives"
    assert lacking.auroc is None
    assert macro([lacking, whole])["auroc"] == 1.0
    assert macro([lacking]) == {}


def test_a_finding_without_negatives_or_without_any_label_is_told_too() -> None:
    assert finding_metrics("a", np.ones(2, dtype=bool), np.zeros(2), threshold=0.5).why == "no negatives"
    assert finding_metrics("a", np.zeros(0, dtype=bool), np.zeros(0), threshold=0.5).why == "no scan with a label"


def test_unlabelled_and_soft_targets_do_not_count() -> None:
    targets, weights = np.array([1.0, 0.0, 0.75, 1.0]), np.array([1.0, 2.0, 1.0, 0.0])
    assert counted(targets, weights).tolist() == [True, True, False, False]


def test_the_macro_auroc_of_a_curve_is_the_mean_over_findings_with_both_sides() -> None:
    targets = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    scores = np.array([[0.9, 0.5, 0.1], [0.1, 0.6, 0.2], [0.1, 0.4, 0.3]])
    assert macro_auroc(scores, targets, np.ones((3, 3))) == pytest.approx((1.0 + 0.5) / 2)
    assert macro_auroc(scores, targets, np.zeros((3, 3))) is None
