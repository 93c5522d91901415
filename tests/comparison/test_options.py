import pytest

from espalier.comparison.options import ComparisonOptions


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"baseline": ""}, "baseline is empty"),
        ({"placebo": "plain"}, "placebo is 'plain'"),
        ({"resamples": 0}, "resamples is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_a_wrong_value_is_named(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ComparisonOptions(**wrong)
