from pathlib import Path

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.errors import InputError, ResourceError, VersionError
from espalier.store.format import open_array, write_array

AFFINE = np.array([[0, 0, 1.5, -20.25], [0, 1.5, 0, 5.0], [3.0, 0, 0, -40.1], [0, 0, 0, 1]])


def hu(shape: tuple[int, int, int] = (40, 70, 65)) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 300, shape).astype(np.int16)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_crop_from_a_fresh_handle_is_exact(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("store") / "a.b2nd"
    voxels = hu()
    write_array(path, voxels, AFFINE)
    starts = [data.draw(st.integers(0, n - 1)) for n in voxels.shape]
    box = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(starts, voxels.shape, strict=True))
    stored = open_array(path)
    np.testing.assert_array_equal(stored.crop(box), voxels[box])
    np.testing.assert_array_equal(stored.crop(), voxels)


def test_equal_arrays_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.b2nd", "b.b2nd"):
        write_array(tmp_path / name, hu(), AFFINE)
    assert (tmp_path / "a.b2nd").read_bytes() == (tmp_path / "b.b2nd").read_bytes()


def test_an_array_knows_its_place_and_its_type(tmp_path: Path) -> None:
    write_array(tmp_path / "m.b2nd", np.ones((3, 4, 5), dtype=np.uint8), AFFINE)
    stored = open_array(tmp_path / "m.b2nd")
    np.testing.assert_array_equal(stored.affine, AFFINE)
    assert stored.crop().dtype == np.uint8
    assert stored.handle.schunk.vlmeta["espalier"]["spacing_mm"] == [3.0, 1.5, 1.5]


def test_the_delta_filter_is_never_used_and_one_chunk_holds_the_array(tmp_path: Path) -> None:
    write_array(tmp_path / "a.b2nd", hu(), AFFINE)
    handle = open_array(tmp_path / "a.b2nd").handle
    used = [f for f in handle.schunk.cparams.filters if f is not blosc2.Filter.NOFILTER]
    assert used == [blosc2.Filter.SHUFFLE]
    assert handle.chunks == handle.shape


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.b2nd").write_bytes(b"no array")
    blosc2.asarray(hu((3, 4, 5)), urlpath=str(tmp_path / "b.b2nd"), mode="w")
    for name in ("a.b2nd", "b.b2nd", "absent.b2nd"):
        with pytest.raises(InputError, match="not an array of the store"):
            open_array(tmp_path / name)


def test_an_array_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    write_array(tmp_path / "a.b2nd", hu((3, 4, 5)), AFFINE)
    handle = blosc2.open(str(tmp_path / "a.b2nd"), mode="a")
    handle.schunk.vlmeta["espalier"] = {**handle.schunk.vlmeta["espalier"], "version": 99}
    with pytest.raises(VersionError, match="version 99"):
        open_array(tmp_path / "a.b2nd")


def test_nothing_is_left_beside_a_name_that_cannot_be_taken(tmp_path: Path) -> None:
    (tmp_path / "a.b2nd").mkdir()
    with pytest.raises(ResourceError):
        write_array(tmp_path / "a.b2nd", hu((3, 4, 5)), AFFINE)
    assert [p.name for p in tmp_path.iterdir()] == ["a.b2nd"]
