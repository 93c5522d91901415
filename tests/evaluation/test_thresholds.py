import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.evaluation.metrics import at_threshold
from espalier.evaluation.thresholds import choose_threshold

PRESENT = np.array([False, False, True, False, True, True])
PROBABILITIES = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.9])


def test_youden_takes_the_threshold_with_the_largest_sum_of_sensitivity_and_specificity() -> None:
    chosen = choose_threshold(PRESENT, PROBABILITIES, rule="youden", at=0.9)
    assert chosen.value == pytest.approx(0.5)
    assert (chosen.positives, chosen.negatives) == (3, 3)


def test_a_wanted_sensitivity_is_reached_by_the_highest_threshold_that_does() -> None:
    assert choose_threshold(PRESENT, PROBABILITIES, rule="sensitivity", at=0.9).value == pytest.approx(0.25)
    assert choose_threshold(PRESENT, PROBABILITIES, rule="sensitivity", at=0.6).value == pytest.approx(0.5)


def test_a_wanted_specificity_is_reached_by_the_lowest_threshold_that_does() -> None:
    assert choose_threshold(PRESENT, PROBABILITIES, rule="specificity", at=0.6).value == pytest.approx(0.25)
    unreachable = choose_threshold(np.array([True, False]), np.array([0.3, 0.8]), rule="specificity", at=0.9)
    assert unreachable.value > 0.8


def test_nine_of_ten_reaches_nine_tenths() -> None:
    present = np.array([True] * 10 + [False] * 10)
    probabilities = np.concatenate([np.linspace(0.1, 1.0, 10), np.linspace(0.05, 0.95, 10)])
    for rule, measure in (("sensitivity", "sensitivity"), ("specificity", "specificity")):
        chosen = choose_threshold(present, probabilities, rule=rule, at=0.9)
        assert at_threshold(present, probabilities, chosen.value)[measure] == 0.9


def test_without_positives_in_validation_the_default_stands_and_says_so() -> None:
    chosen = choose_threshold(np.zeros(4, dtype=bool), np.linspace(0, 1, 4), rule="youden", at=0.9)
    assert (chosen.value, chosen.rule, chosen.positives) == (0.5, "default", 0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=40), st.floats(0.05, 0.95))
@settings(deadline=None)
def test_the_wanted_share_is_always_reached(rows: list[tuple[bool, float]], at: float) -> None:
    present, probabilities = np.array([p for p, _ in rows]), np.array([s for _, s in rows])
    if present.all() or not present.any():
        return
    for rule in ("sensitivity", "specificity"):
        chosen = choose_threshold(present, probabilities, rule=rule, at=at)
        assert at_threshold(present, probabilities, chosen.value)[rule] >= at
