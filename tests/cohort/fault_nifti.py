"""Faults 39 and 42 to 53: NIfTI files whose axes, numbers, place, bytes or packing are not what they seem."""

import gzip
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

from .fault_scans import (
    LPS,
    SHAPE,
    Expected,
    kept_nifti,
    nifti,
    patch,
    ras_affine,
    set_aside,
    trunk_hu,
)

VOX_OFFSET = 352


def one(folder: Path) -> Path:
    return folder / "scan.nii"


def fault_39_four_axes(folder: Path) -> Expected:
    folder.mkdir(parents=True)
    hu = trunk_hu(folder.name).T
    nib.save(nib.Nifti1Image(np.stack([hu, hu, hu], axis=3), ras_affine()), one(folder))
    return set_aside("not_three_dimensional")


def fault_39_fourth_axis_of_one(folder: Path) -> Expected:
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(trunk_hu(folder.name).T[..., None], ras_affine()), one(folder))
    return kept_nifti(trunk_hu(folder.name))


def with_holes(folder: Path, share: float, value: float) -> np.ndarray:
    hu = trunk_hu(folder.name)
    holes = np.random.default_rng(42).random(hu.shape) < share
    holes[9:14, 20:28, 10:18] = False  # the marker stays
    voxels = hu.astype(np.float32)
    voxels[holes] = value
    nifti(one(folder), voxels)
    return np.where(holes, -1024, hu)


def fault_42_few_voxels_nan(folder: Path) -> Expected:
    return kept_nifti(with_holes(folder, 0.004, np.nan), "nan_replaced")


def fault_42_few_voxels_infinite(folder: Path) -> Expected:
    return kept_nifti(with_holes(folder, 0.004, np.inf), "nan_replaced")


def fault_42_many_voxels_nan(folder: Path) -> Expected:
    with_holes(folder, 0.1, np.nan)
    return set_aside("nan_voxels")


def as_type(folder: Path, dtype: object, **header: object) -> Expected:
    nifti(one(folder), trunk_hu(folder.name).astype(dtype), **header)
    return kept_nifti(trunk_hu(folder.name))


def fault_43_float64(folder: Path) -> Expected:
    return as_type(folder, np.float64)


def fault_43_int64(folder: Path) -> Expected:
    return as_type(folder, np.int64)


def fault_43_slope_of_zero(folder: Path) -> Expected:
    return as_type(folder, np.int16, scl_slope=0, scl_inter=17)


def fault_43_intercept_nan(folder: Path) -> Expected:
    return as_type(folder, np.int16, scl_slope=1, scl_inter=np.nan)


def fault_43_slope_and_intercept(folder: Path) -> Expected:
    nifti(one(folder), ((trunk_hu(folder.name) + 1024) * 2).astype(np.int16), scl_slope=0.5, scl_inter=-1024)
    return kept_nifti(trunk_hu(folder.name))


