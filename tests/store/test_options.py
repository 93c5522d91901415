import pytest

from espalier.errors import SettingsError
from espalier.settings import parse
from espalier.store.options import StoreOptions


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"spacing_mm": [3.0, 0.0, 1.5]}, "spacing_mm"),
        ({"spacing_mm": [3.0, 1.5]}, "spacing_mm"),
        ({"window_hu": [200.0, -1000.0]}, "window_hu"),
        ({"shape": [120, 0, 240]}, "shape"),
        ({"spacing": [3.0, 1.5, 1.5]}, "Did you mean spacing_mm"),
    ],
)
def test_a_wrong_setting_is_refused_and_named(settings: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        parse(StoreOptions, settings, source="study.toml")


def test_the_defaults_are_the_papers_for_the_chest() -> None:
    options = StoreOptions()
    assert (options.spacing_mm, options.shape) == ((3.0, 1.5, 1.5), (120, 240, 240))
    assert options.window_hu == (-1000.0, 200.0)
