import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.comparison.tests import bootstrap_p, holm


def test_holm_is_the_worked_case_of_the_method() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_a_difference_on_both_sides_of_nothing_has_a_large_p_value() -> None:
    assert bootstrap_p(np.linspace(-1, 1, 100)) == 1.0
    assert bootstrap_p(np.linspace(0.1, 1, 99)) == pytest.approx(2 / 100)
    assert bootstrap_p(np.array([np.nan, 0.1, 0.2])) == pytest.approx(2 / 3)
