import numpy as np
import pytest

from espalier.cohort.checks import NOTES, check_volume
from espalier.cohort.options import CohortOptions
from espalier.cohort.volume import Volume
from espalier.errors import ScanError

from .conftest import body_hu

OPTIONS = CohortOptions(sources=("x",))


def volume(hu: np.ndarray, *, step_mm: float = 3.0) -> Volume:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = step_mm, 1.5, 1.5, 1.0
    return Volume(hu, affine)


def test_a_plausible_scan_has_no_notes() -> None:
    assert check_volume(volume(body_hu((40, 20, 24))), OPTIONS, source="a") == []


def test_thick_slices_short_coverage_and_direction_are_noted() -> None:
    assert check_volume(volume(body_hu((40, 20, 24)), step_mm=6.0), OPTIONS, source="a") == ["thick_slices"]
    assert check_volume(volume(body_hu((12, 20, 24))), OPTIONS, source="a") == ["short_coverage"]
    turned = volume(body_hu((60, 20, 24)))
    turned.affine[[1, 2]] = turned.affine[[2, 1]]
    assert check_volume(turned, OPTIONS, source="a") == ["not_axial"]
    assert {"thick_slices", "short_coverage", "not_axial"} <= set(NOTES)


@pytest.mark.parametrize(
    "hu",
    [
        body_hu() + 1024,
        np.full((14, 20, 24), -1000, np.int16) - (body_hu() > 0),
        body_hu().astype(np.float32) + 64000 * (body_hu() > 0),
    ],
)
def test_numbers_that_are_no_hu_of_a_patient_are_refused(hu: np.ndarray) -> None:
    with pytest.raises(ScanError) as caught:
        check_volume(volume(hu), OPTIONS, source="a")
    assert caught.value.code == "not_hu"
