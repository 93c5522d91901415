import gzip
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings

from espalier.cohort.metaimage import read_metaimage, read_metaimage_header
from espalier.cohort.volume import AIR_HU
from espalier.geometry import world_mm

from .conftest import BRIGHT, BRIGHT_HU, ORIGIN_MM, PIXEL_MM, SHAPE, STEP_MM, body_hu
from .volume_files import TURNED, changed, code_of, itk_place, itk_volume, reads_or_says_why

AXIAL = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": " ".join(map(str, ORIGIN_MM)),
    "AnatomicalOrientation": "RAI",
    "ElementSpacing": f"{PIXEL_MM[1]} {PIXEL_MM[0]} {STEP_MM}",
    "DimSize": " ".join(map(str, SHAPE[::-1])),
    "ElementType": "MET_SHORT",
}
MIRRORED = (-1.0, 0, 0, 0, 1, 0, 0, 0, 1)


def header(data: str = "LOCAL", **fields: str | None) -> bytes:
    told = AXIAL | fields
    lines = [f"{name} = {value}" for name, value in told.items() if value is not None]
    return ("\n".join(lines) + f"\nElementDataFile = {data}\n").encode()


def mha(path: Path, *, packed: bytes | None = None, **fields: str | None) -> Path:
    path.write_bytes(header(**fields) + (body_hu().tobytes() if packed is None else packed))
    return path


def code(path: Path) -> str:
    return code_of(read_metaimage, path)


@pytest.mark.parametrize("direction", [TURNED, MIRRORED])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_voxels_and_their_places_are_those_that_simpleitk_sees(
    tmp_path: Path, name: str, packed: bool, direction: tuple[float, ...]
) -> None:
    sitk.WriteImage(itk_volume(direction=direction), tmp_path / name, useCompression=packed)
    reading = read_metaimage(tmp_path / name)
    assert np.array_equal(reading.volume.voxels, body_hu())
    assert reading.volume.voxels.dtype == np.int16
    assert world_mm(reading.volume.affine, BRIGHT) == pytest.approx(itk_place(tmp_path / name))
    assert world_mm(reading.volume.affine, (0, 0, 3)) == pytest.approx(itk_place(tmp_path / name, (0, 0, 3)))
    assert reading.notes == ()


def test_the_header_alone_gives_the_same_grid(tmp_path: Path) -> None:
    sitk.WriteImage(itk_volume(), tmp_path / "a.mha")
    told, volume = read_metaimage_header(tmp_path / "a.mha"), read_metaimage(tmp_path / "a.mha").volume
    assert told.grid.shape == volume.shape == SHAPE
    assert np.array_equal(told.grid.affine, volume.affine)


