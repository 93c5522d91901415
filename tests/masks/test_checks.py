"""The checks on made-up bodies; gross faults by the dozen are counted by benchmarks/mask_faults.py, whose small form is here."""

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from espalier.cohort.read import read_path
from espalier.cohort.volume import Volume
from espalier.geometry import Grid, canonical, resample
from espalier.masks.checks import check_masks
from espalier.masks.existing import wanted
from espalier.masks.files import Masks, read_masks
from espalier.masks.structures import STRUCTURES
from espalier.masks.threshold import threshold_masks
from espalier.masks.verdicts import REASONS, scan_verdict


def loaded_benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "mask_faults.py"
    spec = importlib.util.spec_from_file_location("mask_faults", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mask_faults"] = module
    spec.loader.exec_module(module)
    return module


bench = loaded_benchmark()


@pytest.fixture(scope="module")
def bodies() -> Mapping[str, Any]:
    """Two made-up chests and two abdomens with their true masks."""
    return {f"{pair.group} {pair.name}": pair for pair in bench.phantoms(2)}


@pytest.fixture(scope="module")
def thorax(bodies: Mapping[str, Any]) -> Any:
    return bodies["phantom chest phantom 0"]


@pytest.fixture(scope="module")
def abdomen(bodies: Mapping[str, Any]) -> Any:
    return bodies["phantom trauma phantom 0"]


def reasons_of(masks: Masks, volume: Volume) -> dict[str, list[str]]:
    return {row["structure"]: row["reasons"] for row in check_masks(masks, volume)}


def value_of(masks: Masks, name: str) -> int:
    return next(value for value, own in masks.names.items() if own == name)


def without(masks: Masks, *names: str) -> Masks:
    gone = [value_of(masks, name) for name in names]
    return replace(masks, voxels=np.where(np.isin(masks.voxels, gone), 0, masks.voxels).astype(np.uint8))


def test_true_masks_are_trusted_with_their_volume_in_ml(bodies: Mapping[str, Any]) -> None:
    for pair in bodies.values():
        rows = check_masks(pair.masks, pair.volume)
        assert [row["reasons"] for row in rows] == [[]] * len(rows)
        assert scan_verdict(rows) == "trust"
        voxel_ml = abs(np.linalg.det(pair.masks.affine[:3, :3])) / 1000
        assert rows[0]["volume_ml"] == pytest.approx((pair.masks.voxels == 1).sum() * voxel_ml, rel=1e-5)


@pytest.mark.parametrize("name", ["phantom chest phantom 0", "phantom trauma phantom 1"])
def test_every_kind_of_gross_fault_is_caught(bodies: Mapping[str, Any], name: str) -> None:
    pair, stranger = bodies[name], bodies[name[:-1] + str(1 - int(name[-1]))]
    missed = [
        fault
        for fault, masks in bench.faults(pair, stranger, np.random.default_rng(4))
        if scan_verdict(check_masks(masks, pair.volume)) == "trust"
    ]
    assert missed == []


def test_sides_are_judged_in_the_world_not_by_the_order_of_the_array(abdomen: Any) -> None:
    masks = abdomen.masks
    names = {
        value: name.replace("left", "?").replace("right", "left").replace("?", "right") for value, name in masks.names.items()
    }
    found = reasons_of(replace(masks, names=names), abdomen.volume)
    assert "sides_swapped" in found["kidney_left"]
    assert "sides_swapped" in found["kidney_right"]
    turned = [np.ascontiguousarray(part[:, ::-1, ::-1]) for part in (masks.voxels, abdomen.volume.voxels)]
    affine = masks.affine.copy()
    for axis in (1, 2):
        affine[:3, 3] += affine[:3, axis] * (masks.voxels.shape[axis] - 1)
        affine[:3, axis] *= -1
    assert check_masks(replace(masks, voxels=turned[0], affine=affine), Volume(turned[1], affine)) == check_masks(
        masks, abdomen.volume
    )


def test_two_lobes_of_opposite_sides_exchanged_are_named(thorax: Any) -> None:
    one, other = (value_of(thorax.masks, name) for name in ("lung_upper_lobe_left", "lung_lower_lobe_right"))
    found = reasons_of(bench._swapped(thorax.masks, one, other), thorax.volume)
    assert "sides_swapped" in found["lung_upper_lobe_left"]
    assert "sides_swapped" in found["lung_lower_lobe_right"]


def test_a_structure_that_the_scan_should_show_is_empty_and_the_rest_stays_usable(thorax: Any) -> None:
    for name in ("heart", "lung_middle_lobe_right"):
        rows = {row["structure"]: row for row in check_masks(without(thorax.masks, name), thorax.volume)}
        assert (rows[name]["volume_ml"], rows[name]["verdict"], rows[name]["reasons"]) == (0.0, "drop", ["empty"])
        assert scan_verdict(list(rows.values())) == "down_weight"


def test_a_structure_beyond_the_field_of_view_is_no_fault(abdomen: Any) -> None:
    kidneys = np.isin(abdomen.masks.voxels, [value_of(abdomen.masks, f"kidney_{side}") for side in ("left", "right")])
    top = int(np.flatnonzero(kidneys.any(axis=(1, 2)))[-1]) + 1
    affine = abdomen.masks.affine.copy()
    affine[:3, 3] += affine[:3, 0] * top
    masks = Masks(abdomen.masks.voxels[top:], affine, abdomen.masks.names)
    rows = check_masks(masks, Volume(abdomen.volume.voxels[top:], affine))
    assert {row["structure"]: row["reasons"] for row in rows}["kidney_left"] == ["not_shown"]
    assert {row["verdict"] for row in rows} == {"trust"}


def test_masks_that_hold_nothing_at_all_are_dropped(thorax: Any) -> None:
    rows = check_masks(replace(thorax.masks, voxels=np.zeros_like(thorax.masks.voxels)), thorax.volume)
    assert scan_verdict(rows) == "drop"


def test_lung_that_no_mask_holds_is_seen_and_a_structure_nobody_asked_for_is_not_missed(thorax: Any) -> None:
    left = ("lung_upper_lobe_left", "lung_lower_lobe_left")
    one_lung = without(thorax.masks, *left)
    assert "lung_left_out" in reasons_of(one_lung, thorax.volume)["lung_upper_lobe_right"]
    fewer = replace(one_lung, names={value: name for value, name in one_lung.names.items() if name not in left})
    assert {tuple(reasons) for reasons in reasons_of(fewer, thorax.volume).values()} == {()}


def test_a_small_structure_is_weighed_down_unless_the_field_cuts_it(abdomen: Any) -> None:
    spleen = value_of(abdomen.masks, "spleen")
    z, y, x = (int(np.median(places)) for places in np.nonzero(abdomen.masks.voxels == spleen))
    little = without(abdomen.masks, "spleen")
    little.voxels[z : z + 1, y : y + 2, x : x + 2] = spleen
    assert reasons_of(little, abdomen.volume)["spleen"] == ["volume_small"]
    affine = little.affine.copy()
    affine[:3, 3] += affine[:3, 0] * z
    found = reasons_of(Masks(little.voxels[z:], affine, little.names), Volume(abdomen.volume.voxels[z:], affine))
    assert found["spleen"] == []


def test_masks_on_another_grid_are_judged_alike(thorax: Any) -> None:
    affine = thorax.masks.affine @ np.diag([1.5, 0.75, 0.75, 1.0])
    z, y, x = thorax.masks.voxels.shape
    shape = (int(z / 1.5), int(y / 0.75), int(x / 0.75))
    voxels = resample(thorax.masks.voxels, thorax.masks.affine, onto=Grid(shape, affine), kind="nearest", outside=0)
    assert scan_verdict(check_masks(Masks(voxels, affine, thorax.masks.names), thorax.volume)) == "trust"


def test_masks_that_reach_far_beyond_the_scan_are_dropped(thorax: Any) -> None:
    half = thorax.volume.shape[0] // 2
    upper = thorax.volume.affine.copy()
    upper[:3, 3] += upper[:3, 0] * half
    rows = check_masks(thorax.masks, Volume(thorax.volume.voxels[half:], upper))
    assert all("outside_scan" in row["reasons"] for row in rows)
    assert scan_verdict(rows) == "drop"


def test_holes_and_crumbs_are_seen(abdomen: Any) -> None:
    liver = value_of(abdomen.masks, "liver")
    rng = np.random.default_rng(0)
    own = abdomen.masks.voxels == liver
    inner = ndimage.binary_erosion(own, iterations=2)
    hollow = replace(abdomen.masks, voxels=np.where(own & inner, 0, abdomen.masks.voxels).astype(np.uint8))
    crumbled = replace(
        abdomen.masks, voxels=np.where(own & (rng.random(own.shape) < 0.95), 0, abdomen.masks.voxels).astype(np.uint8)
    )
    assert "holes" in reasons_of(hollow, abdomen.volume)["liver"]
    assert "fragments" in reasons_of(crumbled, abdomen.volume)["liver"]


def test_two_sources_are_held_against_each_other(thorax: Any) -> None:
    second = threshold_masks(thorax.volume, ("lung_left", "lung_right"))
    rows = {row["structure"]: row for row in check_masks(thorax.masks, thorax.volume, second=second)}
    assert rows["lung_upper_lobe_left"]["agreement"] == rows["lung_lower_lobe_left"]["agreement"] > 0.9
    assert rows["heart"]["agreement"] is None
    assert "sources_disagree" not in rows["lung_upper_lobe_left"]["reasons"]
    moved = second.affine.copy()
    moved[2, 3] += 60
    rows = {row["structure"]: row for row in check_masks(thorax.masks, thorax.volume, second=replace(second, affine=moved))}
    assert "sources_disagree" in rows["lung_upper_lobe_left"]["reasons"]


def test_every_reason_has_its_words(bodies: Mapping[str, Any]) -> None:
    pairs = list(bodies.values())
    given = {
        reason
        for pair in pairs[::2]
        for _, masks in bench.faults(pair, pairs[1], np.random.default_rng(1))
        for row in check_masks(masks, pair.volume)
        for reason in row["reasons"]
    }
    assert given <= set(REASONS)
    assert len(given) >= 8


def test_segmented_real_scans_are_trusted_and_their_faults_caught(real_data: Path) -> None:
    folder = real_data / "ct" / "abdomen_nifti_totalsegmentator"
    volume = read_path(folder / "example_ct_sm.nii.gz")
    for end in ("", "_fast", "_fast_body_seg"):
        whole = read_masks(folder / f"example_seg{end}.nii.gz")
        assert scan_verdict(check_masks(whole, volume)) == "trust"
        masks = wanted(whole, STRUCTURES["abdomen"], source=folder)
        voxels, affine = canonical(masks.voxels, masks.affine)
        pair = bench.Pair("real", "real", volume, replace(masks, voxels=voxels, affine=affine))
        missed = [
            fault
            for fault, faulty in bench.faults(pair, None, np.random.default_rng(2))
            if scan_verdict(check_masks(faulty, volume)) == "trust"
        ]
        assert missed == []
