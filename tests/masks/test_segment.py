from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from espalier.cohort.table import read_cohort
from espalier.errors import MissingError, SettingsError
from espalier.masks.files import Masks, read_masks, write_masks
from espalier.masks.options import MaskOptions
from espalier.masks.segment import mask_path, mask_structures, read_masks_table, segment, usable_scans
from espalier.masks.structures import structure_names
from espalier.outputs import hash_file

TWO = ("lung_left", "lung_right")
THRESHOLD = MaskOptions(source="threshold", structures="threshold")
EXISTING = MaskOptions(folder="given", structures=TWO)


def scan_of(study: Path, stem: str) -> str:
    return read_cohort(study).filter(pl.col("stem") == stem)["scan"].item()


def hashes(study: Path) -> dict[str, str]:
    return {p.name: hash_file(p) for p in [*(study / "masks").iterdir(), study / "masks.parquet"]}


@pytest.fixture
def given(study: Path, four_structures: Masks) -> Path:
    """Masks of the first two scans; the third scan has one that lies elsewhere."""
    away = four_structures.affine.copy()
    away[2, 3] += 1000
    for n, affine in ((1, four_structures.affine), (2, four_structures.affine), (3, away)):
        write_masks(study / "given" / f"chest{n}.nii.gz", Masks(four_structures.voxels, affine, four_structures.names))
    return study


def test_thresholds_give_every_scan_masks_and_the_table_its_rows(study: Path) -> None:
    summary = segment(THRESHOLD, folder=study)
    assert (summary.done, summary.set_aside) == (3, 0)
    table = read_masks_table(study)
    columns = ["scan", "structure", "volume_ml", "source", "verdict", "reasons", "agreement", "notes"]
    assert table.columns == columns
    assert table.height == 18
    assert set(table["source"]) == {"threshold"}
    assert mask_structures(study) == structure_names("threshold")
    assert len(usable_scans(study)) == 3


def test_existing_masks_are_kept_on_their_grid_in_the_wanted_order(given: Path, four_structures: Masks) -> None:
    segment(EXISTING, folder=given)
    masks = read_masks(mask_path(given, scan_of(given, "chest1")))
    np.testing.assert_array_equal(masks.voxels == 1, four_structures.voxels == 7)
    np.testing.assert_allclose(masks.affine, four_structures.affine)
    assert masks.names == {1: "lung_left", 2: "lung_right"}
    ml = read_masks_table(given).filter(structure="lung_left")["volume_ml"][0]
    assert ml == pytest.approx((four_structures.voxels == 7).sum() * 0.064)


def test_a_mask_outside_its_scan_and_a_scan_without_one_are_set_aside_with_their_reasons(given: Path) -> None:
    (given / "given" / "chest2.nii.gz").unlink()
    summary = segment(EXISTING, folder=given)
    assert (summary.done, summary.set_aside) == (1, 2)
    reasons = {row["scan"]: row["reason"] for row in pl.read_csv(given / "set_aside.csv").to_dicts()}
    assert reasons == {scan_of(given, "chest2"): "mask_missing", scan_of(given, "chest3"): "mask_elsewhere"}
    assert not mask_path(given, scan_of(given, "chest3")).exists()


def test_a_second_call_does_nothing(given: Path) -> None:
    first = segment(EXISTING, folder=given)
    times = {p: p.stat().st_mtime_ns for p in [*(given / "masks").iterdir(), given / "masks.parquet"]}
    second = segment(EXISTING, folder=given)
    assert (second.done, second.set_aside) == (first.done, first.set_aside)
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_a_lost_mask_is_made_again_and_all_bytes_are_as_before(given: Path) -> None:
    segment(EXISTING, folder=given)
    before = hashes(given)
    mask_path(given, scan_of(given, "chest1")).unlink()
    segment(EXISTING, folder=given)
    assert hashes(given) == before


def test_a_changed_source_mask_remakes_its_scan_only(given: Path, four_structures: Masks) -> None:
    segment(EXISTING, folder=given)
    kept = mask_path(given, scan_of(given, "chest2"))
    time = kept.stat().st_mtime_ns
    grown = four_structures.voxels.copy()
    grown[0, 0, :5] = 7
    write_masks(given / "given" / "chest1.nii.gz", Masks(grown, four_structures.affine, four_structures.names))
    segment(EXISTING, folder=given)
    assert (read_masks(mask_path(given, scan_of(given, "chest1"))).voxels[0, 0, :5] == 1).all()
    assert kept.stat().st_mtime_ns == time


def test_other_settings_leave_no_mask_of_the_old_ones(given: Path) -> None:
    segment(THRESHOLD, folder=given)
    segment(EXISTING, folder=given)
    assert not mask_path(given, scan_of(given, "chest3")).exists()
    assert set(read_masks_table(given)["scan"]) == {scan_of(given, "chest1"), scan_of(given, "chest2")}


def test_swapped_sides_are_kept_out_of_training(given: Path, four_structures: Masks) -> None:
    swapped = {3: "lung_left", 7: "lung_right"}
    write_masks(given / "given" / "chest1.nii.gz", Masks(four_structures.voxels, four_structures.affine, swapped))
    segment(EXISTING, folder=given)
    assert usable_scans(given) == (scan_of(given, "chest2"),)


def test_disturbed_masks_differ_from_scan_to_scan_but_not_from_call_to_call(given: Path) -> None:
    options = MaskOptions(folder="given", structures=TWO, disturb=0.5)
    segment(options, folder=given)
    one, other = (read_masks(mask_path(given, scan_of(given, f"chest{n}"))).voxels for n in (1, 2))
    assert (one != other).any()
    before = hashes(given)
    for path in (given / "masks").iterdir():
        path.unlink()
    segment(options, folder=given)
    assert hashes(given) == before


def test_workers_give_the_same_bytes_as_one_process(given: Path) -> None:
    segment(EXISTING, folder=given)
    before = hashes(given)
    for path in [*(given / "masks").iterdir(), given / "masks.parquet"]:
        path.unlink()
    segment(EXISTING, folder=given, workers=2)
    assert hashes(given) == before


def test_masks_are_not_read_from_where_they_are_written(study: Path) -> None:
    with pytest.raises(SettingsError, match="writes its own masks"):
        segment(MaskOptions(folder="masks"), folder=study)
    with pytest.raises(SettingsError, match="not given"):
        segment(MaskOptions(), folder=study)


def test_before_ingest_the_stage_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="ingest"):
        segment(THRESHOLD, folder=tmp_path)


def test_a_segment_with_other_settings_that_stops_leaves_no_table_of_the_old_masks(given: Path) -> None:
    segment(EXISTING, folder=given)
    for path in (given / "given").iterdir():
        if path.is_file():
            path.write_bytes(b"no mask")
    records = given / "records" / "segment"
    blocker = records / f"{scan_of(given, 'chest2')}.json"
    blocker.unlink()
    blocker.mkdir()
    with pytest.raises(Exception):  # noqa: B017 - whatever stops it
        segment(replace(EXISTING, structures=("lung_right", "lung_left")), folder=given)
    assert not (given / "masks.parquet").exists()
