import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings

from espalier.cohort.nifti import read_nifti, read_nifti_header
from espalier.cohort.volume import AIR_HU
from espalier.errors import ScanError
from espalier.geometry import world_mm

from .conftest import BRIGHT, PIXEL_MM, SHAPE, STEP_MM, body_hu, patch_header
from .volume_files import changed, reads_or_says_why

Write = Callable[..., Path]
TURNED = np.array([[0, -1.5, 0, 10.0], [1.2, 0, 0, -20.0], [0, 0, 3, 30.0], [0, 0, 0, 1]])


def code_of(path: Path) -> str:
    with pytest.raises(ScanError) as caught:
        read_nifti(path)
    assert caught.value.found
    return caught.value.code


def test_ras_becomes_lps_and_a_known_voxel_keeps_its_place(write_nifti: Write, tmp_path: Path) -> None:
    reading = read_nifti(write_nifti(tmp_path / "a.nii.gz", affine=TURNED))
    k, j, i = BRIGHT
    ras = TURNED @ [i, j, k, 1]
    assert reading.volume.voxels.dtype == np.int16
    assert np.array_equal(reading.volume.voxels, body_hu())
    assert world_mm(reading.volume.affine, BRIGHT) == pytest.approx([-ras[0], -ras[1], ras[2]])
    assert reading.notes == ()


