"""NRRD, MetaImage and npz: the same voxels at the same place as SimpleITK gives, and a reason where it reads in silence."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from espalier.cohort.ingest import ingest
from espalier.cohort.metaimage import read_metaimage
from espalier.cohort.npz import read_npz, read_npz_header
from espalier.cohort.nrrd import read_nrrd
from espalier.cohort.options import CohortOptions
from espalier.cohort.read import read_path, read_scan
from espalier.cohort.sources import format_of
from espalier.cohort.table import read_cohort
from espalier.cohort.volume import AIR_HU, Reading
from espalier.errors import ScanError
from espalier.geometry import world_mm

from .conftest import BRIGHT, body_hu

READERS: dict[str, Callable[[Path], Reading]] = {
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
}
TURNED = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, -1.0)


def write(path: Path, *, dtype: type = np.int16, packed: bool = True, direction: tuple[float, ...] = TURNED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(body_hu().astype(dtype))
    image.SetSpacing((1.25, 1.5, 3.0))
    image.SetOrigin((-30.0, 20.0, 100.0))
    image.SetDirection(direction)
    sitk.WriteImage(image, path, useCompression=packed)
    return path


def place_by_simpleitk(path: Path) -> tuple[float, ...]:
    image = sitk.ReadImage(path)
    return image.TransformIndexToPhysicalPoint([int(n) for n in BRIGHT[::-1]])


def code_of(path: Path) -> str:
    with pytest.raises(ScanError) as caught:
        READERS[path.suffix](path)
    return caught.value.code


def edit_header(path: Path, old: str, new: str) -> Path:
    packed = path.read_bytes()
    assert old.encode() in packed
    path.write_bytes(packed.replace(old.encode(), new.encode(), 1))
    return path


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_voxels_and_their_places_are_those_that_simpleitk_gives(tmp_path: Path, suffix: str, packed: bool, dtype: type) -> None:
    path = write(tmp_path / f"a{suffix}", dtype=dtype, packed=packed)
    reading = READERS[suffix](path)
    assert reading.volume.voxels.dtype == np.int16
    assert np.array_equal(reading.volume.voxels, body_hu())
    assert world_mm(reading.volume.affine, BRIGHT) == pytest.approx(place_by_simpleitk(path), abs=1e-4)
    assert reading.notes == ()


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("packed", [True, False])
def test_cut_files_are_truncated_and_flipped_bits_corrupt(tmp_path: Path, suffix: str, packed: bool) -> None:
    path = write(tmp_path / f"a{suffix}", packed=packed)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert code_of(path) == "truncated"
    if packed:
        for place in range(120, 320, 10):
            flipped = bytearray(whole)
            flipped[-place] ^= 8
            path.write_bytes(flipped)
            try:  # a few bits at the end of a packed stream say nothing
                assert np.array_equal(READERS[suffix](path).volume.voxels, body_hu())
            except ScanError as error:
                assert error.code in {"corrupt", "truncated"}  # noqa: PT017 - most of twenty end here
        assert code_of(path) in {"corrupt", "truncated"}


def test_a_nrrd_in_another_space_and_byte_order_lies_where_it_says(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nrrd", packed=False)
    expected = world_mm(read_nrrd(path).volume.affine, BRIGHT)
    edit_header(path, "space: left-posterior-superior", "space: right-anterior-superior")
    assert world_mm(read_nrrd(path).volume.affine, BRIGHT) == pytest.approx(expected * [-1, -1, 1])
    header, _, voxels = path.read_bytes().partition(b"\n\n")
    swapped = np.frombuffer(voxels, dtype="<i2").astype(">i2").tobytes()
    path.write_bytes(header.replace(b"endian: little", b"endian: big") + b"\n\n" + swapped)
    assert np.array_equal(read_nrrd(path).volume.voxels, body_hu())


@pytest.mark.parametrize(
    ("suffix", "old", "new", "code"),
    [
        (".nrrd", "space: left-posterior-superior", "content: nothing", "no_orientation"),
        (".nrrd", "space directions: (", "space directions: (nan,0,0) (", "not_nrrd"),
        (".nrrd", "space origin: (-30", "space origin: (nan", "bad_affine"),
        (".nrrd", "sizes: 24 20 14", "sizes: 24000 20000 14000", "too_large"),
        (".nrrd", "sizes: 24 20 14", "sizes: 24 20 28", "truncated"),
        (".nrrd", "type: short", "type: block", "not_nrrd"),
        (".nrrd", "kinds: domain domain domain", "kinds: vector domain domain", "colour"),
        (".nrrd", "encoding: raw", "encoding: ascii", "not_nrrd"),
        (".nrrd", "NRRD000", "XRRD000", "not_nrrd"),
        (".mha", "TransformMatrix", "TransformMatriy", "no_orientation"),
        (".mha", "DimSize = 24 20 14", "DimSize = 24 20 1400", "truncated"),
        (".mha", "DimSize = 24 20 14", "DimSize = 0 20 14", "too_large"),
        (".mha", "ElementType = MET_SHORT", "ElementType = MET_SHORT_ARRAY", "colour"),
        (".mha", "ElementType = MET_SHORT", "ElementType = MET_STRANGE", "not_metaimage"),
        (".mha", "NDims = 3", "NDims = 4", "not_three_dimensional"),
        (".mha", "ElementSpacing = 1.25", "ElementSpacing = 0", "bad_affine"),
        (".mha", "ElementSpacing = 1.25", "ElementSpacing = one", "not_metaimage"),
    ],
)
def test_headers_that_cannot_be_right_are_refused(tmp_path: Path, suffix: str, old: str, new: str, code: str) -> None:
    assert code_of(edit_header(write(tmp_path / f"a{suffix}", packed=False), old, new)) == code


@pytest.mark.parametrize(("suffix", "old"), [(".nhdr", "data file: a.raw"), (".mhd", "ElementDataFile = a.raw")])
def test_data_files_must_lie_beside_their_header(tmp_path: Path, suffix: str, old: str) -> None:
    path = write(tmp_path / "in" / f"a{suffix}", packed=False)
    (tmp_path / "secret.raw").write_bytes((tmp_path / "in" / "a.raw").read_bytes())
    key = old.split("a.raw", maxsplit=1)[0]
    for told in ("../secret.raw", str(tmp_path / "secret.raw"), "LIST", "b\\c"):
        (tmp_path / "in" / f"b{suffix}").write_bytes(path.read_bytes().replace(old.encode(), f"{key}{told}".encode()))
        assert code_of(tmp_path / "in" / f"b{suffix}") in {"outside_its_folder", "missing_file", "not_nrrd", "not_metaimage"}
    (tmp_path / "in" / "a.raw").unlink()
    assert code_of(path) == "missing_file"


def test_padding_and_nan_are_mended_alike_in_every_format(tmp_path: Path) -> None:
    hu = body_hu().astype(np.float32)
    hu[0, 0, :5], hu[1, 1, 1] = -2000, np.nan
    np.savez(tmp_path / "a.npz", ct=hu, spacing_mm=[3, 1.5, 1.25], axes="SPL")
    image = sitk.GetImageFromArray(hu)
    for suffix in (".nrrd", ".mha"):
        sitk.WriteImage(image, tmp_path / f"a{suffix}")
    for reading in (read_npz(tmp_path / "a.npz"), read_nrrd(tmp_path / "a.nrrd"), read_metaimage(tmp_path / "a.mha")):
        assert reading.notes == ("nan_replaced", "padding_replaced")
        assert reading.volume.voxels.dtype == np.int16
        assert reading.volume.voxels[0, 0, :5].tolist() == [AIR_HU] * 5
        assert reading.volume.voxels[1, 1, 1] == AIR_HU


def test_an_npz_needs_a_stated_geometry(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", ct=body_hu(), other=np.zeros(3))
    with pytest.raises(ScanError) as caught:
        read_npz(tmp_path / "a.npz")
    assert caught.value.code == "no_orientation"
    by_study = read_npz(tmp_path / "a.npz", spacing_mm=(0.8, 0.7, 0.6), axes="IPL").volume
    assert np.array_equal(by_study.voxels, body_hu())
    assert world_mm(by_study.affine, BRIGHT) == pytest.approx([BRIGHT[2] * 0.6, BRIGHT[1] * 0.7, -BRIGHT[0] * 0.8])
    affine = np.array([[0, 0, 1.25, 5], [0, 1.5, 0, 6], [3.0, 0, 0, 7], [0, 0, 0, 1]])
    np.savez(tmp_path / "b.npz", voxels=body_hu(), affine=affine)
    assert np.array_equal(read_npz(tmp_path / "b.npz", spacing_mm=(1, 1, 1), axes="SPL").volume.affine, affine)
    np.savez(tmp_path / "c.npz", body_hu(), spacing_mm=[3, 1.5, 1.25], origin_mm=[1, 2, 3], axes="SAR")
    stated = read_npz(tmp_path / "c.npz").volume
    assert world_mm(stated.affine, BRIGHT) == pytest.approx([1 - BRIGHT[2] * 1.25, 2 - BRIGHT[1] * 1.5, 3 + BRIGHT[0] * 3])


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"ct": np.zeros((3, 4))}, "not_three_dimensional"),
        ({"a": np.zeros((3, 4, 5)), "b": np.zeros((3, 4, 5))}, "not_three_dimensional"),
        ({"ct": np.zeros((3, 4, 5), dtype=complex)}, "colour"),
        ({"ct": np.zeros((3, 4, 5)), "affine": np.zeros((4, 4))}, "bad_affine"),
        ({"ct": np.zeros((3, 4, 5)), "affine": np.zeros(5)}, "bad_affine"),
        ({"ct": np.zeros((3, 4, 5)), "axes": "SPX", "spacing_mm": [1, 1, 1]}, "bad_affine"),
        ({"ct": np.zeros((3, 4, 5)), "axes": "SSL", "spacing_mm": [1, 1, 1]}, "bad_affine"),
    ],
)
def test_arrays_that_are_no_volume_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], code: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ScanError) as caught:
        read_npz(tmp_path / "a.npz")
    assert caught.value.code == code


def test_nothing_is_unpickled_and_cut_or_changed_archives_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", ct=np.array([[[{}]]], dtype=object))
    with pytest.raises(ScanError) as caught:
        read_npz_header(tmp_path / "a.npz")
    assert caught.value.code == "not_npz"
    np.savez_compressed(tmp_path / "b.npz", ct=np.random.default_rng(0).integers(0, 9, (14, 20, 24)).astype(np.int16))
    whole = (tmp_path / "b.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 8
    (tmp_path / "b.npz").write_bytes(flipped)
    with pytest.raises(ScanError) as caught:
        read_npz(tmp_path / "b.npz", spacing_mm=(1, 1, 1), axes="SPL")
    assert caught.value.code == "corrupt"
    (tmp_path / "b.npz").write_bytes(whole[:-200])
    with pytest.raises(ScanError) as caught:
        read_npz(tmp_path / "b.npz", spacing_mm=(1, 1, 1), axes="SPL")
    assert caught.value.code in {"not_npz", "truncated"}


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("ct.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<i2", "fortran_order": False, "shape": (400, 512, 512)})
        for _ in range(200):
            stream.write(bytes(1 << 20))
    with pytest.raises(ScanError) as caught:
        read_npz(tmp_path / "a.npz", spacing_mm=(1, 1, 1), axes="SPL")
    assert caught.value.code == "too_large"
    path = write(tmp_path / "b.nrrd", packed=False)
    header = (
        path.read_bytes()
        .partition(b"\n\n")[0]
        .replace(b"24 20 14", b"512 512 400")
        .replace(b"encoding: raw", b"encoding: gzip")
    )
    path.write_bytes(header + b"\n\n" + gzip.compress(bytes(200 << 20)))
    assert code_of(path) == "too_large"


def test_single_files_of_every_kind_become_scans(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    for n, suffix in enumerate((".nrrd", ".nhdr", ".mha", ".mhd")):
        write(tmp_path / "scans" / f"P{n}" / f"a{suffix}", direction=(1, 0, 0, 0, 1, 0, 0, 0, 1))
    write_nifti(tmp_path / "scans" / "P4" / "a.nii")
    (tmp_path / "scans" / "P5").mkdir()
    np.savez(tmp_path / "scans" / "P5" / "a.npz", ct=body_hu())
    options = CohortOptions(sources=("scans",), npz_spacing_mm=(3.0, 1.5, 1.25), npz_axes="SPL")
    summary = ingest(options, folder=tmp_path)
    rows = {row["patient"]: row for row in read_cohort(tmp_path).to_dicts()}
    assert {patient: row["format"] for patient, row in rows.items()} == {
        "P0": "nrrd", "P1": "nrrd", "P2": "metaimage", "P3": "metaimage", "P4": "nifti", "P5": "npz",
    }  # fmt: skip
    assert summary.set_aside == 0
    for row in rows.values():
        assert np.array_equal(read_scan(row, folder=tmp_path).voxels, body_hu())
        assert (row["spacing_z_mm"], row["spacing_y_mm"], row["spacing_x_mm"]) == pytest.approx((3.0, 1.5, 1.25))
    assert np.array_equal(read_path(tmp_path / "scans" / "P2" / "a.mha").voxels, body_hu())


@pytest.mark.parametrize(
    ("name", "form"), [("a.NII.GZ", "nifti"), ("a.mhd", "metaimage"), ("a.raw", None), ("a.gz", None), (".a.nii", None)]
)
def test_formats_are_told_by_name(name: str, form: str | None) -> None:
    assert format_of(name) == form
