import pytest

from espalier.errors import SettingsError
from espalier.masks.options import MaskOptions
from espalier.settings import parse


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"structures": "thorax"}, "structures"),
        ({"structures": ["liver", "liver"]}, "structures"),
        ({"disturb": 1.5}, "disturb"),
        ({"disturb": -0.1}, "disturb"),
        ({"seed": -1}, "seed"),
        ({"source": "threshold", "structures": "chest"}, "threshold"),
        ({"source": "threshold", "structures": "threshold", "folder": "m"}, "folder"),
        ({"source": "magic"}, "source"),
    ],
)
def test_a_wrong_setting_is_refused_and_named(settings: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        parse(MaskOptions, settings, source="study.toml")


def test_settings_are_read_as_they_stand_in_a_study() -> None:
    options = parse(MaskOptions, {"source": "threshold", "structures": ["lung_left", "lung_right"]}, source="study.toml")
    assert options.structures == ("lung_left", "lung_right")
