from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.cohort.spread import spread_of
from espalier.errors import ScanError

NORMAL = np.array([0.0, 0.0, 1.0])


def places(gaps: list[float]) -> np.ndarray:
    along = np.concatenate([[0.0], np.cumsum(gaps)])
    return np.stack([np.zeros_like(along), np.zeros_like(along), along], axis=1)


def code_of(gaps: list[float], *, interpolate: bool = False) -> str:
    with pytest.raises(ScanError) as caught:
        spread_of(places(gaps), NORMAL, source="a", interpolate=interpolate)
    return caught.value.code


@settings(max_examples=50, deadline=None)
@given(step=st.floats(0.5, 8), count=st.integers(2, 60), seed=st.integers(0, 1000))
def test_even_slices_with_the_rounding_of_scanners_are_even(step: float, count: int, seed: int) -> None:
    at = places([step] * count)
    at[:, 2] += np.random.default_rng(seed).uniform(-0.04, 0.04, len(at))
    spread = spread_of(at, NORMAL, source="a")
    assert (spread.count, spread.along_mm, spread.notes) == (count + 1, None, ())
    assert spread.step[2] == pytest.approx(step, abs=0.1)


@settings(max_examples=50, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from([1.0, 2.5, 4.0, 5.0]), st.integers(3, 9)), min_size=2, max_size=4).filter(
        lambda parts: all(a[0] != b[0] for a, b in pairwise(parts))
    )
)
def test_parts_with_distances_of_their_own_keep_their_places(parts: list[tuple[float, int]]) -> None:
    gaps = [gap for gap, count in parts for _ in range(count)]
    spread = spread_of(places(gaps), NORMAL, source="a")
    assert spread.notes == ("spacing_varies",)
    assert spread.along_mm == pytest.approx(tuple(np.concatenate([[0.0], np.cumsum(gaps)])))
    assert spread.step[2] * (spread.count - 1) == pytest.approx(sum(gaps))
    assert spread.step[2] <= min(gap for gap, _ in parts) * 1.2


@pytest.mark.parametrize(
    ("gaps", "code"),
    [
        ([3.0] * 5 + [6.0] + [3.0] * 5, "missing_slice"),
        ([6.0] + [3.0] * 8, "missing_slice"),
        ([3.0] * 4 + [6.0, 6.0] + [3.0] * 4, "missing_slice"),
        ([3.0] * 4 + [9.0] + [3.0] * 4, "missing_slice"),
        ([3.0] * 4 + [4.1] + [3.0] * 4, "uneven_slices"),
        ([3.0, 3.6] * 5, "uneven_slices"),
        ([], "too_few_slices"),
    ],
)
def test_gaps_are_told_from_uneven_slices(gaps: list[float], code: str) -> None:
    assert code_of(gaps) == code


def test_one_missing_slice_is_interpolated_on_demand_two_are_not() -> None:
    spread = spread_of(places([3.0] * 5 + [6.0] + [3.0] * 5), NORMAL, source="a", interpolate=True)
    assert (spread.count, spread.notes) == (13, ("slice_interpolated",))
    assert code_of([3.0] * 5 + [6.0, 3.0, 6.0] + [3.0] * 5, interpolate=True) == "missing_slice"
    assert code_of([3.0] * 5 + [9.0] + [3.0] * 5, interpolate=True) == "missing_slice"


def test_a_slice_beside_the_line_of_the_others_is_shifted() -> None:
    at = places([3.0] * 8)
    at[4, 0] += 2.0
    with pytest.raises(ScanError) as caught:
        spread_of(at, NORMAL, source="a")
    assert caught.value.code == "shifted_slices"
