import pytest

from espalier.networks.options import NetworkSize
from espalier.settings import parse
from espalier.training.options import SupervisionOptions, TrainingOptions


def test_options_are_read_from_a_settings_file() -> None:
    tables = {"crop": [96, 192, 192], "seeds": [0, 1], "network_size": {"width": 16}, "supervision": {"structures": ["liver"]}}
    options = parse(TrainingOptions, tables, source="study")
    assert options.seeds == (0, 1)
    assert options.network_size == NetworkSize(width=16)
    assert options.supervision.structures == ("liver",)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"warmup": 1.0}, "warmup"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"crop": (0, 4, 4)}, "crop"),
        ({"network": "vit_3d", "crop": (17, 16, 16)}, "crop"),
    ],
)
def test_an_impossible_setting_is_refused_by_its_name(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=f"^{word} is"):
        TrainingOptions(**change)


@pytest.mark.parametrize("change", [{"weight": -1.0}, {"disturb": 1.5}, {"class_balance": 2.0}])
def test_an_impossible_supervision_is_refused_by_its_name(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(change))} is"):
        SupervisionOptions(**change)
