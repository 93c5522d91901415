import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from espalier.cohort.read import read_scan
from espalier.cohort.table import read_cohort
from espalier.errors import AlteredError, InputError, MissingError
from espalier.masks.files import read_masks
from espalier.masks.options import MaskOptions
from espalier.masks.segment import mask_path, segment
from espalier.outputs import hash_file, sweep
from espalier.store.build import array_path, prepare
from espalier.store.preprocess import preprocess, preprocess_masks, stored_grid
from espalier.store.read import open_store
from espalier.store.verify import verify_store


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hash_file(p) for p in [*(folder / "store").iterdir(), folder / "store.json"]}


def test_the_store_holds_every_scan_as_preprocess_makes_it(segmented: Path, small, scan_of) -> None:
    summary = prepare(small, folder=segmented)
    assert (summary.done, summary.set_aside) == (3, 0)
    store = open_store(segmented)
    for row in read_cohort(segmented).to_dicts():
        volume = read_scan(row, folder=segmented)
        np.testing.assert_array_equal(store.voxels(row["scan"]), preprocess(volume, small))
        np.testing.assert_array_equal(store.affine(row["scan"]), stored_grid(volume.grid, small).affine)
        if store.has_masks(row["scan"]):
            masks = read_masks(mask_path(segmented, row["scan"]))
            np.testing.assert_array_equal(store.masks(row["scan"]), preprocess_masks(masks, volume.grid, small))
    assert [store.has_masks(scan_of(segmented, f"scan{n}")) for n in (1, 2, 3)] == [True, True, False]
    assert store.structures == ("kidney_left", "kidney_right")
    assert store.options == small
    assert store.scans == tuple(read_cohort(segmented)["scan"])


def test_a_study_without_masks_is_prepared_too(study: Path, small) -> None:
    prepare(small, folder=study)
    store = open_store(study)
    assert store.structures == ()
    assert len(store.scans) == 3
    assert not any(store.has_masks(scan) for scan in store.scans)


def test_a_second_call_does_nothing(segmented: Path, small) -> None:
    first = prepare(small, folder=segmented)
    times = {p: p.stat().st_mtime_ns for p in [*(segmented / "store").iterdir(), segmented / "store.json"]}
    second = prepare(small, folder=segmented)
    assert second.done == first.done
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_another_window_keeps_the_arrays_and_another_shape_makes_them_anew(segmented: Path, small) -> None:
    prepare(small, folder=segmented)
    key = open_store(segmented).key
    times = {p: p.stat().st_mtime_ns for p in (segmented / "store").iterdir()}
    prepare(replace(small, window_hu=(-150.0, 250.0)), folder=segmented)
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert open_store(segmented).options.window_hu == (-150.0, 250.0)
    assert open_store(segmented).key != key
    prepare(replace(small, shape=(10, 12, 14)), folder=segmented)
    store = open_store(segmented)
    assert store.voxels(store.scans[0]).shape == (10, 12, 14)


def test_new_masks_reach_the_store_and_dropped_ones_leave_it(segmented: Path, small, scan_of) -> None:
    prepare(small, folder=segmented)
    (segmented / "given" / "scan1.nii.gz").rename(segmented / "given" / "scan3.nii.gz")
    wide = replace(MaskOptions(folder="given", structures=("kidney_left", "kidney_right")))
    segment(wide, folder=segmented)
    prepare(small, folder=segmented)
    store = open_store(segmented)
    assert [store.has_masks(scan_of(segmented, f"scan{n}")) for n in (1, 2)] == [False, True]
    assert not array_path(segmented, scan_of(segmented, "scan1"), mask=True).exists()


def test_a_lost_array_is_made_again_and_all_bytes_are_as_before(segmented: Path, small) -> None:
    prepare(small, folder=segmented)
    before = hashes(segmented)
    next(iter((segmented / "store").glob("*.mask.b2nd"))).unlink()
    prepare(small, folder=segmented)
    assert hashes(segmented) == before


def test_a_scan_that_can_no_longer_be_read_is_set_aside_and_the_rest_goes_on(segmented: Path, small, scan_of) -> None:
    (segmented / "scans" / "p2" / "scan2.nii.gz").write_bytes(b"broken")
    summary = prepare(small, folder=segmented)
    assert (summary.done, summary.set_aside) == (2, 1)
    assert scan_of(segmented, "scan2") not in open_store(segmented).scans
    assert pl.read_csv(segmented / "set_aside.csv").filter(pl.col("stage") == "prepare")["scan"].to_list() == [
        scan_of(segmented, "scan2")
    ]


def test_workers_give_the_same_bytes_as_one_process(segmented: Path, small) -> None:
    prepare(small, folder=segmented)
    before = hashes(segmented)
    for path in [*(segmented / "store").iterdir(), segmented / "store.json"]:
        path.unlink()
    prepare(small, folder=segmented, workers=2)
    assert hashes(segmented) == before


WALK = """
import sys
from pathlib import Path
from espalier.store.build import prepare
from espalier.store.options import StoreOptions
prepare(StoreOptions(spacing_mm=(4.0, 3.0, 3.0), shape=(24, 28, 28)), folder=Path(sys.argv[1]))
"""


def test_a_killed_stage_called_again_leaves_the_same_files(segmented: Path, small, tmp_path: Path) -> None:
    prepare(small, folder=segmented)
    before = hashes(segmented)
    for path in [*(segmented / "store").iterdir(), segmented / "store.json", *(segmented / "records" / "prepare").iterdir()]:
        path.unlink()
    process = subprocess.Popen([sys.executable, "-c", WALK, str(segmented)])
    deadline = time.monotonic() + 60
    while not any((segmented / "store").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (segmented / "store.json").exists()
    sweep(segmented)
    prepare(small, folder=segmented)
    assert hashes(segmented) == before


def test_an_altered_or_lost_array_is_found_by_its_hash(segmented: Path, small) -> None:
    prepare(small, folder=segmented)
    assert verify_store(segmented) == 5
    path = next(iter((segmented / "store").glob("*.mask.b2nd")))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(AlteredError, match=path.name):
        verify_store(segmented)
    path.unlink()
    with pytest.raises(AlteredError, match="gone"):
        verify_store(segmented)


def test_before_the_stages_it_needs_the_user_is_told_which(tmp_path: Path, small) -> None:
    with pytest.raises(MissingError, match="ingest"):
        prepare(small, folder=tmp_path)
    with pytest.raises(MissingError, match="prepare"):
        open_store(tmp_path)


def test_masks_of_a_segment_that_was_stopped_midway_are_refused(segmented: Path, small) -> None:
    (segmented / "masks.parquet").unlink()
    with pytest.raises(InputError, match=r"masks without masks\.parquet"):
        prepare(small, folder=segmented)
