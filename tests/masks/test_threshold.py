from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from espalier.cohort.read import read_path
from espalier.cohort.volume import Volume
from espalier.errors import ScanError
from espalier.geometry import affine_from, canonical, world_mm
from espalier.masks.files import Masks, read_masks
from espalier.masks.structures import structure_names
from espalier.masks.threshold import threshold_masks

NAMES = structure_names("threshold")
LEFT, RIGHT, BODY, BONE = (NAMES.index(n) + 1 for n in ("lung_left", "lung_right", "body", "bone"))


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_both_lungs_are_found_each_on_its_side(chest) -> None:
    masks = threshold_masks(chest.volume, NAMES)
    assert dice(masks.voxels == LEFT, chest.left) > 0.97
    assert dice(masks.voxels == RIGHT, chest.right) > 0.97


def test_trachea_bowel_gas_and_table_are_no_lung_and_the_table_is_no_body(chest) -> None:
    masks = threshold_masks(chest.volume, NAMES)
    lungs = (masks.voxels == LEFT) | (masks.voxels == RIGHT)
    assert not lungs[chest.trachea].any()
    assert not lungs[chest.gas].any()
    assert (masks.voxels[:, 53:55] == 0).all()
    assert (masks.voxels[:, 43:46, 39:42] == BONE).all()
    assert masks.voxels[20, 15, 40] == BODY


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("flips", [(), (2,), (0, 1), (0, 1, 2)])
def test_sides_hold_however_the_array_is_stored(chest, axes: tuple[int, int, int], flips: tuple[int, ...]) -> None:
    voxels, affine = chest.volume.voxels.transpose(axes), chest.volume.affine.copy()
    affine[:3, :3] = affine[:3, list(axes)]
    for axis in flips:
        affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
        affine[:3, axis] *= -1
        voxels = np.flip(voxels, axis)
    masks = threshold_masks(Volume(np.ascontiguousarray(voxels), affine), NAMES)
    plain = threshold_masks(chest.volume, NAMES)
    np.testing.assert_array_equal(masks.voxels, plain.voxels)
    np.testing.assert_allclose(masks.affine, plain.affine, atol=1e-9)


@pytest.mark.parametrize("padding", [-1024, -2000, -3024])
def test_padding_around_a_round_field_of_view_changes_nothing_inside(chest, padding: int) -> None:
    y, x = np.mgrid[: chest.volume.shape[1], : chest.volume.shape[2]]
    outside = (y - 30) ** 2 + (x - 40) ** 2 > 28**2
    voxels = chest.volume.voxels.copy()
    voxels[:, outside] = padding
    masks = threshold_masks(Volume(voxels, chest.volume.affine), NAMES)
    assert dice(masks.voxels == LEFT, chest.left & ~outside) > 0.97
    assert dice(masks.voxels == RIGHT, chest.right & ~outside) > 0.97


def test_lungs_that_the_field_of_view_cuts_are_found(chest) -> None:
    box = np.s_[:, 8:50, 17:63]
    affine = chest.volume.affine.copy()
    affine[:3, 3] = world_mm(affine, (0, 8, 17))
    masks = threshold_masks(Volume(chest.volume.voxels[box].copy(), affine), NAMES)
    assert dice(masks.voxels == LEFT, chest.left[box]) > 0.97
    assert dice(masks.voxels == RIGHT, chest.right[box]) > 0.97


def test_lungs_that_touch_each_other_are_parted(chest) -> None:
    voxels = chest.volume.voxels.copy()
    voxels[20:24, 20:23, 30:50] = -850
    masks = threshold_masks(Volume(voxels, chest.volume.affine), NAMES)
    assert dice(masks.voxels == LEFT, chest.left) > 0.95
    assert dice(masks.voxels == RIGHT, chest.right) > 0.95


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_lone_lung_keeps_its_side(chest, side: str) -> None:
    voxels = chest.volume.voxels.copy()
    voxels[chest.right if side == "left" else chest.left] = 20
    masks = threshold_masks(Volume(voxels, chest.volume.affine), NAMES)
    assert (masks.voxels == (LEFT if side == "left" else RIGHT)).sum() > 4000
    assert not (masks.voxels == (RIGHT if side == "left" else LEFT)).any()


