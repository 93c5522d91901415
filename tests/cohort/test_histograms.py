import re

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.cohort.histograms import BARS, bars_of, edge_words, histogram, round_step, short

NUMBERS = st.lists(st.floats(-3000, 3000).map(lambda v: round(v, 3)), min_size=1, max_size=60)


@given(NUMBERS)
def test_every_value_stands_in_one_bar_and_bars_stay_few(numbers: list[float]) -> None:
    bars = bars_of(np.sort(np.array(numbers)))
    assert bars.counts.sum() == len(numbers)
    assert len(bars.counts) <= BARS + 2
    assert len({edge_words(bars, n) for n in range(len(bars.edges))}) == len(bars.edges)


@given(NUMBERS)
def test_a_value_stands_between_the_edges_of_its_bar(numbers: list[float]) -> None:
    bars = bars_of(np.sort(np.array(numbers)))
    step = bars.edges[1] - bars.edges[0]
    for n in range(1, len(bars.counts) - 1):
        inside = [v for v in numbers if bars.edges[n] - 1e-6 * step <= v < bars.edges[n + 1] - 1e-6 * step]
        assert bars.counts[n] == len(inside)


@given(st.floats(1e-6, 1e6))
def test_a_width_is_round_and_wide_enough(width: float) -> None:
    step = round_step(width)
    assert width * (1 - 1e-6) <= step <= 2.5 * width
    assert f"{step:.0e}"[0] in "125" or f"{step:.1e}"[:3] == "2.5"


def test_one_stray_value_squeezes_nothing() -> None:
    numbers = np.sort(np.append(np.random.default_rng(0).uniform(1, 5, 500), 1e6))
    bars = bars_of(numbers)
    assert bars.edges[-1] < 6
    assert np.count_nonzero(bars.counts) > 10


def test_whole_numbers_stand_in_bars_of_whole_numbers() -> None:
    bars = bars_of(np.array([60.0, 61.0, 61.0, 64.0]))
    assert bars.edges.tolist() == [60, 61, 62, 63, 64, 65]
    assert bars.counts.tolist() == [1, 2, 0, 0, 1]


def test_round_values_begin_their_own_bar() -> None:
    bars = bars_of(np.repeat(np.arange(1, 25) / 10, 12))
    assert bars.counts.tolist() == [12] * 24


def test_few_values_stand_in_few_bars_and_whole_ones_evenly() -> None:
    bars = bars_of(np.arange(0.0, 36.0))
    assert bars.counts.tolist() == [5] * 7 + [1]


def test_the_caption_tells_middle_range_and_what_is_not_stated() -> None:
    drawn = histogram(pl.Series([1.0, 2.0, 3.0, None, float("nan")]), title="Size", unit="mm")
    assert "median 2; nine in ten from 1 to 3; all from 1 to 3; not stated for 2</figcaption>" in drawn
    assert ">Size, mm</h3>" in drawn
    assert drawn.count("<rect") == 3


def test_equal_values_are_told_as_such_and_none_draw_nothing() -> None:
    assert "5 mm throughout" in histogram(pl.Series([5.0, 5.0]), title="Size", unit="mm")
    assert histogram(pl.Series([None, None], dtype=pl.Float64), title="Size", unit="mm") == ""
    assert histogram(pl.Series([], dtype=pl.Float64), title="Size", unit="mm") == ""


@pytest.mark.parametrize(("mark", "drawn"), [(2.0, True), (9.0, False)])
def test_a_limit_is_marked_where_it_lies_within(mark: float, *, drawn: bool) -> None:
    assert ('class="mark"' in histogram(pl.Series([1.0, 3.0]), title="Size", unit="mm", mark=mark)) is drawn


@pytest.mark.parametrize("bars", range(1, 27))
def test_numbers_under_the_bars_do_not_run_into_each_other(bars: int) -> None:
    drawn = histogram(pl.Series(np.repeat(np.arange(bars) - 1025.0, 200)), title="Value", unit="HU")
    places = [float(x) for x in re.findall(r' x="([-\d.]+)" y="138"', drawn)]
    assert 1 < len(places) <= 7
    assert min(np.diff(places)) >= 30


def test_nothing_is_drawn_outside_the_figure() -> None:
    drawn = histogram(pl.Series(np.random.default_rng(0).normal(-1000, 300, 999)), title="Value", unit="HU")
    places = [float(x) for x in re.findall(r' x="([-\d.]+)"', drawn)]
    assert 0 <= min(places) <= max(places) <= 320


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.625, "0.625"), (0.703125, "0.703"), (5.0, "5"), (1.25, "1.25"), (31.4, "31.4"), (-1023.6, "−1024"), (-0.0001, "0")],
)
def test_numbers_have_the_digits_that_tell_scans_apart(value: float, words: str) -> None:
    assert short(value) == words


def test_values_that_differ_by_the_noise_of_floats_alone_are_one_bar() -> None:
    drawn = histogram(pl.Series([5.0] * 40 + [5.0 + 9e-16 * n for n in range(40)]), title="Between slices", unit="mm")
    assert "5 mm throughout" in drawn
    assert drawn.count("<rect") == 1
