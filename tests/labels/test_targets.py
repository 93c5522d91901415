import numpy as np
import polars as pl
import pytest

from espalier.labels.options import LabelOptions
from espalier.labels.targets import target_arrays, target_of


@pytest.mark.parametrize(
    ("uncertain", "expected"), [("ones", (1.0, 1.0)), ("zeros", (0.0, 1.0)), ("ignore", (0.0, 0.0)), ("soft", (0.75, 1.0))]
)
def test_an_uncertain_mention_trains_what_the_option_says(uncertain: str, expected: tuple[float, float]) -> None:
    assert target_of("uncertain", LabelOptions(uncertain=uncertain)) == expected


def test_silence_trains_zero_or_nothing() -> None:
    assert target_of("not_mentioned", LabelOptions()) == (0.0, 1.0)
    assert target_of("not_mentioned", LabelOptions(not_mentioned="ignore")) == (0.0, 0.0)


def test_a_report_that_could_not_be_read_trains_nothing() -> None:
    assert target_of("failed", LabelOptions()) == (0.0, 0.0)


def test_a_column_for_health_has_the_complement_as_target() -> None:
    assert target_of("present", LabelOptions(), healthy=True) == (0.0, 1.0)
    assert target_of("not_mentioned", LabelOptions(), healthy=True) == (1.0, 1.0)


def test_arrays_have_the_asked_order_and_weight_zero_where_there_is_no_row() -> None:
    labels = pl.DataFrame(
        {
            "scan": ["b", "a", "b", ""],
            "finding": ["nodule", "nodule", "hernia", "nodule"],
            "target": [1.0, 0.0, 0.75, 1.0],
            "weight": [1.0, 1.0, 1.0, 1.0],
        }
    )
    targets, weights = target_arrays(labels, ("a", "b", "c"), ("hernia", "nodule"))
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, np.float32([[0, 0], [0.75, 1], [0, 0]]))
    np.testing.assert_array_equal(weights, np.float32([[0, 1], [1, 1], [0, 0]]))


def test_a_scan_asked_for_twice_gets_its_row_twice() -> None:
    labels = pl.DataFrame({"scan": ["a"], "finding": ["nodule"], "target": [1.0], "weight": [1.0]})
    targets, _ = target_arrays(labels, ("a", "a"), ("nodule",))
    assert targets.tolist() == [[1.0], [1.0]]
