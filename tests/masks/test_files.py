import gzip
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from espalier.errors import ScanError
from espalier.geometry import world_mm
from espalier.masks.files import Masks, read_masks, write_masks


def some_masks() -> Masks:
    affine = np.array([[0.1, 0, 1.5, -7], [0, 2.0, 0, 5], [3.0, 0, -0.05, 11], [0, 0, 0, 1]])
    return Masks(
        np.random.default_rng(0).integers(0, 4, (3, 4, 5)).astype(np.uint8), affine, {1: "liver", 2: "spleen", 3: "bowel"}
    )


def test_masks_come_back_with_values_place_and_names(tmp_path: Path) -> None:
    masks = some_masks()
    write_masks(tmp_path / "m.nii.gz", masks)
    read = read_masks(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(read.voxels, masks.voxels)
    np.testing.assert_allclose(read.affine, masks.affine, atol=1e-5)
    assert read.names == masks.names
    assert read.voxels.dtype == np.uint8


def test_equal_masks_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_masks(tmp_path / name, some_masks())
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_other_readers_see_the_same_voxel_at_the_same_place(tmp_path: Path) -> None:
    masks = some_masks()
    write_masks(tmp_path / "m.nii.gz", masks)
    nifti = nib.load(tmp_path / "m.nii.gz")
    x, y, z = 4, 1, 2
    assert np.asarray(nifti.dataobj)[x, y, z] == masks.voxels[z, y, x]
    ras = (nifti.affine @ [x, y, z, 1])[:3]
    np.testing.assert_allclose(ras * [-1, -1, 1], world_mm(masks.affine, (z, y, x)), atol=1e-4)
    assert nifti.header.get_data_dtype() == np.uint8


def test_a_name_that_no_voxel_has_is_kept(tmp_path: Path) -> None:
    masks = Masks(np.zeros((2, 2, 2), np.uint8), np.eye(4)[[2, 1, 0, 3]], {1: "liver"})
    write_masks(tmp_path / "m.nii.gz", masks)
    assert read_masks(tmp_path / "m.nii.gz").names == {1: "liver"}


def test_masks_say_what_made_them_beside_their_names(tmp_path: Path) -> None:
    made_by = {"segmenter": "TotalSegmentator", "labels": '{"1": "<Label>"}'}
    write_masks(tmp_path / "m.nii.gz", replace(some_masks(), made_by=made_by))
    read = read_masks(tmp_path / "m.nii.gz")
    assert read.made_by == made_by
    assert read.names == some_masks().names


@pytest.mark.parametrize("comment", [b"espalier_made_by", b'{"espalier_made_by": 7}', b"\xff\x00", b"made by hand"])
def test_a_comment_of_somebody_else_is_not_taken_for_ours(tmp_path: Path, comment: bytes) -> None:
    write_masks(tmp_path / "m.nii.gz", some_masks())
    nifti = nib.load(tmp_path / "m.nii.gz")
    nifti.header.extensions.append(nib.nifti1.Nifti1Extension(6, comment))
    nib.save(nifti, tmp_path / "n.nii.gz")
    assert read_masks(tmp_path / "n.nii.gz").made_by == {}


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda v: (v + 0.5, np.eye(4)), "mask_values"),
        (lambda v: (v - 3.0, np.eye(4)), "mask_values"),
        (lambda v: (v * 200.0, np.eye(4)), "mask_values"),
        (lambda v: (np.where(v > 2, np.nan, v), np.eye(4)), "mask_values"),
        (lambda v: (np.stack([v, v], axis=3), np.eye(4)), "mask_shape"),
        (lambda v: (v[0], np.eye(4)), "mask_shape"),
        (lambda v: (v, None), "mask_position"),
        (lambda v: (v, np.diag([1.0, 0.0, 1.0, 1.0])), "mask_position"),
    ],
)
def test_a_file_that_is_no_label_mask_says_which_way(tmp_path: Path, spoil, code: str) -> None:
    voxels, affine = spoil(some_masks().voxels.astype(np.float32))
    header = nib.Nifti1Header()
    nifti = nib.Nifti1Image(voxels.astype(np.float32), None, header)
    if affine is not None:
        nifti.set_sform(affine, code=1)
    nib.save(nifti, tmp_path / "m.nii.gz")
    with pytest.raises(ScanError) as caught:
        read_masks(tmp_path / "m.nii.gz")
    assert caught.value.code == code


def test_labels_saved_as_floats_or_with_a_fourth_axis_of_one_are_read(tmp_path: Path) -> None:
    voxels = some_masks().voxels
    nifti = nib.Nifti1Image(voxels.astype(np.float32)[..., None], np.eye(4))
    nib.save(nifti, tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(read_masks(tmp_path / "m.nii.gz").voxels, voxels.transpose(2, 1, 0))


@pytest.mark.parametrize("content", [b"", b"not a mask", gzip.compress(b"short", mtime=0), "cut"])
def test_a_broken_file_is_a_reason_not_a_crash(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "m.nii.gz"
    write_masks(path, some_masks())
    path.write_bytes(path.read_bytes()[:-40] if isinstance(content, str) else content)
    with pytest.raises(ScanError) as caught:
        read_masks(path)
    assert caught.value.code == "mask_unreadable"


@pytest.mark.real
def test_a_file_of_totalsegmentator_is_read_with_its_117_names(real_data: Path) -> None:
    masks = read_masks(real_data / "ct" / "abdomen_nifti_totalsegmentator" / "example_seg_fast_force_split.nii.gz")
    assert len(masks.names) == 117
    assert masks.names[5] == "liver"
    spleen = np.argwhere(masks.voxels == 1).mean(axis=0)
    liver = np.argwhere(masks.voxels == 5).mean(axis=0)
    assert world_mm(masks.affine, spleen)[0] > world_mm(masks.affine, liver)[0]
