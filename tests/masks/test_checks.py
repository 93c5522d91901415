import numpy as np

from espalier.masks.checks import check_masks, is_usable
from espalier.masks.files import Masks

AFFINE = np.array([[0, 0, 4.0, 0], [0, 4.0, 0, 0], [4.0, 0, 0, 0], [0, 0, 0, 1]])


def kidneys(*, left_at: int, right_at: int, size: int = 13) -> Masks:
    voxels = np.zeros((30, 30, 60), dtype=np.uint8)
    voxels[5 : 5 + size, 5:15, left_at : left_at + 10] = 1
    voxels[5 : 5 + size, 5:15, right_at : right_at + 10] = 2
    return Masks(voxels, AFFINE, {1: "kidney_left", 2: "kidney_right"})


def test_sound_masks_are_trusted_with_their_volume_in_ml() -> None:
    rows = check_masks(kidneys(left_at=40, right_at=10))
    assert [row["verdict"] for row in rows] == ["trust", "trust"]
    assert rows[0]["volume_ml"] == 1300 * 0.064
    assert is_usable(rows)


def test_left_on_the_right_drops_the_pair_and_taints_the_scan() -> None:
    rows = check_masks(kidneys(left_at=10, right_at=40))
    assert [row["verdict"] for row in rows] == ["drop", "drop"]
    assert rows[0]["reasons"] == ["sides_swapped"]
    assert not is_usable(rows)


def test_sides_are_judged_in_the_world_not_by_the_order_of_the_array() -> None:
    mirrored = kidneys(left_at=10, right_at=40)
    affine = AFFINE.copy()
    affine[0, 2] = -4.0
    assert is_usable(check_masks(Masks(mirrored.voxels, affine, mirrored.names)))


def test_an_empty_structure_is_dropped_and_the_rest_stays_usable() -> None:
    masks = kidneys(left_at=40, right_at=10)
    masks.voxels[masks.voxels == 2] = 0
    rows = check_masks(masks)
    assert rows[1] == {"structure": "kidney_right", "volume_ml": 0.0, "verdict": "drop", "reasons": ["empty"]}
    assert is_usable(rows)
    masks.voxels[:] = 0
    assert not is_usable(check_masks(masks))


def test_an_implausible_volume_is_weighted_down_unless_the_field_cuts_the_structure() -> None:
    small = kidneys(left_at=40, right_at=10, size=2)
    assert check_masks(small)[0]["reasons"] == ["volume_small"]
    assert check_masks(small)[0]["verdict"] == "down_weight"
    cut = Masks(small.voxels[5:], AFFINE, small.names)
    assert check_masks(cut)[0]["verdict"] == "trust"
    huge = Masks(small.voxels, AFFINE @ np.diag([10, 1, 1, 1]) * 2.5, small.names)
    assert check_masks(huge)[0]["reasons"] == ["volume_large"]


def test_lobes_are_compared_as_whole_lungs() -> None:
    voxels = np.zeros((20, 20, 60), dtype=np.uint8)
    voxels[2:10, 2:18, 5:25] = 1
    voxels[10:18, 2:18, 35:55] = 2
    names = {1: "lung_upper_lobe_left", 2: "lung_lower_lobe_right"}
    assert all("sides_swapped" in row["reasons"] for row in check_masks(Masks(voxels, AFFINE, names)))


def test_masks_that_cover_little_of_the_scan_are_weighted_down() -> None:
    rows = check_masks(kidneys(left_at=40, right_at=10), overlap=0.2)
    assert {row["verdict"] for row in rows} == {"down_weight"}
