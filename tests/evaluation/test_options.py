import pytest

from espalier.errors import SettingsError
from espalier.evaluation.options import EvaluationOptions
from espalier.settings import parse


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"at": 1.0}, "at is 1.0"),
        ({"resamples": 0}, "resamples is 0"),
    ],
)
def test_a_wrong_value_is_named(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EvaluationOptions(**wrong)


def test_a_study_file_may_say_the_rule() -> None:
    assert parse(EvaluationOptions, {"threshold": "sensitivity", "at": 0.95}, source="x").at == 0.95
    with pytest.raises(SettingsError, match="threshold"):
        parse(EvaluationOptions, {"threshold": "best"}, source="x")
