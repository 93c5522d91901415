import bz2
import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings

from espalier.cohort.nrrd import read_nrrd, read_nrrd_header
from espalier.cohort.volume import AIR_HU
from espalier.geometry import canonical, world_mm

from .conftest import BRIGHT, BRIGHT_HU, ORIGIN_MM, PIXEL_MM, SHAPE, STEP_MM, body_hu
from .volume_files import changed, code_of, itk_place, itk_volume, reads_or_says_why

AXIAL = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": " ".join(map(str, SHAPE[::-1])),
    "space directions": f"({PIXEL_MM[1]},0,0) (0,{PIXEL_MM[0]},0) (0,0,{STEP_MM})",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": f"({ORIGIN_MM[0]},{ORIGIN_MM[1]},{ORIGIN_MM[2]})",
}


def header(**fields: str | None) -> bytes:
    told = AXIAL | {name.replace("_", " "): value for name, value in fields.items()}
    lines = [f"{name}: {value}" for name, value in told.items() if value is not None]
    return ("NRRD0005\n# a comment: none\nkey:=value\n" + "\n".join(lines) + "\n").encode()


def nrrd(path: Path, *, packed: bytes | None = None, **fields: str | None) -> Path:
    path.write_bytes(header(**fields) + b"\n" + (body_hu().tobytes() if packed is None else packed))
    return path


def code(path: Path) -> str:
    return code_of(read_nrrd, path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
def test_voxels_and_their_places_are_those_that_simpleitk_sees(tmp_path: Path, name: str, packed: bool) -> None:
    sitk.WriteImage(itk_volume(), tmp_path / name, useCompression=packed)
    reading = read_nrrd(tmp_path / name)
    assert np.array_equal(reading.volume.voxels, body_hu())
    assert reading.volume.voxels.dtype == np.int16
    assert world_mm(reading.volume.affine, BRIGHT) == pytest.approx(itk_place(tmp_path / name))
    assert world_mm(reading.volume.affine, (0, 0, 3)) == pytest.approx(itk_place(tmp_path / name, (0, 0, 3)))
    assert reading.notes == ()


def test_the_header_alone_gives_the_same_grid(tmp_path: Path) -> None:
    sitk.WriteImage(itk_volume(), tmp_path / "a.nrrd")
    told, volume = read_nrrd_header(tmp_path / "a.nrrd"), read_nrrd(tmp_path / "a.nrrd").volume
    assert told.grid.shape == volume.shape == SHAPE
    assert np.array_equal(told.grid.affine, volume.affine)


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (1, 1, 1)), ("LPS", (1, 1, 1)), ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)), ("Left-Anterior-Superior", (1, -1, 1)), ("LAS", (1, -1, 1)),
    ],
)  # fmt: skip
def test_every_space_of_the_body_becomes_lps(tmp_path: Path, space: str, signs: tuple[int, int, int]) -> None:
    affine = read_nrrd(nrrd(tmp_path / "a.nrrd", space=space)).volume.affine
    here = np.array(ORIGIN_MM) + np.array(BRIGHT[::-1]) * [PIXEL_MM[1], PIXEL_MM[0], STEP_MM]
    assert world_mm(affine, BRIGHT) == pytest.approx(here * signs)
    if len(space) > 3:
        assert world_mm(affine, BRIGHT) == pytest.approx(itk_place(tmp_path / "a.nrrd"))


