from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.cohort.checks import HU_FAULTS, OTHER_PARTS, check_hu, check_volume
from espalier.cohort.options import CohortOptions
from espalier.cohort.reasons import NOTES
from espalier.cohort.volume import Volume
from espalier.errors import ScanError

from .bodies import abdomen, chest, head, leg, neck, placed
from .conftest import body_hu

OPTIONS = CohortOptions(sources=("x",))
CHEST = replace(OPTIONS, body_part="chest")


def volume(hu: np.ndarray, *, step_mm: float = 3.0) -> Volume:
    return placed(hu, step_mm=(step_mm, 1.5, 1.5))


def code_of(scan: Volume, options: CohortOptions = OPTIONS, **more: float) -> str:
    with pytest.raises(ScanError) as caught:
        check_volume(scan, options, source="a", **more)
    return caught.value.code


def test_a_plausible_scan_has_no_notes() -> None:
    assert check_volume(volume(body_hu((40, 20, 24))), OPTIONS, source="a").notes == ()


def test_thick_slices_short_coverage_and_direction_are_noted() -> None:
    assert check_volume(volume(body_hu((40, 20, 24)), step_mm=6.0), OPTIONS, source="a").notes == ("thick_slices",)
    assert check_volume(volume(body_hu((12, 20, 24))), OPTIONS, source="a").notes == ("short_coverage",)
    turned = volume(body_hu((60, 20, 24)))
    turned.affine[[1, 2]] = turned.affine[[2, 1]]
    assert check_volume(turned, OPTIONS, source="a").notes == ("not_axial",)
    assert {"thick_slices", "short_coverage", "not_axial"} <= set(NOTES)


def test_slices_are_judged_by_the_widest_gap_as_scanned() -> None:
    scan = volume(body_hu((40, 20, 24)))
    assert check_volume(scan, OPTIONS, source="a", widest_gap_mm=7.5).notes == ("thick_slices",)
    assert code_of(scan, widest_gap_mm=10.5) == "slices_too_thick"
    assert check_volume(scan, OPTIONS, source="a", widest_gap_mm=10.0).notes == ("thick_slices",)
    assert code_of(volume(body_hu((9, 20, 24)))) == "too_few_slices"


@pytest.mark.parametrize(
    "hu",
    [
        body_hu() + 1024,
        np.full((14, 20, 24), -1000, np.int16) - (body_hu() > 0),
        body_hu().astype(np.float32) + 64000 * (body_hu() > 0),
    ],
)
def test_numbers_that_are_no_hu_of_a_patient_are_refused(hu: np.ndarray) -> None:
    assert code_of(volume(hu)) == "not_hu"


def test_a_scan_that_was_rescaled_twice_is_told_so() -> None:
    twice = np.maximum(chest() - 1024, -1024).astype(np.int16)
    with pytest.raises(ScanError) as caught:
        check_hu(placed(twice), source="a")
    assert (caught.value.code, caught.value.found) == ("rescaled_twice", "most tissue near -975 HU")
    assert set(HU_FAULTS) == {"not_hu", "rescaled_twice", "constant_volume"}


@pytest.mark.parametrize(("hu", "part"), [(head(), "head"), (neck(), "neck"), (leg(), "limb")], ids=["head", "neck", "limb"])
def test_another_part_of_the_body_is_set_aside_noted_or_left_as_the_study_asks(hu: np.ndarray, part: str) -> None:
    for wanted in ("chest", "abdomen"):
        with pytest.raises(ScanError) as caught:
            check_volume(placed(hu), replace(OPTIONS, body_part=wanted), source="a")
        assert (caught.value.code, caught.value.found) == ("not_the_body_part", OTHER_PARTS[part])
    noted = check_volume(placed(hu), OPTIONS, source="a")
    assert (noted.notes, noted.columns["body_part"]) == ((f"looks_like_{part}",), part)
    assert f"looks_like_{part}" in NOTES
    assert check_volume(placed(hu), replace(OPTIONS, body_part="any"), source="a").notes == ()


def test_an_abdomen_without_lungs_is_set_aside_in_a_chest_study_only() -> None:
    assert code_of(placed(abdomen()), CHEST) == "not_the_body_part"
    checked = check_volume(placed(abdomen()), replace(OPTIONS, body_part="abdomen"), source="a")
    assert (checked.notes, checked.columns["body_part"], checked.columns["lungs_ml"]) == ((), "abdomen", 0.0)


def test_lungs_that_go_on_beyond_the_slices_are_noted() -> None:
    whole = placed(chest())
    assert check_volume(whole, CHEST, source="a").notes == ()
    for cut in (slice(0, 45), slice(35, 75)):
        assert check_volume(Volume(whole.voxels[cut], whole.affine), CHEST, source="a").notes == ("lungs_cut",)
    bases = Volume(whole.voxels[:30], whole.affine)
    assert check_volume(bases, replace(OPTIONS, body_part="abdomen"), source="a").notes == ()


def test_what_header_and_voxels_say_of_contrast_is_compared() -> None:
    plain, bright = placed(chest()), placed(chest(blood_hu=180))
    for shown, seen in ((plain, False), (bright, True)):
        notes = {tag: check_volume(shown, OPTIONS, source="a", contrast=tag).notes for tag in ("", "Iomeprol", "none")}
        assert notes[""] == ()
        assert notes["none"] == (("contrast_differs",) if seen else ())
        assert notes["Iomeprol"] == (() if seen else ("contrast_differs",))
        assert check_volume(shown, OPTIONS, source="a").columns["contrast_seen"] is seen


def test_the_columns_tell_what_the_voxels_show() -> None:
    columns = check_volume(placed(chest()), OPTIONS, source="a").columns
    assert columns["body_part"] == "chest"
    assert columns["coverage_mm"] == 300.0
    assert columns["hu_p01"] == pytest.approx(-1015, abs=10)
    assert columns["hu_median"] == pytest.approx(45, abs=20)
    assert 2000 < columns["lungs_ml"] < 5000


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.3, 1.0, 4.0, 30.0])] * 3),
    seed=st.integers(0, 99),
    whole=st.booleans(),
)
def test_any_volume_is_either_checked_or_set_aside(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], seed: int, whole: bool
) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.choice([-1024, -1000, -850, -100, 40, 300, 3000, 60000], size=3)
    hu = rng.choice(levels, size=shape)
    shown = placed(hu.astype(np.int16 if whole and hu.max() < 32768 else np.float32), step_mm=spacing)
    wide = replace(CHEST, max_slice_mm=100.0, min_slices=1)
    codes: set[str] = set()
    try:
        codes |= set(check_volume(shown, wide, source="a", axis=int(rng.integers(3))).notes)
    except ScanError as error:
        codes.add(error.code)
    assert codes <= {*NOTES, *HU_FAULTS, "not_the_body_part"}
