import numpy as np
import polars as pl
import pytest

from espalier.errors import SettingsError
from espalier.labels.findings import FINDINGS
from espalier.labels.options import LabelOptions
from espalier.labels.targets import options_by_finding, target_arrays, target_of


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


def test_each_finding_may_be_read_in_its_own_way() -> None:
    options = LabelOptions(
        uncertain_of={"Lung nodule": "soft", "emphysema": "ignore"}, not_mentioned_of={"emphysema": "ignore"}
    )
    own = options_by_finding(options, ("lung_nodule", "emphysema", "hernia"))
    assert [target_of("uncertain", own[f]) for f in own] == [(0.75, 1.0), (0.0, 0.0), (1.0, 1.0)]
    assert [target_of("not_mentioned", own[f]) for f in own] == [(0.0, 1.0), (0.0, 0.0), (0.0, 1.0)]


@pytest.mark.parametrize("state", ["uncertain", "not_mentioned", "failed"])
def test_a_report_that_could_not_be_read_trains_nothing_whatever_is_set(state: str) -> None:
    options = LabelOptions(uncertain="ones", uncertain_of={"hernia": "ones"}, not_mentioned="zeros")
    assert target_of("failed", options_by_finding(options, ("hernia",))["hernia"])[1] == 0.0
    assert target_of(state, options)[1] == float(state != "failed")


def test_the_columns_of_a_structure_are_set_together() -> None:
    own = options_by_finding(LabelOptions(uncertain_of={"liver": "zeros", "any_injury": "soft"}), FINDINGS["ratic"])
    assert [f for f, each in own.items() if each.uncertain == "zeros"] == ["liver_healthy", "liver_low", "liver_high"]
    assert own["any_injury"].uncertain == "soft"
    with pytest.raises(SettingsError, match=r"'liver_low', one of several columns of liver.*Write liver instead"):
        options_by_finding(LabelOptions(uncertain_of={"liver_low": "zeros"}), FINDINGS["ratic"])


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"Lung nodul": "soft"}, "no finding 'Lung nodul'.*Did you mean lung_nodule"),
        ({"xyz": "soft"}, "Name some of lung_nodule, emphysema"),
        ({"Lung nodule": "soft", "lung_nodule": "ones"}, "'lung_nodule' names a finding twice"),
    ],
)
def test_a_name_that_is_no_finding_is_refused_and_the_nearest_is_named(own: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as error:
        options_by_finding(LabelOptions(uncertain_of=own), ("lung_nodule", "emphysema"))
    assert "[labels.uncertain_of]" in str(error.value)