def test_axes_stored_in_another_order_show_the_same_patient(tmp_path: Path) -> None:
    turned = {
        "sizes": f"{SHAPE[0]} {SHAPE[2]} {SHAPE[1]}",
        "space_directions": f"(0,0,{STEP_MM}) ({PIXEL_MM[1]},0,0) (0,{PIXEL_MM[0]},0)",
    }
    plain = read_nrrd(nrrd(tmp_path / "a.nrrd")).volume
    other = read_nrrd(nrrd(tmp_path / "b.nrrd", packed=body_hu().transpose(1, 2, 0).tobytes(), **turned)).volume
    voxels, affine = canonical(other.voxels, other.affine)
    assert np.array_equal(voxels, plain.voxels)
    assert affine == pytest.approx(plain.affine)


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize(
    ("name", "kind"), [("signed char", "i1"), ("uint8", "u1"), ("unsigned short", "u2"), ("int32_t", "i4"), ("uint", "u4"),
    ("long long int", "i8"), ("unsigned long long", "u8"), ("float", "f4"), ("double", "f8")]
)  # fmt: skip
def test_every_type_in_either_order_of_bytes_gives_the_same_numbers(tmp_path: Path, name: str, kind: str, endian: str) -> None:
    numbers = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 100
    packed = numbers.astype((">" if endian == "big" else "<") + kind).tobytes()
    path = nrrd(tmp_path / "a.nrrd", packed=packed, type=name, endian=endian)
    volume = read_nrrd(path).volume
    assert np.array_equal(volume.voxels, numbers)
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(path)), numbers)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"space": None}, "no_orientation"),
        ({"space": "scanner-xyz"}, "no_orientation"),
        ({"space directions": None, "spacings": "1 1 3"}, "no_orientation"),
        ({"space origin": None}, "no_orientation"),
        ({"space directions": "(1,0,0) (0,1,0) (1,0,0)"}, "bad_affine"),
        ({"space directions": "(1,0,0) (0,nan,0) (0,0,1)"}, "bad_affine"),
        ({"space directions": "(0.0007,0,0) (0,0.0007,0) (0,0,0.003)"}, "bad_affine"),
        ({"space origin": "(inf,0,0)"}, "bad_affine"),
        ({"space directions": "(1e308,1e308,0) (0,1,0) (0,0,1)", "space units": '"m" "m" "m"'}, "bad_affine"),
        ({"space units": '"parsec" "parsec" "parsec"'}, "bad_affine"),
        ({"space directions": "(1,0,0) (0,1,0)"}, "not_nrrd"),
        ({"space directions": "(1,0) (0,1) (1,1)"}, "not_nrrd"),
        ({"kinds": "RGB-color domain domain"}, "colour"),
        ({"kinds": "vector domain domain domain", "dimension": "4", "sizes": "3 8 20 14"}, "colour"),
        ({"kinds": "domain domain domain list", "dimension": "4", "sizes": "8 20 14 3"}, "not_three_dimensional"),
        ({"kinds": "list domain domain"}, "not_three_dimensional"),
        ({"dimension": "2", "sizes": "24 280"}, "not_three_dimensional"),
        ({"dimension": "4"}, "not_nrrd"),
        ({"type": "block"}, "not_nrrd"),
        ({"endian": None}, "not_nrrd"),
        ({"encoding": "ascii"}, "not_nrrd"),
        ({"encoding": None}, "not_nrrd"),
        ({"sizes": "32000 32000 32000"}, "too_large"),
        ({"sizes": "24 0 14"}, "too_large"),
        ({"sizes": "-24 -20 14"}, "too_large"),
        ({"sizes": "24 20 1000"}, "truncated"),
        ({"sizes": "24 20 13"}, "corrupt"),
        ({"type": "uchar"}, "corrupt"),
        ({"sizes": "24 x 14"}, "not_nrrd"),
        ({"byte skip": "-2"}, "not_nrrd"),
        ({"data file": "LIST"}, "not_nrrd"),
        ({"data file": "a%03d.raw 1 14 1"}, "not_nrrd"),
    ],
    ids=str,
)  # fmt: skip
def test_a_header_that_leaves_doubt_is_refused(tmp_path: Path, fields: dict[str, str | None], reason: str) -> None:
    told = {name.replace(" ", "_"): value for name, value in fields.items()}
    assert code(nrrd(tmp_path / "a.nrrd", **told)) == reason


def test_a_field_with_two_values_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(header() + b"space origin: (0,0,0)\n\n" + body_hu().tobytes())
    assert code(tmp_path / "a.nrrd") == "not_nrrd"