def test_an_abdomen_scan_shows_the_lung_bases_only(chest) -> None:
    low = chest.volume.voxels[:14].copy()
    masks = threshold_masks(Volume(low, chest.volume.affine), NAMES)
    assert dice(masks.voxels == LEFT, chest.left[:14]) > 0.95
    assert not np.isin(masks.voxels[chest.gas[:14]], (LEFT, RIGHT)).any()


def test_no_lung_is_found_where_there_is_none(chest) -> None:
    voxels = chest.volume.voxels.copy()
    voxels[chest.left | chest.right] = 30
    masks = threshold_masks(Volume(voxels, chest.volume.affine), NAMES)
    assert not np.isin(masks.voxels, (LEFT, RIGHT)).any()


@pytest.mark.parametrize("value", [-1024, -1000, 0])
def test_a_scan_without_a_patient_is_set_aside(value: int) -> None:
    shape = (12, 20, 20) if value else (3, 8, 8)
    affine = affine_from(spacing_mm=(3, 2, 2), origin_mm=(0, 0, 0), direction=np.eye(3)[:, ::-1])
    with pytest.raises(ScanError) as caught:
        threshold_masks(Volume(np.full(shape, value, dtype=np.int16), affine), NAMES)
    assert caught.value.code == "body_not_found"


def test_only_the_wanted_structures_are_marked(chest) -> None:
    masks = threshold_masks(chest.volume, ("lung_right",))
    assert set(np.unique(masks.voxels)) == {0, 1}
    assert masks.names == {1: "lung_right"}


def test_a_fine_scan_is_worked_on_at_a_coarser_grid_in_the_same_place(chest) -> None:
    fine = np.repeat(np.repeat(chest.volume.voxels, 4, axis=1), 4, axis=2)
    affine = chest.volume.affine.copy()
    affine[:3, 1:3] /= 4
    affine[:3, 3] = world_mm(affine, (0, -1.5, -1.5))
    masks = threshold_masks(Volume(fine, affine), NAMES)
    assert masks.voxels.shape == (40, 120, 160)
    centre = world_mm(masks.affine, np.argwhere(masks.voxels == LEFT).mean(axis=0))
    wanted = world_mm(chest.volume.affine, np.argwhere(chest.left).mean(axis=0))
    np.testing.assert_allclose(centre, wanted, atol=2.0)


def lungs_of(masks: Masks) -> np.ndarray:
    return np.isin(masks.voxels, (LEFT, RIGHT))


def assert_sides_are_right(masks: Masks) -> None:
    left, right = (world_mm(masks.affine, np.argwhere(masks.voxels == v).mean(axis=0)) for v in (LEFT, RIGHT))
    assert left[0] - right[0] > 60


def test_the_trachea_is_found_and_the_mediastinum_lies_between_the_lungs(chest) -> None:
    masks = threshold_masks(chest.volume, NAMES)
    airways, middle = (masks.voxels == NAMES.index(n) + 1 for n in ("airways", "mediastinum"))
    assert dice(airways, chest.trachea) > 0.9
    assert middle[10:30, 25:35, 38:42].mean() > 0.7
    assert not middle[:, :, :24].any()
    assert not middle[:, :, 57:].any()


def test_a_consolidation_at_the_rim_of_a_lung_belongs_to_it(chest) -> None:
    z, y, x = np.indices(chest.left.shape)
    dense = chest.left & ((z - 20) ** 2 + (y - 24) ** 2 + (x - 65) ** 2 < 4**2)
    fine, left, dense = (np.repeat(np.repeat(own, 2, axis=1), 2, axis=2) for own in (chest.volume.voxels, chest.left, dense))
    affine = chest.volume.affine.copy()
    affine[:3, 1:3] /= 2
    affine[:3, 3] = world_mm(affine, (0, -0.5, -0.5))
    voxels = np.where(dense, 40, fine).astype(np.int16)
    found = threshold_masks(Volume(voxels, affine), NAMES).voxels == LEFT
    # The bite is bridged along its chord; what bulges beyond, on so round a lung most of it, stays chest wall.
    assert found[dense].mean() > 0.25
    assert dice(found, left) > 0.97


def test_lungs_are_not_bridged_to_the_chest_wall_nor_to_the_border_of_the_grid(chest) -> None:
    masks = threshold_masks(chest.volume, NAMES)
    assert (lungs_of(masks) & ~chest.left & ~chest.right).sum() < 0.01 * (chest.left | chest.right).sum()


