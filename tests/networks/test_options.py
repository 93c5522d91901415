import subprocess
import sys

import pytest

from espalier.networks.options import NetworkSize, full_size, misfit
from espalier.settings import parse


def test_what_is_left_open_is_the_published_size() -> None:
    chosen = full_size("swin3d_t", NetworkSize())
    assert (chosen.width, chosen.depths, chosen.patch, chosen.heads) == (96, (2, 2, 6, 2), (16, 2, 2), 3)


def test_heads_follow_the_width() -> None:
    assert full_size("vit_3d", NetworkSize(width=128)).heads == 2


@pytest.mark.parametrize(
    ("size", "word"),
    [({"width": 0}, "width"), ({"depths": ()}, "depths"), ({"depths": (1, 0)}, "depths"), ({"heads": 0}, "heads")],
)
def test_an_impossible_size_is_refused_by_the_name_of_its_setting(size: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=f"^{word} is"):
        NetworkSize(**size)


def test_a_residual_network_takes_no_patch_and_no_heads() -> None:
    with pytest.raises(ValueError, match="heads is 2: r3d_18 is a residual network"):
        full_size("r3d_18", NetworkSize(heads=2))


def test_a_width_must_be_a_multiple_of_the_heads() -> None:
    with pytest.raises(ValueError, match="heads is 3"):
        full_size("vit_3d", NetworkSize(width=16, heads=3))


def test_a_crop_that_is_no_multiple_of_the_patch_does_not_fit() -> None:
    assert misfit("swin3d_t", NetworkSize(), (96, 192, 192)) == ""
    assert "multiple of the patch (16, 2, 2)" in misfit("swin3d_t", NetworkSize(), (90, 192, 192))


def test_a_residual_network_reads_odd_crops() -> None:
    assert misfit("r3d_18", NetworkSize(), (97, 191, 33)) == ""
    assert "at least 2 voxels" in misfit("r3d_18", NetworkSize(), (97, 191, 1))


def test_sizes_are_read_from_a_settings_file() -> None:
    assert parse(NetworkSize, {"width": 16, "depths": [1, 1]}, source="study") == NetworkSize(width=16, depths=(1, 1))


def test_options_load_no_torch() -> None:
    code = (
        "import sys, espalier.networks.options, espalier.training.options, espalier.training.run; print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