@pytest.mark.parametrize("big", ["False", "True"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [("CHAR", "i1"), ("UCHAR", "u1"), ("USHORT", "u2"), ("INT", "i4"), ("UINT", "u4"), ("LONG", "i4"), ("LONG_LONG", "i8"),
    ("ULONG_LONG", "u8"), ("FLOAT", "f4"), ("DOUBLE", "f8")],
)  # fmt: skip
def test_every_type_in_either_order_of_bytes_gives_the_same_numbers(tmp_path: Path, name: str, kind: str, big: str) -> None:
    numbers = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 100
    packed = numbers.astype((">" if big == "True" else "<") + kind).tobytes()
    path = mha(tmp_path / "a.mha", packed=packed, ElementType=f"MET_{name}", BinaryDataByteOrderMSB=big)
    assert np.array_equal(read_metaimage(path).volume.voxels, numbers)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(path)), numbers)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"TransformMatrix": None}, "no_orientation"),
        ({"Offset": None}, "no_orientation"),
        ({"ElementSpacing": None}, "no_orientation"),
        ({"TransformMatrix": "1 0 0 0 1 0 1 0 0"}, "bad_affine"),
        ({"TransformMatrix": "2 0 0 0 2 0 0 0 2"}, "bad_affine"),
        ({"TransformMatrix": "1 0 0 0 nan 0 0 0 1"}, "bad_affine"),
        ({"ElementSpacing": "1 -1 3"}, "bad_affine"),
        ({"ElementSpacing": "0 0 0"}, "bad_affine"),
        ({"ElementSpacing": "0.0007 0.0007 0.003"}, "bad_affine"),
        ({"DistanceUnits": "m"}, "bad_affine"),
        ({"Offset": "inf 0 0"}, "bad_affine"),
        ({"ElementSpacing": "inf 1 3"}, "bad_affine"),
        ({"TransformMatrix": "1 0 0 1"}, "not_metaimage"),
        ({"ElementSpacing": "1 1"}, "not_metaimage"),
        ({"Offset": "1 1"}, "not_metaimage"),
        ({"ElementNumberOfChannels": "3"}, "colour"),
        ({"ElementType": "MET_UCHAR_ARRAY"}, "colour"),
        ({"NDims": "4", "DimSize": "24 20 14 1"}, "not_three_dimensional"),
        ({"NDims": "2", "DimSize": "24 280"}, "not_three_dimensional"),
        ({"NDims": "4"}, "not_three_dimensional"),
        ({"ElementType": "MET_STRING"}, "not_metaimage"),
        ({"ElementType": None}, "not_metaimage"),
        ({"BinaryData": "False"}, "not_metaimage"),
        ({"CompressedData": "Perhaps"}, "not_metaimage"),
        ({"ElementByteOrderMSB": "True"}, "not_metaimage"),
        ({"HeaderSize": "12"}, "not_metaimage"),
        ({"ElementToIntensityFunctionOffset": "-1024"}, "not_metaimage"),
        ({"DimSize": "24 x 14"}, "not_metaimage"),
        ({"DimSize": "32000 32000 32000"}, "too_large"),
        ({"DimSize": "24 0 14"}, "too_large"),
        ({"DimSize": "24 20 1000"}, "truncated"),
        ({"DimSize": "24 20 13"}, "corrupt"),
        ({"ElementType": "MET_CHAR"}, "corrupt"),
        ({"data": "LIST"}, "not_metaimage"),
        ({"data": "a%03d.raw 1 14 1"}, "not_metaimage"),
        ({"data": ""}, "not_metaimage"),
    ],
    ids=str,
)  # fmt: skip
def test_a_header_that_leaves_doubt_is_refused(tmp_path: Path, fields: dict[str, str | None], reason: str) -> None:
    assert code(mha(tmp_path / "a.mha", **fields)) == reason


def test_a_field_with_two_values_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(b"Offset = 0 0 0\n" + header() + body_hu().tobytes())
    assert code(tmp_path / "a.mha") == "not_metaimage"


@pytest.mark.parametrize(("told", "notes"), [("RAI", ()), ("???", ()), ("LPS", ("anatomical_orientation_differs",))])
def test_letters_that_do_not_fit_the_matrix_are_noted_and_the_matrix_counts(
    tmp_path: Path, told: str, notes: tuple[str, ...]
) -> None:
    path = mha(tmp_path / "a.mha", AnatomicalOrientation=told)
    reading = read_metaimage(path)
    assert reading.notes == notes
    assert world_mm(reading.volume.affine, BRIGHT) == pytest.approx(itk_place(path))


def test_an_order_of_bytes_that_nobody_states_is_taken_as_the_usual_one_and_noted(tmp_path: Path) -> None:
    reading = read_metaimage(mha(tmp_path / "a.mha", BinaryDataByteOrderMSB=None))
    assert np.array_equal(reading.volume.voxels, body_hu())
    assert reading.notes == ("byte_order_assumed",)


