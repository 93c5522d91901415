from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from espalier.cohort.body_part import anatomy_of, blocks_of, body_part_of, is_trunk_without_lungs, lungs_are_cut
from espalier.cohort.contrast import contrast_differs, contrast_seen
from espalier.cohort.read import read_path
from espalier.cohort.volume import Volume

from .bodies import abdomen, chest, head, leg, neck, placed
from .conftest import body_hu

BODIES = {"chest": chest(), "abdomen": abdomen(), "head": head(), "neck": neck(), "limb": leg()}


@pytest.mark.parametrize("part", BODIES)
def test_each_part_of_the_body_is_named(part: str) -> None:
    assert body_part_of(anatomy_of(placed(BODIES[part]))) == part


@pytest.mark.parametrize("part", BODIES)
def test_the_part_does_not_depend_on_order_of_slices_or_spacing(part: str) -> None:
    given = placed(BODIES[part])
    down = given.affine.copy()
    down[:, 0] *= -1
    assert body_part_of(anatomy_of(Volume(given.voxels[::-1], down))) == part
    fine = np.repeat(np.repeat(given.voxels, 2, axis=1), 2, axis=2)
    assert body_part_of(anatomy_of(placed(fine, step_mm=(4.0, 2.0, 2.0)))) == part
    sideways = Volume(given.voxels.transpose(2, 1, 0), given.affine[:, [2, 1, 0, 3]])
    assert body_part_of(anatomy_of(sideways)) == part


def test_a_table_under_a_head_or_a_leg_changes_nothing() -> None:
    for part in ("head", "limb"):
        hu = np.pad(BODIES[part], ((0, 0), (0, 8), (15, 15)), constant_values=-1000)
        hu[:, -7:-4] = -100
        assert body_part_of(anatomy_of(placed(hu))) == part


def test_a_trunk_in_a_field_too_narrow_for_it_is_no_limb() -> None:
    assert body_part_of(anatomy_of(placed(abdomen()[:, 30:62, 32:64]))) not in {"limb", "neck", "head"}


def test_a_whole_body_with_a_head_is_a_chest() -> None:
    top = np.full((40, 80, 96), -1000, np.int16)
    top[:, 8:72, 16:80] = head()
    assert body_part_of(anatomy_of(placed(np.concatenate([chest(), top])))) == "chest"


def test_a_tiny_phantom_is_unknown_and_a_box_of_air_as_well() -> None:
    assert body_part_of(anatomy_of(placed(body_hu(), step_mm=(3.0, 1.5, 1.25)))) == "unknown"
    assert body_part_of(anatomy_of(placed(np.full((5, 6, 7), -1000, np.int16)))) == "unknown"


def test_lungs_are_measured_and_gas_is_not_lung() -> None:
    hu = chest()
    assert anatomy_of(placed(hu)).lungs_ml == pytest.approx(0.064 * np.count_nonzero(np.abs(hu + 850) < 50), rel=0.03)
    assert anatomy_of(placed(abdomen())).lungs_ml == 0.0
    assert anatomy_of(placed(abdomen())).gas.sum() > 0


def test_only_a_trunk_seen_well_enough_is_said_to_have_no_lungs() -> None:
    assert is_trunk_without_lungs(anatomy_of(placed(abdomen())))
    assert not is_trunk_without_lungs(anatomy_of(placed(abdomen()[:20])))
    assert not is_trunk_without_lungs(anatomy_of(placed(chest())))
    assert not is_trunk_without_lungs(anatomy_of(placed(leg())))
    assert not is_trunk_without_lungs(anatomy_of(placed(abdomen()[:, :, 15:81])))


def test_lungs_are_cut_where_an_end_slice_holds_much_of_them() -> None:
    whole = chest()
    assert not lungs_are_cut(anatomy_of(placed(whole)))
    assert lungs_are_cut(anatomy_of(placed(whole[:45])))
    assert lungs_are_cut(anatomy_of(placed(whole[40:])))
    assert not lungs_are_cut(anatomy_of(placed(whole[16:])))
    assert not lungs_are_cut(anatomy_of(placed(abdomen())))


def test_blocks_are_means_in_the_order_up_back_left() -> None:
    hu = np.random.default_rng(0).integers(-1000, 1000, (7, 9, 8)).astype(np.int16)
    given = placed(hu, step_mm=(2.0, 2.0, 4.0))
    given.affine[:, 2] *= -1
    blocks, spacing = blocks_of(given)
    assert spacing == (4.0, 4.0, 4.0)
    expected = hu[:6, :8].reshape(3, 2, 4, 2, 8).mean(axis=(1, 3))[:, :, ::-1]
    np.testing.assert_allclose(blocks, expected, rtol=1e-6)


def test_contrast_is_seen_in_blood_and_liver_and_left_open_where_little_is_there() -> None:
    assert contrast_seen(anatomy_of(placed(chest()))) is False
    assert contrast_seen(anatomy_of(placed(chest(blood_hu=180)))) is True
    assert contrast_seen(anatomy_of(placed(leg()[:10]))) is None


@pytest.mark.parametrize(
    ("tag", "seen", "differs"),
    [("", True, False), ("Ultravist", None, False), ("Ultravist", False, True), (" NONE ", True, True), ("no", False, False)],
)
def test_header_and_voxels_differ_on_contrast_only_where_both_are_clear(tag: str, seen: bool | None, differs: bool) -> None:
    assert contrast_differs(tag, seen=seen) is differs


@pytest.mark.real
@pytest.mark.parametrize(
    ("file", "part"),
    [("abdomen_nifti_totalsegmentator/example_ct.nii.gz", "abdomen"), ("chest_dicom_64/ct-64.nrrd", "chest")],
)
def test_real_scans_keep_their_part_when_their_ends_are_cut(real_scans: Path, file: str, part: str) -> None:
    given = read_path(real_scans / file) if file.endswith("gz") else _nrrd(real_scans / file)
    anatomy = anatomy_of(given)
    assert (body_part_of(anatomy), contrast_seen(anatomy)) == (part, False)
    for cut in ((slice(8, -8), slice(3, -3), slice(3, -3)), (slice(0, 40), slice(None), slice(None))):
        assert body_part_of(anatomy_of(Volume(given.voxels[cut], given.affine))) == part


def _nrrd(path: Path) -> Volume:
    return placed(
        np.maximum(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), -1024).astype(np.int16), step_mm=(3.99, 4.17, 4.17)
    )
