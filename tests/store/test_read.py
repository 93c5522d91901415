import pickle
from pathlib import Path

import numpy as np
import pytest

from espalier.errors import MissingError
from espalier.store.build import array_path, prepare
from espalier.store.options import StoreOptions
from espalier.store.read import Store, open_store


@pytest.fixture
def store(segmented: Path, small: StoreOptions) -> Store:
    prepare(small, folder=segmented)
    return open_store(segmented)


def test_a_crop_is_the_box_of_the_whole(store: Store) -> None:
    box = (slice(3, 20), slice(0, 11), slice(9, 28))
    scan = store.scans[0]
    np.testing.assert_array_equal(store.voxels(scan, box), store.voxels(scan)[box])
    masked = next(s for s in store.scans if store.has_masks(s))
    np.testing.assert_array_equal(store.masks(masked, box), store.masks(masked)[box])
    assert store.voxels(scan, box).dtype == np.int16
    assert store.masks(masked, box).dtype == np.uint8


def test_a_crop_may_be_written_to_without_harm_to_the_next(store: Store) -> None:
    first = store.voxels(store.scans[0])
    first[:] = 7
    assert (store.voxels(store.scans[0]) != 7).any()


def test_scans_without_masks_or_not_in_the_store_are_told_apart(store: Store) -> None:
    bare = next(s for s in store.scans if not store.has_masks(s))
    with pytest.raises(MissingError, match="none in the store"):
        store.masks(bare)
    with pytest.raises(MissingError, match="not in the store"):
        store.voxels("../store")
    assert not store.has_masks("unknown")


def test_a_store_crosses_a_process_boundary(store: Store) -> None:
    other = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(other.voxels(store.scans[1]), store.voxels(store.scans[1]))


def test_a_store_made_anew_is_not_read_from_memory(store: Store, segmented: Path) -> None:
    scan = store.scans[0]
    store.voxels(scan)
    prepare(StoreOptions(spacing_mm=(4.0, 3.0, 3.0), shape=(6, 7, 8)), folder=segmented)
    assert open_store(segmented).voxels(scan).shape == (6, 7, 8)


def test_the_key_names_the_content(store: Store, segmented: Path) -> None:
    assert open_store(segmented).key == store.key
    (segmented / "store.json").write_text((segmented / "store.json").read_text() + " ")
    assert open_store(segmented).key != store.key


def test_an_array_that_is_gone_is_named(store: Store, segmented: Path) -> None:
    array_path(segmented, store.scans[0]).unlink()
    with pytest.raises(MissingError, match="the array is gone"):
        store.voxels(store.scans[0])
