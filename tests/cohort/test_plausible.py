from collections.abc import Callable

import numpy as np
import pytest

from espalier.cohort.plausible import histogram_of, hu_fault

from .bodies import abdomen, chest, head, leg, placed
from .conftest import body_hu

FAULTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], set[str]]] = {
    "never rescaled": (lambda hu: hu + 1024, {"not_hu"}),
    "never rescaled, with padding": (lambda hu: np.where(hu < -990, -2000, hu + 1024), {"not_hu"}),
    "never rescaled from 8192": (lambda hu: hu + 8192, {"not_hu"}),
    "rescaled twice": (lambda hu: hu - 1024, {"rescaled_twice"}),
    "shifted down by 1000": (lambda hu: hu - 1000, {"rescaled_twice"}),
    "rescaled twice from 8192": (lambda hu: hu - 8192, {"constant_volume", "not_hu"}),
    "slope 2 twice": (lambda hu: 2 * hu - 1024, {"rescaled_twice", "not_hu"}),
    "shifted up by 300": (lambda hu: hu + 300, {"not_hu"}),
    "shifted down by 500": (lambda hu: hu - 500, {"not_hu", "rescaled_twice"}),
    "read as unsigned": (lambda hu: np.where(hu < 0, hu + 65536, hu), {"not_hu"}),
    "a picture": (lambda hu: np.round(np.clip((hu + 160) / 400, 0, 1) * 255), {"not_hu"}),
    "a picture of the lungs": (lambda hu: np.round(np.clip((hu + 1000) / 1200, 0, 1) * 255), {"not_hu"}),
    "a rescaled picture": (lambda hu: np.round(np.clip((hu + 160) / 400, 0, 1) * 255) - 1024, {"not_hu"}),
    "cut to a window": (lambda hu: np.clip(hu, -160, 240), {"not_hu"}),
    "from 0 to 1": (lambda hu: np.clip((hu + 1000) / 1200, 0, 1), {"not_hu"}),
    "normalised": (lambda hu: (hu - hu.mean()) / hu.std(), {"not_hu"}),
    "negative": (lambda hu: -hu, {"not_hu"}),
    "inverted": (lambda hu: 3071 - (hu + 1024), {"not_hu"}),
}


def fault_of(hu: np.ndarray) -> tuple[str, str] | None:
    return hu_fault(histogram_of(placed(np.maximum(hu, -1024).astype(np.float32))))


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("body", [chest, abdomen, head, leg])
def test_numbers_that_are_not_hu_are_found(name: str, body: Callable[[], np.ndarray]) -> None:
    change, codes = FAULTS[name]
    fault = fault_of(change(body().astype(np.float64)))
    assert fault is not None
    # A head or a leg holds so much bone that other codes are as true.
    assert fault[0] in (codes if body in (chest, abdomen) else {"not_hu", "rescaled_twice", "constant_volume"})


def test_faults_are_found_where_noise_blurs_them_or_no_air_is_in_the_field() -> None:
    noise = np.random.default_rng(0).normal
    whole, narrow = chest().astype(np.float64), abdomen()[:, 25:55, 25:70].astype(np.float64)
    small = np.pad(leg().astype(np.float64), ((0, 0), (40, 40), (40, 40)), constant_values=-1000)
    assert fault_of(small + noise(0, 40, small.shape) + 1000) is not None
    assert fault_of(narrow + noise(0, 60, narrow.shape) + 300) is not None
    assert fault_of(whole / 20) is not None
    dense = leg().astype(np.float64)
    dense[:20][dense[:20] > 800] += 300
    assert fault_of(dense - 1024) is not None


def odd_scans() -> dict[str, np.ndarray]:
    whole, belly = chest().astype(np.float64), abdomen().astype(np.float64)
    metal = whole.copy()
    metal[30:34, 30:50, 40:60] = 12000
    outside = np.hypot(*np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 96), indexing="ij")) > 0.9
    padded = np.where(outside, -1024, whole)
    narrow = belly[:, 25:55, 25:70]
    gasless = np.where(narrow < -300, -90, narrow)
    noisy = whole + np.random.default_rng(0).normal(0, 100, whole.shape)
    masked = np.where(belly < -300, -1024, belly)
    lung = np.full((20, 40, 40), -850.0)
    lung[:, ::10] = -600
    lung[::5, ::7, ::3] = 40
    return {
        "nothing but lung": lung,
        "metal": metal,
        "padding": padded,
        "all air is padding": masked,
        "emphysema": chest(lung_hu=-970).astype(np.float64),
        "contrast": chest(blood_hu=400).astype(np.float64),
        "narrow field": narrow,
        "narrow field without gas": gasless,
        "mostly lung": whole[25:60, 20:60, 20:42],
        "noise of 100 HU": noisy,
        "small body in a large field": np.pad(leg().astype(np.float64), ((0, 0), (60, 60), (60, 60)), constant_values=-1000),
        "no noise at all": body_hu().astype(np.float64),
    }


@pytest.mark.parametrize("name", odd_scans())
def test_unusual_but_sound_scans_pass(name: str) -> None:
    assert fault_of(odd_scans()[name]) is None


def test_the_histogram_tells_shares_quantiles_and_padding() -> None:
    hu = np.full((10, 10, 10), 45, dtype=np.int16)
    hu[:5] = -1024
    hu[5] = 5000
    hu[6] = -995
    histogram = histogram_of(placed(hu))
    assert (histogram.lowest, histogram.highest) == (-1024.0, 5000.0)
    assert (histogram.padding, histogram.above, histogram.at_lowest) == (0.5, 0.1, 0.5)
    assert histogram.share(0, 100) == pytest.approx(0.3)
    assert histogram.quantile(0.9) == 45.0
    assert histogram.quantile(0.5, above_hu=-300) == 45.0
    assert histogram.mode(-400, 3000) == pytest.approx(45, abs=25)
    assert histogram.quantile(0.5, above_hu=2000) is None
