from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from espalier.cohort.looks import AXIAL_SIDE, CORONAL_SIDE, keep_look, middle_slices, read_look
from espalier.cohort.read import read_path
from espalier.cohort.twins import thumbnail
from espalier.cohort.volume import Volume
from espalier.errors import InputError
from espalier.geometry import affine_from

TURNS = list(product(permutations(range(3)), product((1, -1), repeat=3)))


def upright(shape: tuple[int, int, int] = (20, 24, 32), spacing_mm: tuple[float, float, float] = (2.0, 1.5, 1.0)) -> Volume:
    """Return air with a bright bar at the patient's left, a dim one at the back and one in between at the head."""
    hu = np.full(shape, -1000, dtype=np.int16)
    hu[:, :, -4:] = 400
    hu[:, -4:, :-4] = -300
    hu[-4:, shape[1] // 2, :-4] = 100
    direction = np.eye(3)[::-1]
    return Volume(hu, affine_from(spacing_mm=spacing_mm, origin_mm=(0, 0, 0), direction=direction))


def turned(volume: Volume, order: tuple[int, ...], signs: tuple[int, ...]) -> Volume:
    """Return the same volume with its axes stored in another order and direction."""
    voxels, affine = volume.voxels.transpose(order), volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, list(order)]
    for axis, sign in enumerate(signs):
        if sign < 0:
            voxels = np.flip(voxels, axis)
            affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Volume(np.ascontiguousarray(voxels), affine)


def kept(folder: Path, volume: Volume, scan: str = "one") -> Path:
    keep_look(folder, scan, volume, thumbnail(volume))
    return folder / "records" / "looks" / f"{scan}.npz"


def test_the_patients_left_is_on_the_right_the_back_below_and_the_head_above() -> None:
    axial, coronal = middle_slices(upright())
    middle = axial.shape[0] // 2
    assert axial[middle, -1] == 255
    assert axial[middle, 0] == 0
    assert 0 < axial[-1, 0] < 255
    assert axial[0, 0] == 0
    assert coronal[0, 0] > 0
    assert coronal[-1, 0] == 0
    assert coronal[-1, -1] == 255


@pytest.mark.parametrize(("order", "signs"), TURNS)
def test_a_look_is_the_same_however_the_scan_is_stored(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    # An odd number of voxels has one middle from either end.
    volume = upright(shape=(21, 25, 33))
    for plane, same in zip(middle_slices(volume), middle_slices(turned(volume, order, signs)), strict=True):
        assert np.array_equal(plane, same)


def test_pixels_are_square_and_few() -> None:
    axial, coronal = middle_slices(upright(shape=(40, 256, 256), spacing_mm=(5.0, 1.0, 0.5)))
    assert axial.shape == (AXIAL_SIDE, AXIAL_SIDE // 2)
    assert coronal.shape == (CORONAL_SIDE, round(CORONAL_SIDE * 128 / 200))
    assert middle_slices(upright())[0].shape == (36, 32)


def test_a_look_is_private_small_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    noisy = upright(shape=(60, 128, 128))
    noise = np.random.default_rng(0).normal(0, 40, noisy.shape).astype(np.int16)
    noisy = Volume(noisy.voxels + noise, noisy.affine)
    first, second = kept(tmp_path, noisy), kept(tmp_path / "again", noisy)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_mode & 0o777 == 0o600
    assert first.stat().st_size <= 14_000


def test_what_was_kept_is_read_back(tmp_path: Path) -> None:
    volume = upright()
    kept(tmp_path, volume)
    look = read_look(tmp_path, "one")
    assert look is not None
    assert np.array_equal(look.axial, middle_slices(volume)[0])
    assert np.array_equal(look.coronal, middle_slices(volume)[1])
    assert np.array_equal(look.thumbnail, thumbnail(volume))


def test_a_look_that_is_absent_cut_or_pickled_is_none(tmp_path: Path) -> None:
    path = kept(tmp_path, upright())
    assert read_look(tmp_path, "two") is None
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert read_look(tmp_path, "one") is None
    middle = len(whole) // 3
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) * 8 + whole[middle + 8 :])
    assert read_look(tmp_path, "one") is None
    path.write_bytes(b"")
    assert read_look(tmp_path, "one") is None
    with path.open("wb") as stream:
        np.save(stream, np.zeros(3))
    assert read_look(tmp_path, "one") is None
    for other in (np.array([print], dtype=object), np.zeros((4, 4))):
        np.savez(path, slice=other, coronal=other, thumbnail=other)
        assert read_look(tmp_path, "one") is None


def test_a_scan_id_cannot_lead_outside_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        read_look(tmp_path, "../../../elsewhere")


@pytest.mark.real
def test_looks_of_real_scans_stay_small(real_scans: Path, tmp_path: Path) -> None:
    for name in ("chest_dicom_64/ct64_dicom", "abdomen_nifti_totalsegmentator/example_ct.nii.gz"):
        assert kept(tmp_path, read_path(real_scans / name)).stat().st_size <= 12_000
