import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from espalier.cohort.npz import read_npz, read_npz_header
from espalier.cohort.volume import AIR_HU
from espalier.geometry import canonical, world_mm

from .conftest import BRIGHT, BRIGHT_HU, ORIGIN_MM, PIXEL_MM, SHAPE, STEP_MM, body_hu
from .volume_files import changed, code_of, reads_or_says_why

AFFINE = np.array([[0, 0, 1.25, -30], [0, 1.5, 0, -20], [3, 0, 0, 100], [0, 0, 0, 1.0]])
SPACING = (STEP_MM, *PIXEL_MM)


def npz(path: Path, *, save: Callable[..., None] = np.savez, **arrays: Any) -> Path:
    save(path, **(arrays or {"ct": body_hu(), "affine": AFFINE}))
    return path


def code(path: Path, **options: Any) -> str:
    return code_of(read_npz, path, **options)


def here(affine: np.ndarray) -> list[float]:
    return list(world_mm(affine, BRIGHT))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_stated_affine_places_the_voxels(tmp_path: Path, save: Callable[..., None]) -> None:
    reading = read_npz(npz(tmp_path / "a.npz", save=save))
    assert np.array_equal(reading.volume.voxels, body_hu())
    assert reading.volume.voxels.dtype == np.int16
    assert here(reading.volume.affine) == pytest.approx([-30 + 11 * 1.25, -20 + 7 * 1.5, 100 + 5 * 3])
    assert reading.notes == ()


def test_the_header_alone_gives_the_same_grid(tmp_path: Path) -> None:
    told, volume = read_npz_header(npz(tmp_path / "a.npz")), read_npz(tmp_path / "a.npz").volume
    assert told.grid.shape == volume.shape == SHAPE
    assert np.array_equal(told.grid.affine, volume.affine)


def test_spacing_origin_and_axes_place_the_voxels_too(tmp_path: Path) -> None:
    for key in ("spacing_mm", "spacing"):
        for axes in ("SPL", np.array(["S", "P", "L"]), np.array(b"spl")):
            path = npz(tmp_path / "a.npz", ct=body_hu(), axes=axes, origin_mm=ORIGIN_MM, **{key: SPACING})
            assert read_npz(path).volume.affine == pytest.approx(AFFINE)


def test_the_study_may_state_what_the_file_does_not(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", ct=body_hu())
    assert code(path) == code(path, spacing_mm=SPACING) == code(path, axes="SPL") == "no_orientation"
    assert read_npz(path, spacing_mm=SPACING, axes="SPL").volume.affine[:3, :3] == pytest.approx(AFFINE[:3, :3])
    path = npz(tmp_path / "a.npz", ct=body_hu(), spacing=SPACING)
    assert code(path) == "no_orientation"
    assert read_npz(path, spacing_mm=(9, 9, 9), axes="SPL").volume.spacing_mm == pytest.approx(SPACING)


def test_axes_that_run_to_the_feet_are_turned_when_the_scan_is_stood_up(tmp_path: Path) -> None:
    volume = read_npz(npz(tmp_path / "a.npz", ct=body_hu()), spacing_mm=SPACING, axes="IPL").volume
    voxels, _ = canonical(volume.voxels, volume.affine)
    assert np.array_equal(voxels, body_hu()[::-1])
    assert here(volume.affine) == pytest.approx([11 * 1.25, 7 * 1.5, -5 * 3])


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "i4", "u2", "i8", "f2", "f4", ">f8"])
def test_every_number_in_either_order_gives_the_same_voxels(tmp_path: Path, dtype: str) -> None:
    numbers = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 100
    for order in "CF":
        stored = np.asarray(numbers.astype(dtype), order=order)
        volume = read_npz(npz(tmp_path / "a.npz", ct=stored, affine=AFFINE)).volume
        assert np.array_equal(volume.voxels, numbers)
        assert volume.voxels.dtype == np.int16
        assert volume.voxels.flags.c_contiguous


def test_the_volume_is_found_by_its_name_or_as_the_only_one(tmp_path: Path) -> None:
    other = np.zeros((2, 3, 4))
    for arrays in ({"volume": body_hu(), "mask": other}, {"anything": body_hu(), "flat": other[0]}):
        assert read_npz(npz(tmp_path / "a.npz", affine=AFFINE, **arrays)).volume.shape == SHAPE
    assert code(npz(tmp_path / "a.npz", affine=AFFINE, a=body_hu(), b=body_hu())) == "not_three_dimensional"


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"ct": np.zeros((3, 4, 5, 2))}, "not_three_dimensional"),
        ({"ct": np.zeros((3, 4))}, "not_three_dimensional"),
        ({"words": np.array(["a"])}, "not_three_dimensional"),
        ({"ct": np.zeros((3, 4, 5), dtype=complex)}, "colour"),
        ({"ct": np.zeros((3, 4, 5), dtype=[("r", "u1"), ("g", "u1")])}, "colour"),
        ({"ct": np.zeros((3, 0, 5))}, "too_large"),
        ({"affine": np.diag([1.0, 1, 0, 1])}, "bad_affine"),
        ({"affine": np.full((4, 4), np.nan)}, "bad_affine"),
        ({"affine": np.ones((4, 4))}, "bad_affine"),
        ({"affine": AFFINE + np.diag([0, 0, 0, 1.0])}, "bad_affine"),
        ({"affine": np.eye(3)}, "bad_affine"),
        ({"affine": np.zeros((400, 400))}, "bad_affine"),
        ({"affine": np.eye(4) * 1j}, "bad_affine"),
        ({"spacing": (1, 1, 1), "axes": "SPX"}, "bad_affine"),
        ({"spacing": (1, 1, 1), "axes": "SSL"}, "bad_affine"),
        ({"spacing": (1, 1, 1), "axes": "SP"}, "bad_affine"),
        ({"spacing": (1, 1, 1), "axes": "SPLA"}, "bad_affine"),
        ({"spacing": (1, -1, 1), "axes": "SPL"}, "bad_affine"),
        ({"spacing": (1, 1), "axes": "SPL"}, "bad_affine"),
        ({"spacing": "abc", "axes": "SPL"}, "bad_affine"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)  # fmt: skip