def fault_44_colour(folder: Path) -> Expected:
    rgb = np.zeros(SHAPE[::-1], dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    folder.mkdir(parents=True)
    nib.save(nib.Nifti1Image(rgb, ras_affine()), one(folder))
    return set_aside("colour")


def fault_45_affine_nan(folder: Path) -> Expected:
    nifti(one(folder), srow_x=[np.nan] * 4, srow_y=[np.nan] * 4)
    return set_aside("bad_affine")


def fault_45_affine_zero(folder: Path) -> Expected:
    nifti(one(folder), srow_x=[0] * 4, srow_y=[0] * 4, srow_z=[0] * 4)
    return set_aside("bad_affine")


def fault_46_sheared(folder: Path) -> Expected:
    affine = ras_affine()
    affine[1, 2] = affine[2, 2] * np.tan(np.radians(12))
    nifti(one(folder), affine=affine, qform_code=0)
    return kept_nifti(None, "sheared", affine=affine, spacing_z_mm=None, tolerance_hu=150)


def fault_47_sform_and_qform_differ(folder: Path) -> Expected:
    other = ras_affine()
    other[:3, 3] += 25
    path = nifti(one(folder))
    whole = nib.load(path, mmap=False)
    whole.set_qform(other, code=1)
    nib.save(nib.Nifti1Image(np.asarray(whole.dataobj), None, whole.header), path)
    return kept_nifti(trunk_hu(folder.name), "sform_qform_differ")


def fault_47_sform_and_qform_mirrored(folder: Path) -> Expected:
    other = ras_affine() @ np.diag([-1.0, 1, 1, 1])
    path = nifti(one(folder))
    whole = nib.load(path, mmap=False)
    whole.set_qform(other, code=1)
    nib.save(nib.Nifti1Image(np.asarray(whole.dataobj), None, whole.header), path)
    return set_aside("handedness_differs")


def fault_48_no_orientation(folder: Path) -> Expected:
    nifti(one(folder), sform_code=0, qform_code=0)
    return set_aside("no_orientation")


def fault_48_no_orientation_taken_as_ras(folder: Path) -> Expected:
    nifti(one(folder), sform_code=0, qform_code=0)
    return kept_nifti(trunk_hu(folder.name), "orientation_assumed", marker_mm=None)


def only_qform(folder: Path, affine: np.ndarray) -> Expected:
    hu = trunk_hu(folder.name)
    folder.mkdir(parents=True)
    whole = nib.Nifti1Image(hu.T, None)
    whole.set_sform(None, code=0)
    whole.set_qform(affine, code=1)
    nib.save(whole, one(folder))
    return kept_nifti(hu, affine=affine)


def fault_48_qform_alone_in_lps(folder: Path) -> Expected:
    return only_qform(folder, ras_affine())


def fault_48_qform_alone_feet_first(folder: Path) -> Expected:
    lps = LPS @ ras_affine() @ np.diag([-1.0, 1, -1, 1])
    return only_qform(folder, LPS @ lps)


def fault_49_truncated(folder: Path) -> Expected:
    path = nifti(one(folder))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return set_aside("truncated")


def packed(folder: Path, raw: bytes) -> Path:
    path = folder / "scan.nii.gz"
    path.write_bytes(raw)
    return path


def as_bytes(folder: Path) -> bytes:
    path = nifti(one(folder))
    raw = path.read_bytes()
    path.unlink()
    return raw


def fault_49_truncated_gz(folder: Path) -> Expected:
    raw = gzip.compress(as_bytes(folder), mtime=0)
    packed(folder, raw[: len(raw) // 2])
    return set_aside("truncated")


def fault_49_checksum_cut_off(folder: Path) -> Expected:
    packed(folder, gzip.compress(as_bytes(folder), mtime=0)[:-6])
    return set_aside("truncated")


def fault_50_bit_flipped(folder: Path) -> Expected:
    raw = bytearray(gzip.compress(as_bytes(folder), 0, mtime=0))  # stored, so that only the checksum can tell
    raw[len(raw) // 2] ^= 4
    packed(folder, bytes(raw))
    return set_aside("corrupt")


def fault_50_bit_flipped_in_deflated_bytes(folder: Path) -> Expected:
    raw = bytearray(gzip.compress(as_bytes(folder), mtime=0))
    raw[len(raw) // 2] ^= 16
    packed(folder, bytes(raw))
    return set_aside("corrupt|truncated")


def fault_51_claims_to_be_huge(folder: Path) -> Expected:
    nifti(one(folder), dim=[3, 32000, 32000, 32000, 1, 1, 1, 1])
    return set_aside("too_large|truncated")


def zeros(folder: Path, raw: bytes, blocks: int) -> Path:
    """Write a .nii.gz that goes on with `blocks` MiB of zeros, which pack to about a thousandth."""
    block = bytes(1 << 20)
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    out = [pack.compress(raw), pack.flush(zlib.Z_FULL_FLUSH)]
    repeat = pack.compress(block) + pack.flush(zlib.Z_FULL_FLUSH)
    crc = zlib.crc32(raw)
    for _ in range(blocks):
        crc = zlib.crc32(block, crc)
    end = b"\x03\x00" + crc.to_bytes(4, "little") + ((len(raw) + blocks * len(block)) % 2**32).to_bytes(4, "little")
    return packed(folder, b"".join(out) + repeat * blocks + end)


def fault_52_bomb(folder: Path) -> Expected:
    """Claim, and hold, 3 GiB of zeros in 3 MB."""
    path = one(folder)
    nifti(path)
    patch(path, dim=[3, 1024, 1024, 1536, 1, 1, 1, 1])
    raw = path.read_bytes()[:VOX_OFFSET]
    path.unlink()
    zeros(folder, raw, 3 << 10)
    return set_aside("too_large|truncated|constant_volume|out_of_memory")


def fault_52_bomb_behind_the_voxels(folder: Path) -> Expected:
    """Hide 256 MiB of zeros behind a small sound scan; it may be read to its end, but not held."""
    zeros(folder, as_bytes(folder), 1 << 8)
    right = kept_nifti(trunk_hu(folder.name))
    return Expected(
        ending="right_or_set_aside",
        codes=("too_large", "corrupt"),
        marker_mm=right.marker_mm,
        voxels_sha256=right.voxels_sha256,
    )


def fault_53_packed_twice(folder: Path) -> Expected:
    packed(folder, gzip.compress(gzip.compress(as_bytes(folder), mtime=0), mtime=0))
    return kept_nifti(trunk_hu(folder.name))


def fault_53_named_packed_but_is_not(folder: Path) -> Expected:
    packed(folder, as_bytes(folder))
    return kept_nifti(trunk_hu(folder.name))


def fault_53_packed_but_not_named_so(folder: Path) -> Expected:
    raw = gzip.compress(as_bytes(folder), mtime=0)
    one(folder).write_bytes(raw)
    return kept_nifti(trunk_hu(folder.name))


def fault_67_file_named_as_a_formula(folder: Path) -> Expected:
    path = nifti(folder / "=1+1.nii")
    path.write_bytes(path.read_bytes()[:5000])
    return set_aside("truncated")


NIFTI = (
    fault_39_four_axes,
    fault_39_fourth_axis_of_one,
    fault_42_few_voxels_nan,
    fault_42_few_voxels_infinite,
    fault_42_many_voxels_nan,
    fault_43_float64,
    fault_43_int64,
    fault_43_slope_of_zero,
    fault_43_intercept_nan,
    fault_43_slope_and_intercept,
    fault_44_colour,
    fault_45_affine_nan,
    fault_45_affine_zero,
    fault_46_sheared,
    fault_47_sform_and_qform_differ,
    fault_47_sform_and_qform_mirrored,
    fault_48_no_orientation,
    fault_48_qform_alone_in_lps,
    fault_48_qform_alone_feet_first,
    fault_49_truncated,
    fault_49_truncated_gz,
    fault_49_checksum_cut_off,
    fault_50_bit_flipped,
    fault_50_bit_flipped_in_deflated_bytes,
    fault_51_claims_to_be_huge,
    fault_52_bomb,
    fault_52_bomb_behind_the_voxels,
    fault_53_packed_twice,
    fault_53_named_packed_but_is_not,
    fault_53_packed_but_not_named_so,
    fault_67_file_named_as_a_formula,
)
NIFTI_WITH_SETTINGS = ((fault_48_no_orientation_taken_as_ras, 'no_orientation = "RAS"'),)
