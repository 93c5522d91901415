import pytest

from espalier.errors import SettingsError
from espalier.evaluation.predict import centre_box
from espalier.geometry import crop_or_pad


def test_the_centre_box_is_what_cropping_leaves() -> None:
    import numpy as np

    voxels = np.arange(9 * 12 * 7).reshape(9, 12, 7)
    np.testing.assert_array_equal(voxels[centre_box((9, 12, 7), (4, 12, 5))], crop_or_pad(voxels, (4, 12, 5), outside=0))


def test_a_crop_larger_than_the_store_is_refused() -> None:
    with pytest.raises(SettingsError, match="larger than the store"):
        centre_box((9, 12, 7), (10, 12, 7))