@pytest.mark.parametrize("wbits", [zlib.MAX_WBITS, zlib.MAX_WBITS | 16])
def test_packed_voxels_that_are_cut_or_changed_or_too_many_are_refused(tmp_path: Path, wbits: int) -> None:
    noise = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16).tobytes()
    path = tmp_path / "a.mha"

    def pack(raw: bytes, level: int = 6) -> bytes:
        packer = zlib.compressobj(level, wbits=wbits)
        return packer.compress(raw) + packer.flush()

    whole = pack(noise)
    assert read_metaimage(mha(path, packed=whole, CompressedData="True")).volume.voxels.tobytes() == noise
    assert code(mha(path, packed=whole[: len(whole) // 2], CompressedData="True")) == "truncated"
    assert code(mha(path, packed=whole[:-2], CompressedData="True")) == "truncated"
    assert code(mha(path, packed=whole + b"\0", CompressedData="True")) == "corrupt"
    assert code(mha(path, packed=pack(noise + bytes(2)), CompressedData="True")) == "corrupt"
    assert code(mha(path, packed=pack(noise[:-2]), CompressedData="True")) == "truncated"
    flipped = bytearray(pack(noise, 0))
    flipped[len(flipped) // 2] ^= 4
    assert code(mha(path, packed=bytes(flipped), CompressedData="True")) == "corrupt"


def test_a_small_file_that_claims_a_gigabyte_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    fields = {"CompressedData": "True", "DimSize": "1024 1024 1024", "ElementType": "MET_UCHAR"}
    packed = gzip.compress(bytes(1 << 20))
    assert code(mha(tmp_path / "a.mha", packed=packed * 1024, **fields)) == "too_large"
    assert code(mha(tmp_path / "b.mha", packed=packed, **fields)) == "truncated"


def test_voxels_beside_the_header_may_lie_behind_a_header_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.raw").write_bytes(b"12345" + body_hu().tobytes())
    path = tmp_path / "a.mhd"
    for size in ("5", "-1"):
        path.write_bytes(header("below/a.raw", HeaderSize=size))
        assert np.array_equal(read_metaimage(path).volume.voxels, body_hu())
    path.write_bytes(header("below/a.raw"))
    assert code(path) == "corrupt"
    path.write_bytes(header("below/a.raw", HeaderSize="-1", DimSize="24 20 15"))
    assert code(path) == "truncated"


@pytest.mark.parametrize("told", ["../a.raw", "ABSOLUTE", "link.raw"])
def test_voxels_outside_the_headers_folder_are_not_read(tmp_path: Path, told: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "a.raw").write_bytes(body_hu().tobytes())
    (inner / "link.raw").symlink_to(tmp_path / "a.raw")
    (inner / "a.mhd").write_bytes(header(str(tmp_path / "a.raw") if told == "ABSOLUTE" else told))
    assert code(inner / "a.mhd") == "outside_its_folder"


def test_voxels_that_are_not_there_are_missing(tmp_path: Path) -> None:
    (tmp_path / "a.mhd").write_bytes(header("gone.raw"))
    assert code(tmp_path / "a.mhd") == "missing_file"
    assert code(tmp_path / "b.mhd") == "missing_file"


@pytest.mark.parametrize("content", [b"", b"no volume", b"\n\n", b"NDims = 3\n", header()[:-30]])
def test_what_is_no_metaimage_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mha").write_bytes(content)
    assert code(tmp_path / "a.mha") == "not_metaimage"


def test_no_numbers_and_padding_become_air_with_their_notes(tmp_path: Path) -> None:
    hu = body_hu().astype(np.float32)
    hu[3, 8, 8], hu[:, 0] = np.nan, -2000
    reading = read_metaimage(mha(tmp_path / "a.mha", packed=hu.tobytes(), ElementType="MET_FLOAT"))
    assert reading.notes == ("nan_replaced", "padding_replaced")
    assert reading.volume.voxels[3, 8, 8] == reading.volume.voxels.min() == AIR_HU
    assert reading.volume.voxels[BRIGHT] == BRIGHT_HU
    hu[:2] = np.nan
    assert code(mha(tmp_path / "b.mha", packed=hu.tobytes(), ElementType="MET_FLOAT")) == "nan_voxels"


SMALL = header(DimSize="4 3 2") + bytes(48)
PACKED = header(DimSize="4 3 2", CompressedData="True") + zlib.compress(bytes(48))


@settings(max_examples=150, deadline=None)
@given(changed(SMALL, PACKED))
def test_any_bytes_give_a_volume_or_a_reason(content: bytes) -> None:
    reads_or_says_why(read_metaimage, "a.mha", content)