@pytest.mark.parametrize("noise", [30, 60, 100])
def test_noise_turns_no_gas_into_lung_and_no_lung_into_gas(chest, noise: int) -> None:
    voxels = chest.volume.voxels + np.random.default_rng(noise).normal(0, noise, chest.volume.shape)
    masks = threshold_masks(Volume(np.maximum(voxels, -1024).round().astype(np.int16), chest.volume.affine), NAMES)
    assert dice(masks.voxels == LEFT, chest.left) > 0.95
    assert dice(masks.voxels == RIGHT, chest.right) > 0.95
    assert not lungs_of(masks)[chest.gas].any()


def test_emphysema_at_the_lowest_value_of_the_scan_is_no_padding(chest) -> None:
    voxels = chest.volume.voxels.copy()
    z, y, x = np.indices(voxels.shape)
    voxels[(z - 25) ** 2 + (y - 30) ** 2 + (x - 57) ** 2 < 6**2] = -1024
    masks = threshold_masks(Volume(voxels, chest.volume.affine), NAMES)
    assert dice(masks.voxels == LEFT, chest.left) > 0.97


def test_a_frame_wholly_inside_the_body_leaves_the_lungs(chest) -> None:
    box = np.s_[:, 12:48, 24:58]
    affine = chest.volume.affine.copy()
    affine[:3, 3] = world_mm(affine, (0, 12, 24))
    masks = threshold_masks(Volume(chest.volume.voxels[box].copy(), affine), NAMES)
    assert dice(masks.voxels == LEFT, chest.left[box]) > 0.95
    assert dice(masks.voxels == RIGHT, chest.right[box]) > 0.95


def test_stomach_gas_that_touches_a_lung_is_parted_from_it(chest) -> None:
    voxels = chest.volume.voxels.copy()
    bubble = np.zeros(voxels.shape, dtype=bool)
    bubble[0:8, 20:40, 52:66] = True
    bubble &= ~chest.left
    voxels[bubble] = -1000
    masks = threshold_masks(Volume(voxels, chest.volume.affine), NAMES)
    assert (lungs_of(masks) & bubble).sum() < 0.35 * bubble.sum()
    assert dice(masks.voxels == LEFT, chest.left) > 0.9


@pytest.mark.real
def test_real_lungs_match_their_reference(real_data: Path) -> None:
    folder = real_data / "ct" / "chest_dicom_64"
    masks = threshold_masks(read_path(folder / "ct64_dicom"), NAMES)
    reference = sitk.ReadImage(folder / "wholeLung-64.nrrd")
    direction = np.array(reference.GetDirection()).reshape(3, 3)[:, ::-1]
    affine = affine_from(spacing_mm=reference.GetSpacing()[::-1], origin_mm=reference.GetOrigin(), direction=direction)
    whole, _ = canonical(sitk.GetArrayFromImage(reference) > 0, affine)
    assert dice(lungs_of(masks), whole) >= 0.97
    assert_sides_are_right(masks)


@pytest.mark.real
def test_real_lung_bases_of_an_abdomen_scan_match_a_segmenters(real_data: Path) -> None:
    folder = real_data / "ct" / "abdomen_nifti_totalsegmentator"
    masks = threshold_masks(read_path(folder / "example_ct.nii.gz"), NAMES)
    other = read_masks(folder / "example_seg_fast_force_split.nii.gz")
    voxels, _ = canonical(other.voxels, other.affine)
    assert dice(masks.voxels == LEFT, np.isin(voxels, (10, 11))) >= 0.95
    assert dice(masks.voxels == RIGHT, np.isin(voxels, (12, 13, 14))) >= 0.95


@pytest.mark.real
@pytest.mark.slow
def test_a_real_chest_with_a_tumour_gives_two_lungs_on_their_sides(real_data: Path, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(real_data / "ct" / "chest_dicom_5mm" / "series3_kernelB_5mm_dicom.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    masks = threshold_masks(read_path(tmp_path), NAMES)
    assert_sides_are_right(masks)
    ml = [(masks.voxels == v).sum() * abs(np.linalg.det(masks.affine[:3, :3])) / 1000 for v in (LEFT, RIGHT)]
    assert all(1500 < one < 4500 for one in ml)