def test_arrays_that_leave_doubt_are_refused(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    whole = {"affine": AFFINE} if not arrays.keys() & {"affine", "spacing"} else {}
    voxels = {} if arrays.keys() & {"ct", "words"} else {"ct": body_hu()}
    assert code(npz(tmp_path / "a.npz", **voxels, **whole, **arrays)) == reason


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("unpickled").touch, ())


def test_nothing_is_unpickled_and_other_objects_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    traps = np.empty((1, 1, 1), dtype=object)
    traps[0, 0, 0] = Trap()
    assert code(npz(tmp_path / "a.npz", ct=traps, affine=AFFINE)) == "not_npz"
    assert code(npz(tmp_path / "a.npz", ct=body_hu(), affine=traps)) == "bad_affine"
    assert read_npz(npz(tmp_path / "a.npz", ct=body_hu(), affine=AFFINE, about=traps)).volume.shape == SHAPE
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.parametrize("content", [b"", b"words", b"PK", np.zeros((2, 3, 4)).tobytes()])
def test_what_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    assert code(tmp_path / "a.npz") == "not_npz"
    assert code(tmp_path / "b.npz") == "missing_file"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_cut_in_half_is_truncated_and_a_changed_byte_is_corrupt(tmp_path: Path, save: Callable[..., None]) -> None:
    path = npz(tmp_path / "a.npz", save=save)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert code(path) == "truncated"
    changed_bytes = bytearray(whole)
    changed_bytes[len(whole) // 4] ^= 4
    path.write_bytes(changed_bytes)
    assert code(path) in {"corrupt", "truncated"} if save is np.savez_compressed else code(path) == "corrupt"


def member(shape: str, size: int) -> bytes:
    """Return an array of zeros whose header claims what it likes."""
    words = f"{{'descr': '<i2', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(words).to_bytes(2, "little") + words.encode() + bytes(size)


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize(
    ("shape", "size", "reason"),
    [
        ("(2, 3, 4)", 40, "truncated"),
        ("(2, 3, 4)", 60, "corrupt"),
        ("(32000, 32000, 32000)", 48, "too_large"),
        ("(1024, 1024, 512)", 48, "truncated"),
        ("(-2, -3, 4)", 48, "too_large"),
        ("(2, 'a', 4)", 48, "corrupt"),
        ("(" * 300 + ")" * 300, 48, "corrupt"),
        ("(2, 3, 4.0)", 48, "corrupt"),
    ],
)
def test_an_array_is_judged_by_what_it_holds_and_not_by_what_it_claims(
    tmp_path: Path, shape: str, size: int, reason: str
) -> None:
    affine = io.BytesIO()
    np.save(affine, AFFINE)
    assert code(zipped(tmp_path / "a.npz", ct=member(shape, size), affine=affine.getvalue())) == reason


def test_a_small_array_that_claims_to_be_huge_takes_no_memory(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.npz", ct=member("(2, 3, 4)", 48), affine=member("(1000000, 1000000)", 128))
    assert code(path) == "bad_affine"
    path = zipped(tmp_path / "a.npz", ct=member("(2, 3, 4)", 48), affine=member("(4, 4)", 8))
    assert code(path) == "corrupt"


def test_a_bomb_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.npz", ct=member("(64, 1024, 1024)", 1 << 27))
    assert path.stat().st_size < 1 << 18
    assert code(path) == "too_large"


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("ct.npy", member("(2, 3, 4)", 48))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("ct.npy", member("(2, 3, 4)", 48))
    assert code(tmp_path / "a.npz") == "not_npz"


def test_no_numbers_and_padding_become_air_with_their_notes(tmp_path: Path) -> None:
    hu = body_hu().astype(np.float32)
    hu[3, 8, 8], hu[:, 0] = np.nan, -2000
    reading = read_npz(npz(tmp_path / "a.npz", ct=hu, affine=AFFINE))
    assert reading.notes == ("nan_replaced", "padding_replaced")
    assert reading.volume.voxels[3, 8, 8] == reading.volume.voxels.min() == AIR_HU
    assert reading.volume.voxels[BRIGHT] == BRIGHT_HU


def saved(save: Callable[..., None]) -> bytes:
    stream = io.BytesIO()
    save(stream, ct=np.zeros((2, 3, 4), dtype=np.int16), affine=AFFINE)
    return stream.getvalue()


@settings(max_examples=150, deadline=None)
@given(changed(saved(np.savez), saved(np.savez_compressed)))
def test_any_bytes_give_a_volume_or_a_reason(content: bytes) -> None:
    reads_or_says_why(read_npz, "a.npz", content)
