from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from espalier.cohort.twins import find_twins, thumbnail
from espalier.cohort.volume import Volume
from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import make_patient

from .bodies import placed

OPTIONS = PhantomOptions(anatomy="chest", pixels=48, slice_mm=(5.0, 5.0), seed=4)


@pytest.fixture(scope="module")
def phantom() -> Volume:
    scan = make_patient(0, OPTIONS).scans[0]
    return Volume(scan.hu, scan.series.grid.affine)


def pairs(*volumes: Volume, patients: str = "ABCDEFGH") -> list[tuple[str, str, str, bool]]:
    names = [str(n) for n in range(len(volumes))]
    seen = np.stack([thumbnail(volume) for volume in volumes])
    found = find_twins(names, list(patients[: len(volumes)]), seen, [""] * len(volumes))
    return [(twins.first, twins.second, twins.kind, twins.one_patient) for twins in found]


def changed(volume: Volume, change: Callable[[np.ndarray], np.ndarray]) -> Volume:
    hu = change(volume.voxels.astype(np.float32))
    return Volume(np.clip(np.round(hu), -1024, 3071).astype(np.int16), volume.affine)


def test_a_thumbnail_holds_the_mean_of_each_block() -> None:
    hu = np.random.default_rng(0).integers(-900, 400, (32, 48, 16)).astype(np.int16)
    expected = np.round(hu.reshape(16, 2, 16, 3, 16, 1).mean(axis=(1, 3, 5)))
    assert np.abs(thumbnail(placed(hu)) - expected).max() <= 1
    assert thumbnail(placed(hu)).dtype == np.int16


@settings(max_examples=25, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 40)] * 3), level=st.integers(-1000, 500))
def test_a_thumbnail_of_one_value_is_that_value_in_any_shape(shape: tuple[int, int, int], level: int) -> None:
    assert np.array_equal(thumbnail(placed(np.full(shape, level, np.int16))), np.full((16, 16, 16), level))


def test_a_thumbnail_does_not_depend_on_how_the_array_is_stored(phantom: Volume) -> None:
    down = phantom.affine.copy()
    down[:3, 3] += down[:3, 0] * (phantom.shape[0] - 1)
    down[:3, 0] *= -1
    expected = thumbnail(phantom)
    assert np.array_equal(thumbnail(Volume(phantom.voxels[::-1], down)), expected)
    sideways = Volume(phantom.voxels.transpose(2, 0, 1), phantom.affine[:, [2, 0, 1, 3]])
    assert np.abs(thumbnail(sideways) - expected).max() <= 1


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "noise": lambda hu: hu + np.random.default_rng(1).normal(0, 30, hu.shape),
    "soft kernel": lambda hu: ndimage.gaussian_filter(hu, (0, 0.8, 0.8)),
    "lossy": lambda hu: np.round(hu / 24) * 24,
    "one slice less": lambda hu: hu[1:],
    "two slices less": lambda hu: hu[:-2],
    "another spacing": lambda hu: ndimage.zoom(hu, (1.3, 0.8, 0.8), order=1),
    "every second slice": lambda hu: ndimage.uniform_filter1d(hu, 2, axis=0)[::2],
    "cut to a window": lambda hu: np.clip(hu, -1000, 200),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_acquisition_under_two_patients_is_found(phantom: Volume, name: str) -> None:
    ((first, second, kind, one_patient),) = pairs(phantom, changed(phantom, CHANGES[name]))
    assert (first, second, one_patient) == ("0", "1", False)
    assert kind in {"near", "same"}


def test_voxels_at_another_place_are_the_same_and_mirrored_ones_are_mirrored(phantom: Volume) -> None:
    moved = phantom.affine.copy()
    moved[:3, 3] += 250
    assert pairs(phantom, Volume(phantom.voxels, moved)) == [("0", "1", "same", False)]
    mirrored = Volume(phantom.voxels[:, :, ::-1], phantom.affine)
    assert pairs(phantom, mirrored) == [("0", "1", "mirrored", False)]
    noisy = changed(mirrored, CHANGES["noise"])
    assert pairs(phantom, noisy) == [("0", "1", "mirrored", False)]


def test_equal_hashes_are_paired_with_the_first_of_them(phantom: Volume) -> None:
    seen = np.stack([thumbnail(phantom)] * 4)
    found = find_twins(["a", "b", "c", "d"], ["A", "B", "A", "C"], seen, ["h", "h", "h", "other"])
    told = [(twins.first, twins.second, twins.kind, twins.one_patient) for twins in found]
    assert told == [("a", "b", "equal", False), ("a", "c", "equal", True), ("a", "d", "same", False)]


def test_look_alike_patients_are_no_twins_but_two_series_of_one_are() -> None:
    patients = [make_patient(number, OPTIONS) for number in range(60)]
    scans = [(f"{n}", Volume(s.hu, s.series.grid.affine)) for n, p in enumerate(patients) for s in p.scans]
    names = [str(n) for n in range(len(scans))]
    seen = np.stack([thumbnail(volume) for _, volume in scans])
    found = find_twins(names, [patient for patient, _ in scans], seen, [""] * len(scans))
    two = sum(len(patient.scans) == 2 for patient in patients)
    assert two > 0
    assert len(found) == two
    assert all(twins.one_patient and twins.kind == "near" and twins.differ_hu < 15 for twins in found)


def test_two_phases_of_one_patient_are_not_one_acquisition(phantom: Volume) -> None:
    later = changed(phantom, lambda hu: hu + 60.0 * ((hu > 20) & (hu < 200)))
    assert pairs(phantom, later, patients="AA") == []


def test_slices_more_or_less_are_allowed_for(phantom: Volume) -> None:
    lower = changed(phantom, lambda hu: hu[:-4])
    apart = np.sqrt(np.mean(np.square(thumbnail(phantom).astype(float) - thumbnail(lower))))
    assert apart > 45
    assert pairs(phantom, lower) == [("0", "1", "near", False)]


def test_scans_that_differ_by_47_hu_to_either_side_are_no_twins(phantom: Volume) -> None:
    seen = thumbnail(phantom)
    other = seen + np.where(np.arange(16) < 8, 47, -47).astype(np.int16)
    assert find_twins("ab", "AB", np.stack([seen, other]), ["", ""]) == []
    closer = seen + np.where(np.arange(16) < 8, 30, -30).astype(np.int16)
    assert len(find_twins("ab", "AB", np.stack([seen, closer]), ["", ""])) == 1


def test_no_scans_and_one_scan_have_no_twins(phantom: Volume) -> None:
    assert find_twins([], [], np.zeros((0, 16, 16, 16), np.int16), []) == []
    assert pairs(phantom) == []


def test_twins_are_found_across_blocks_of_many_scans() -> None:
    rng = np.random.default_rng(3)
    coarse = rng.normal(-400, 350, (2500, 8, 8, 8)).clip(-1000, 500)
    many = coarse.repeat(2, 1).repeat(2, 2).repeat(2, 3).astype(np.int16)
    many[2400] = many[7] + rng.normal(0, 5, (16, 16, 16))
    names = [str(n) for n in range(len(many))]
    found = find_twins(names, names, many, [""] * len(many))
    assert [(twins.first, twins.second) for twins in found] == [("7", "2400")]