@pytest.mark.parametrize(("unit", "mm"), [("cm", 10.0), ("m", 1000.0), ("mm", 1.0), ("um", 0.001)])
def test_lengths_in_another_unit_become_mm_and_are_noted(tmp_path: Path, unit: str, mm: float) -> None:
    x, y, z = PIXEL_MM[1] / mm, PIXEL_MM[0] / mm, STEP_MM / mm
    origin = ",".join(str(n / mm) for n in ORIGIN_MM)
    fields = {"space_directions": f"({x},0,0) (0,{y},0) (0,0,{z})", "space_origin": f"({origin})"}
    reading = read_nrrd(nrrd(tmp_path / "a.nrrd", space_units=" ".join([f'"{unit}"'] * 3), **fields))
    assert reading.volume.spacing_mm == pytest.approx((STEP_MM, *PIXEL_MM))
    assert world_mm(reading.volume.affine, (0, 0, 0)) == pytest.approx(ORIGIN_MM)
    assert reading.notes == (() if unit == "mm" else ("unit_converted",))


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_a_file_cut_short_or_with_more_than_its_voxels_is_refused(tmp_path: Path, encoding: str) -> None:
    pack = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}[encoding]
    noise = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16).tobytes()
    whole = pack(noise)
    assert read_nrrd(nrrd(tmp_path / "a.nrrd", packed=whole, encoding=encoding)).volume.voxels.tobytes() == noise
    assert code(nrrd(tmp_path / "a.nrrd", packed=whole[: len(whole) // 2], encoding=encoding)) == "truncated"
    assert code(nrrd(tmp_path / "a.nrrd", packed=whole[:-3], encoding=encoding)) == "truncated"
    assert code(nrrd(tmp_path / "a.nrrd", packed=pack(noise + bytes(2)), encoding=encoding)) == "corrupt"
    assert code(nrrd(tmp_path / "a.nrrd", packed=pack(noise[:-2]), encoding=encoding)) == "truncated"


def test_one_voxel_too_many_is_seen_where_the_voxels_end_with_a_full_piece(tmp_path: Path) -> None:
    for more, reason in ((0, ""), (2, "corrupt")):
        fields = {"packed": gzip.compress(bytes((1 << 20) + more)), "encoding": "gzip", "sizes": "512 512 2"}
        path = nrrd(tmp_path / "a.nrrd", **fields)
        assert code(path) == reason if reason else read_nrrd(path).volume.shape == (2, 512, 512)


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_a_flipped_bit_in_packed_voxels_is_corrupt(tmp_path: Path, encoding: str) -> None:
    packed = bytearray(gzip.compress(body_hu().tobytes(), 0) if encoding == "gzip" else bz2.compress(body_hu().tobytes()))
    packed[len(packed) // 2] ^= 4
    assert code(nrrd(tmp_path / "a.nrrd", packed=bytes(packed), encoding=encoding)) == "corrupt"


def test_a_small_file_that_claims_a_gigabyte_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    packed = gzip.compress(bytes(1 << 20))
    fields = {"encoding": "gzip", "type": "uchar"}
    assert code(nrrd(tmp_path / "a.nrrd", packed=packed * 1024, sizes="1024 1024 1024", **fields)) == "too_large"
    assert code(nrrd(tmp_path / "b.nrrd", packed=packed, sizes="1024 1024 1024", **fields)) == "truncated"


def test_voxels_beside_the_header_may_lie_behind_lines_and_bytes(tmp_path: Path) -> None:
    hu = body_hu().tobytes()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.raw").write_bytes(b"a line\nanother\n12345" + hu)
    path = tmp_path / "a.nhdr"
    for skips in ({"line_skip": "2", "byte_skip": "5"}, {"lineskip": "2", "byteskip": "5"}, {"byte_skip": "-1"}):
        path.write_bytes(header(data_file="below/a.raw", **skips))
        assert np.array_equal(read_nrrd(path).volume.voxels, body_hu())
    path.write_bytes(header(data_file="below/a.raw", byte_skip="5"))
    assert code(path) == code_of(read_nrrd_header, path) == "corrupt"
    path.write_bytes(header(data_file="below/a.raw", byte_skip="5", encoding="gzip"))
    assert code(path) == "not_nrrd"


@pytest.mark.parametrize("told", ["../a.raw", "below/../../a.raw", "ABSOLUTE", "link.raw", "..\\a.raw"])
def test_voxels_outside_the_headers_folder_are_not_read(tmp_path: Path, told: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "a.raw").write_bytes(body_hu().tobytes())
    (inner / "link.raw").symlink_to(tmp_path / "a.raw")
    (inner / "a.nhdr").write_bytes(header(data_file=str(tmp_path / "a.raw") if told == "ABSOLUTE" else told))
    assert code(inner / "a.nhdr") == "outside_its_folder"


@pytest.mark.parametrize("told", ["gone.raw", "a\0b.raw", "loop.raw", "x" * 300, "below"])
def test_voxels_that_are_not_there_are_missing(tmp_path: Path, told: str) -> None:
    (tmp_path / "loop.raw").symlink_to(tmp_path / "loop.raw")
    (tmp_path / "below").mkdir()
    (tmp_path / "a.nhdr").write_bytes(header(data_file=told))
    assert code(tmp_path / "a.nhdr") == "missing_file"


def test_a_header_cut_within_a_number_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(body_hu().tobytes())
    whole = b"NRRD0005\ndata file: a.raw\n" + header().partition(b"\n")[2]
    path = tmp_path / "a.nhdr"
    path.write_bytes(whole)
    assert np.array_equal(read_nrrd(path).volume.voxels, body_hu())
    path.write_bytes(header(data_file="a.raw").rstrip())
    assert np.array_equal(read_nrrd(path).volume.voxels, body_hu())
    path.write_bytes(whole[:-3] + b")")
    assert code(path) == "not_nrrd"


@pytest.mark.parametrize("content", [b"", b"NRRD", b"NRRD0005\n", b"no volume", header(), b"NRRD0005\n\n"])
def test_what_is_no_nrrd_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.nrrd").write_bytes(content)
    assert code(tmp_path / "a.nrrd") == "not_nrrd"


def test_nothing_and_a_folder_are_missing_files(tmp_path: Path) -> None:
    assert code(tmp_path / "a.nrrd") == "missing_file"
    (tmp_path / "b.nrrd").mkdir()
    assert code(tmp_path / "b.nrrd") == "missing_file"


def test_few_voxels_that_are_no_numbers_become_air_and_many_are_refused(tmp_path: Path) -> None:
    hu = body_hu().astype(np.float32)
    hu[3, 8, 8:10] = np.nan, np.inf
    reading = read_nrrd(nrrd(tmp_path / "a.nrrd", packed=hu.tobytes(), type="float"))
    assert reading.notes == ("nan_replaced",)
    assert (reading.volume.voxels[3, 8, 8:10] == AIR_HU).all()
    assert reading.volume.voxels[BRIGHT] == BRIGHT_HU
    hu[:2] = np.nan
    assert code(nrrd(tmp_path / "b.nrrd", packed=hu.tobytes(), type="float")) == "nan_voxels"


def test_padding_below_air_becomes_air_and_fractions_stay(tmp_path: Path) -> None:
    hu = body_hu().astype(np.float64) + 0.25
    hu[:, 0] = -3024
    reading = read_nrrd(nrrd(tmp_path / "a.nrrd", packed=hu.tobytes(), type="double"))
    assert reading.notes == ("padding_replaced",)
    assert reading.volume.voxels.min() == AIR_HU
    assert reading.volume.voxels[BRIGHT] == BRIGHT_HU + 0.25
    assert reading.volume.voxels.dtype == np.float32


def test_numbers_that_float32_cannot_hold_are_no_numbers(tmp_path: Path) -> None:
    hu = body_hu().astype(np.float64)
    hu[0, 0, 0] = 1e300
    reading = read_nrrd(nrrd(tmp_path / "a.nrrd", packed=hu.tobytes(), type="double"))
    assert (reading.volume.voxels[0, 0, 0], reading.notes) == (AIR_HU, ("nan_replaced",))


def test_numbers_too_large_for_int16_stay_what_they_are(tmp_path: Path) -> None:
    hu = body_hu().astype(np.int32)
    hu[BRIGHT] = 40_000
    voxels = read_nrrd(nrrd(tmp_path / "a.nrrd", packed=hu.tobytes(), type="int")).volume.voxels
    assert (voxels[BRIGHT], voxels.dtype) == (40_000, np.float32)


def test_sheared_axes_are_kept_and_noted(tmp_path: Path) -> None:
    directions = f"({PIXEL_MM[1]},0,0) (0,{PIXEL_MM[0]},0) (0,0.7,{STEP_MM})"
    reading = read_nrrd(nrrd(tmp_path / "a.nrrd", space_directions=directions))
    assert reading.notes == ("sheared",)
    assert reading.volume.affine[:3, 0] == pytest.approx([0, 0.7, STEP_MM])


@pytest.mark.real
def test_a_real_ct_and_its_mask_are_read_as_simpleitk_reads_them(real_scans: Path) -> None:
    for name in ("ct-64.nrrd", "wholeLung-64.nrrd"):
        path = real_scans / "chest_dicom_64" / name
        reading, seen = read_nrrd(path), sitk.ReadImage(path)
        assert np.array_equal(reading.volume.voxels, np.maximum(sitk.GetArrayFromImage(seen).astype(np.int32), AIR_HU))
        assert world_mm(reading.volume.affine, (3, 5, 7)) == pytest.approx(seen.TransformIndexToPhysicalPoint((7, 5, 3)))


SMALL = header(sizes="4 3 2") + b"\n" + bytes(48)
PACKED = header(sizes="4 3 2", encoding="gzip") + b"\n" + gzip.compress(bytes(48), mtime=0)


@settings(max_examples=150, deadline=None)
@given(changed(SMALL, PACKED))
def test_any_bytes_give_a_volume_or_a_reason(content: bytes) -> None:
    reads_or_says_why(read_nrrd, "a.nrrd", content)


@settings(max_examples=40, deadline=None)
@given(changed(header(sizes="4 3 2", data_file="a.nhdr")))
def test_a_header_of_any_bytes_gives_a_volume_or_a_reason(content: bytes) -> None:
    reads_or_says_why(read_nrrd, "a.nhdr", content)
