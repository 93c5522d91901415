import pytest

from espalier.cohort.options import CohortOptions, SplitOptions
from espalier.errors import SettingsError
from espalier.settings import parse


def test_options_are_read_strictly_from_toml_values() -> None:
    options = parse(CohortOptions, {"sources": ["a", "b"], "layout": "dicom", "min_slices": 20}, source="study.toml")
    assert options == CohortOptions(sources=("a", "b"), layout="dicom", min_slices=20)


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"sources": []}, "sources"),
        ({"sources": ["a"], "max_slice_mm": 0.0}, "max_slice_mm"),
        ({"sources": ["a"], "min_slices": 0}, "min_slices"),
        ({"sources": ["a"], "layouts": "dicom"}, "Did you mean layout"),
    ],
)
def test_wrong_settings_are_named(tables: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        parse(CohortOptions, tables, source="study.toml")


@pytest.mark.parametrize("share", [-0.1, 1.0])
@pytest.mark.parametrize("name", ["test", "validation"])
def test_shares_lie_between_nothing_and_all(name: str, share: float) -> None:
    with pytest.raises(ValueError, match=name):
        SplitOptions(**{name: share})