def test_the_header_alone_gives_the_same_grid(write_nifti: Write, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii.gz", affine=TURNED)
    header, volume = read_nifti_header(path), read_nifti(path).volume
    assert header.grid.shape == volume.shape
    assert np.array_equal(header.grid.affine, volume.affine)


def test_a_few_voxels_that_are_no_numbers_become_air(write_nifti: Write, tmp_path: Path) -> None:
    hu = body_hu().astype(np.float32)
    hu[3, 8, 8], hu[3, 8, 9] = np.nan, np.inf
    reading = read_nifti(write_nifti(tmp_path / "a.nii.gz", hu=hu))
    assert reading.notes == ("nan_replaced",)
    assert (reading.volume.voxels[3, 8, 8:10] == AIR_HU).all()


def test_many_voxels_that_are_no_numbers_are_refused(write_nifti: Write, tmp_path: Path) -> None:
    hu = body_hu().astype(np.float32)
    hu[:2] = np.nan
    assert code_of(write_nifti(tmp_path / "a.nii.gz", hu=hu)) == "nan_voxels"


def test_four_axes_are_refused_but_one_of_length_one_is_not(write_nifti: Write, tmp_path: Path) -> None:
    four = np.zeros((6, 6, 6, 2), dtype=np.int16)
    assert code_of(write_nifti(tmp_path / "a.nii.gz", hu=four)) == "not_three_dimensional"
    assert read_nifti(write_nifti(tmp_path / "b.nii.gz", hu=four[..., :1])).volume.shape == (6, 6, 6)


def test_colour_is_refused(tmp_path: Path) -> None:
    colour = np.zeros((6, 6, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colour, np.eye(4)), tmp_path / "a.nii.gz")
    assert code_of(tmp_path / "a.nii.gz") == "colour"


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_affine_of_zeros_or_no_numbers_is_refused(write_nifti: Write, tmp_path: Path, value: float) -> None:
    rows = {f"srow_{axis}": [value] * 4 for axis in "xyz"}
    assert code_of(write_nifti(tmp_path / "a.nii", **rows)) == "bad_affine"


@pytest.mark.parametrize("value", [np.inf, 1e30, 1e-30])
def test_places_beyond_any_patient_are_refused_without_a_warning(write_nifti: Write, tmp_path: Path, value: float) -> None:
    assert code_of(write_nifti(tmp_path / "a.nii", srow_x=[value, 0, 0, 0], xyzt_units=1)) == "bad_affine"
    assert code_of(write_nifti(tmp_path / "b.nii", srow_z=[0, 0, value, value], qform_code=1)) == "bad_affine"


def test_without_sform_and_qform_there_is_no_orientation(write_nifti: Write, tmp_path: Path) -> None:
    assert code_of(write_nifti(tmp_path / "a.nii", sform_code=0, qform_code=0)) == "no_orientation"


def test_the_sform_is_taken_where_the_two_differ_and_that_is_noted(write_nifti: Write, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", sform_code=1, qform_code=1, qoffset_x=50.0)
    reading = read_nifti(path)
    assert reading.notes == ("sform_qform_differ",)
    assert world_mm(reading.volume.affine, (0, 0, 0)) == pytest.approx([0, 0, 0])


def test_mirror_images_of_sform_and_qform_are_refused(write_nifti: Write, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", sform_code=1, qform_code=1, srow_x=[-PIXEL_MM[1], 0, 0, 0])
    assert code_of(path) == "handedness_differs"


def test_a_qform_alone_is_enough(write_nifti: Write, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", sform_code=0, qform_code=1, qoffset_z=7.0)
    volume = read_nifti(path).volume
    assert volume.spacing_mm == pytest.approx((STEP_MM, *PIXEL_MM))
    assert world_mm(volume.affine, (0, 0, 0)) == pytest.approx([0, 0, 7])


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_cut_in_half_is_truncated(write_nifti: Write, tmp_path: Path, name: str) -> None:
    path = write_nifti(tmp_path / name, hu=np.random.default_rng(0).integers(-1000, 1000, (14, 20, 24)).astype(np.int16))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert code_of(path) == "truncated"


def test_a_flipped_bit_is_corrupt_even_where_the_stream_still_unpacks(write_nifti: Write, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii")
    packed = bytearray(gzip.compress(path.read_bytes(), compresslevel=0))
    packed[-40] ^= 4
    (tmp_path / "b.nii.gz").write_bytes(packed)
    assert code_of(tmp_path / "b.nii.gz") == "corrupt"


def test_a_header_that_claims_too_much_is_refused_before_memory_is_taken(write_nifti: Write, tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", dim=[3, 32000, 32000, 32000, 1, 1, 1, 1])
    assert code_of(path) == "too_large"
    patch_header(path, {"dim": [3, 1000, 1000, 1000, 1, 1, 1, 1]})
    assert code_of(path) == "truncated"
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert code_of(tmp_path / "b.nii.gz") == "truncated"


def test_what_is_packed_is_told_by_its_bytes_and_not_its_name(write_nifti: Write, tmp_path: Path) -> None:
    plain = write_nifti(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(plain)
    (tmp_path / "c.nii").write_bytes(gzip.compress(gzip.compress(plain)))
    for name in ("b.nii.gz", "c.nii"):
        assert np.array_equal(read_nifti(tmp_path / name).volume.voxels, body_hu())


def test_text_under_the_name_of_nifti_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_text("no volume here, only words" * 20)
    assert code_of(tmp_path / "a.nii") == "not_nifti"


def test_slope_and_intercept_are_applied_and_a_slope_of_zero_is_none(write_nifti: Write, tmp_path: Path) -> None:
    scaled = read_nifti(write_nifti(tmp_path / "a.nii", scl_slope=0.5, scl_inter=10.0)).volume
    assert scaled.voxels[BRIGHT] == 460
    assert read_nifti(write_nifti(tmp_path / "b.nii", scl_slope=0.0, scl_inter=10.0)).volume.voxels[BRIGHT] == 900


def test_whole_numbers_stored_as_floats_come_back_as_int16_and_fractions_as_float32(write_nifti: Write, tmp_path: Path) -> None:
    whole = read_nifti(write_nifti(tmp_path / "a.nii.gz", hu=body_hu().astype(np.float64))).volume.voxels
    part = read_nifti(write_nifti(tmp_path / "b.nii.gz", hu=body_hu() + 0.25)).volume.voxels
    assert whole.dtype == np.int16
    assert part.dtype == np.float32
    assert part[BRIGHT] == 900.25


def test_padding_below_air_becomes_air(write_nifti: Write, tmp_path: Path) -> None:
    hu = body_hu()
    hu[:, 0] = -3024
    reading = read_nifti(write_nifti(tmp_path / "a.nii.gz", hu=hu))
    assert reading.volume.voxels.min() == AIR_HU
    assert reading.notes == ("padding_replaced",)


def test_sheared_axes_are_kept_and_noted(write_nifti: Write, tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[1, 2] = 0.5
    assert read_nifti(write_nifti(tmp_path / "a.nii.gz", affine=affine)).notes == ("sheared",)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_2_is_read_like_nifti_1(write_nifti: Write, tmp_path: Path, name: str) -> None:
    one, two = write_nifti(tmp_path / f"one-{name}", affine=TURNED), tmp_path / name
    nib.save(nib.Nifti2Image(body_hu().transpose(2, 1, 0), TURNED), two)
    assert np.array_equal(read_nifti(two).volume.voxels, body_hu())
    assert read_nifti(two).volume.affine == pytest.approx(read_nifti(one).volume.affine)


@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_big_endian_files_hold_the_same_numbers(tmp_path: Path, kind: Any, dtype: str) -> None:
    numbers = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 100
    header = kind.header_class(endianness=">")
    header.set_data_dtype(f">{dtype}")
    nib.save(kind(numbers.transpose(2, 1, 0).astype(f">{dtype}"), TURNED, header), tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:2] == b"\0\0"
    volume = read_nifti(tmp_path / "a.nii").volume
    assert np.array_equal(volume.voxels, numbers)
    assert volume.voxels.dtype == np.int16


@pytest.mark.parametrize(("code", "mm", "notes"), [(0, 1, ()), (1, 1000, ("unit_converted",)), (3, 0.001, ("unit_converted",))])
def test_lengths_in_metres_and_microns_become_mm(
    write_nifti: Write, tmp_path: Path, code: int, mm: float, notes: tuple[str, ...]
) -> None:
    ras = np.diag([1 / mm, 1 / mm, 1 / mm, 1]) @ TURNED
    reading = read_nifti(write_nifti(tmp_path / "a.nii", affine=ras, xyzt_units=code | 8))
    assert reading.notes == notes
    plain = read_nifti(write_nifti(tmp_path / "b.nii", affine=TURNED)).volume
    assert reading.volume.affine == pytest.approx(plain.affine, rel=1e-5)


def test_a_unit_that_makes_voxels_of_another_world_is_refused(write_nifti: Write, tmp_path: Path) -> None:
    for unit in (1, 3, 5):
        assert code_of(write_nifti(tmp_path / "a.nii", xyzt_units=unit)) == "bad_affine"


@pytest.mark.parametrize("qfac", [1, -1])
def test_a_qform_alone_in_lps_like_orientation_keeps_every_voxel_in_its_place(tmp_path: Path, qfac: int) -> None:
    ras = np.diag([-1.25, -1.5, 3.0 * qfac, 1.0])
    ras[:3, 3] = 30, 20, 100
    volume = nib.Nifti1Image(body_hu().transpose(2, 1, 0), None)
    volume.set_sform(None, code=0)
    volume.set_qform(ras, code=1)
    nib.save(volume, tmp_path / "a.nii")
    with (tmp_path / "a.nii").open("rb") as stream:
        assert nib.Nifti1Header.from_fileobj(stream)["pixdim"][0] == qfac
    reading = read_nifti(tmp_path / "a.nii")
    k, j, i = BRIGHT
    assert world_mm(reading.volume.affine, BRIGHT) == pytest.approx([1.25 * i - 30, 1.5 * j - 20, 3 * qfac * k + 100])
    assert reading.notes == ()


@pytest.mark.parametrize(("taken_as", "signs"), [("RAS", (-1, -1, 1)), ("LPS", (1, 1, 1))])
def test_a_study_may_say_how_files_without_orientation_lie(
    write_nifti: Write, tmp_path: Path, taken_as: Any, signs: tuple[int, int, int]
) -> None:
    path = write_nifti(tmp_path / "a.nii", sform_code=0, qform_code=0)
    reading = read_nifti(path, no_orientation=taken_as)
    k, j, i = BRIGHT
    assert world_mm(reading.volume.affine, BRIGHT) == pytest.approx(np.array([1.25 * i, 1.5 * j, 3 * k]) * signs)
    assert reading.notes == ("orientation_assumed",)
    assert np.array_equal(read_nifti_header(path, no_orientation=taken_as).grid.affine, reading.volume.affine)


def test_a_qform_that_is_no_rotation_gives_way_to_the_sform_and_is_refused_alone(write_nifti: Write, tmp_path: Path) -> None:
    broken = {"quatern_b": 1.0, "quatern_c": 1.0, "quatern_d": 1.0, "qform_code": 1}
    assert read_nifti(write_nifti(tmp_path / "a.nii", sform_code=1, **broken)).notes == ("sform_qform_differ",)
    assert code_of(write_nifti(tmp_path / "b.nii", sform_code=0, **broken)) == "bad_affine"


def test_a_header_of_a_pair_of_files_is_refused(write_nifti: Write, tmp_path: Path) -> None:
    assert code_of(write_nifti(tmp_path / "a.nii", magic=b"ni1", vox_offset=0)) == "not_nifti"
    assert code_of(write_nifti(tmp_path / "a.nii", magic=b"ni1", vox_offset=352)) == "not_nifti"
    assert code_of(write_nifti(tmp_path / "a.nii", vox_offset=0)) == "not_nifti"
    nib.save(nib.Nifti1Pair(body_hu().transpose(2, 1, 0), TURNED), tmp_path / "b.hdr")
    (tmp_path / "b.hdr").rename(tmp_path / "b.nii")
    assert code_of(tmp_path / "b.nii") == "not_nifti"


def test_extensions_before_the_voxels_are_passed_over(tmp_path: Path) -> None:
    volume = nib.Nifti1Image(body_hu().transpose(2, 1, 0), TURNED)
    volume.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"words" * 3000))
    for name in ("a.nii", "a.nii.gz"):
        nib.save(volume, tmp_path / name)
        assert np.array_equal(read_nifti(tmp_path / name).volume.voxels, body_hu())


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_more_voxels_than_the_header_says_are_refused(write_nifti: Write, tmp_path: Path, name: str) -> None:
    raw = write_nifti(tmp_path / "whole.nii").read_bytes() + bytes(2)
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    assert code_of(tmp_path / name) == "corrupt"


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_that_ends_within_its_header_is_truncated(write_nifti: Write, tmp_path: Path, name: str) -> None:
    raw = write_nifti(tmp_path / "whole.nii").read_bytes()[:200]
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    assert code_of(tmp_path / name) == "truncated"


def test_an_intercept_alone_turns_unsigned_numbers_into_hu(write_nifti: Write, tmp_path: Path) -> None:
    stored = (body_hu() + 1024).astype(np.uint16)
    for slope, inter in ((1.0, -1024.0), (1.0, np.nan)):
        voxels = read_nifti(write_nifti(tmp_path / "a.nii", hu=stored, scl_slope=slope, scl_inter=inter)).volume.voxels
        assert np.array_equal(voxels, body_hu() if np.isfinite(inter) else stored)
        assert voxels.dtype == np.int16


@pytest.mark.parametrize("dtype", [np.int16, np.float64])
def test_no_more_than_the_stored_voxels_and_the_result_are_in_memory_at_once(tmp_path: Path, dtype: Any) -> None:
    stored = np.zeros((96, 96, 96), dtype=dtype)
    stored[:] = np.arange(96) - 2000
    nib.save(nib.Nifti1Image(stored, TURNED), tmp_path / "a.nii.gz")
    tracemalloc.start()
    try:
        voxels = read_nifti(tmp_path / "a.nii.gz").volume.voxels
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert voxels.dtype == np.int16
    assert peak < stored.nbytes + voxels.nbytes + (4 << 20)


SMALL = nib.Nifti1Image(np.zeros((4, 3, 2), dtype=np.int16), TURNED).to_bytes()


@settings(max_examples=150, deadline=None)
@given(changed(SMALL, gzip.compress(SMALL, mtime=0), nib.Nifti2Image(np.zeros((4, 3, 2)), TURNED).to_bytes()))
def test_any_bytes_give_a_volume_or_a_reason(content: bytes) -> None:
    reads_or_says_why(read_nifti, "a.nii.gz", content)


@pytest.mark.real
def test_a_real_ct_is_read_as_simpleitk_reads_it(real_scans: Path) -> None:
    path = real_scans / "abdomen_nifti_totalsegmentator" / "example_ct_sm.nii.gz"
    reading, seen = read_nifti(path), sitk.ReadImage(path)
    assert np.array_equal(reading.volume.voxels, np.maximum(sitk.GetArrayFromImage(seen), AIR_HU))
    assert world_mm(reading.volume.affine, (3, 5, 7)) == pytest.approx(seen.TransformIndexToPhysicalPoint((7, 5, 3)), abs=1e-3)


def test_an_sform_at_the_identity_beside_another_spacing_is_no_geometry(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((6, 5, 4), dtype=np.int16), np.eye(4))
    image.header.set_zooms((4.0, 4.0, 3.0))
    image.header.set_sform(np.eye(4), code=1)
    image.header.set_qform(None, code=0)
    nib.save(image, tmp_path / "a.nii")
    with pytest.raises(ScanError) as caught:
        read_nifti(tmp_path / "a.nii")
    assert caught.value.code == "bad_affine"
