import hashlib
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.masks.disturb import GrossKind, disturb_boundary, draw_fault, swapped_sides
from espalier.masks.structures import STRUCTURES


def two_blocks() -> np.ndarray:
    masks = np.zeros((20, 24, 28), dtype=np.uint8)
    masks[4:14, 5:15, 6:14] = 1
    masks[4:14, 5:15, 14:24] = 2
    return masks


def boundary_count(masks: np.ndarray) -> int:
    padded = np.pad(masks, 1, mode="edge")
    inner = (slice(1, -1),) * 3
    differs = np.zeros(masks.shape, dtype=bool)
    for axis in range(3):
        for step in (-1, 1):
            differs |= np.roll(padded, step, axis)[inner] != masks
    return int((differs & (masks > 0)).sum())


def test_nothing_changes_at_a_share_of_zero() -> None:
    masks = two_blocks()
    np.testing.assert_array_equal(disturb_boundary(masks, share=0.0, seed=1), masks)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_stated_share_of_boundary_voxels_is_eroded_or_dilated(share: float) -> None:
    masks = two_blocks()
    disturbed = [disturb_boundary(masks, share=share, seed=seed) for seed in range(30)]
    eroded = np.mean([((masks > 0) & (one == 0)).sum() for one in disturbed])
    assert eroded == pytest.approx(share / 2 * boundary_count(masks), rel=0.08)
    assert np.mean([((masks == 0) & (one > 0)).sum() for one in disturbed]) > eroded / 2


def test_only_voxels_within_one_step_of_the_boundary_change() -> None:
    masks = two_blocks()
    disturbed = disturb_boundary(masks, share=1.0, seed=3)
    assert (disturbed[5:13, 6:14, 7:13] == 1).all()
    assert not disturbed[:3].any()
    assert not disturbed[:, :, 26:].any()
    changed = (disturbed != masks) & (disturbed > 0)
    assert (masks[changed] == 0).all()


def test_the_draw_is_reproducible_and_another_seed_draws_others() -> None:
    masks = two_blocks()
    first = disturb_boundary(masks, share=0.3, seed=3)
    np.testing.assert_array_equal(first, disturb_boundary(masks.copy(), share=0.3, seed=3))
    assert (first != disturb_boundary(masks, share=0.3, seed=4)).any()
    assert (masks == two_blocks()).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_larger_share_erodes_every_voxel_that_a_smaller_one_does(seed: int, one: float, other: float) -> None:
    masks = two_blocks()
    low, high = sorted((one, other))
    lost = (masks > 0) & (disturb_boundary(masks, share=low, seed=seed) == 0)
    assert (disturb_boundary(masks, share=high, seed=seed)[lost] == 0).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)))
def test_a_crop_is_disturbed_as_the_whole_is(seed: int, corner: tuple[int, int, int]) -> None:
    masks = two_blocks()
    box = tuple(slice(c, c + 14) for c in corner)
    inner = (slice(2, -2),) * 3
    whole = disturb_boundary(masks, share=0.5, seed=seed)[box]
    crop = disturb_boundary(masks[box], share=0.5, seed=seed, origin=corner)
    np.testing.assert_array_equal(crop[inner], whole[inner])


def test_another_process_draws_the_same_boundary_and_the_same_faults() -> None:
    code = (
        "import hashlib, numpy as np; from espalier.masks.disturb import *; "
        "m = np.zeros((20, 24, 28), np.uint8); m[4:14, 5:15, 6:14] = 1; m[4:14, 5:15, 14:24] = 2; "
        "print(hashlib.sha256(disturb_boundary(m, share=0.3, seed=3).tobytes()).hexdigest(), "
        "[draw_fault('shift', ('a',), (3, 2, 2), share=0.5, seed=4, scan=str(n)) is None for n in range(9)])"
    )
    told = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    ]
    assert told[0].stdout == told[1].stdout
    own = hashlib.sha256(disturb_boundary(two_blocks(), share=0.3, seed=3).tobytes()).hexdigest()
    assert told[0].stdout.startswith(own)


@pytest.mark.parametrize("kind", get_args(GrossKind))
def test_a_share_of_the_scans_has_the_fault_the_same_ones_each_time_and_more_with_a_larger_share(kind: GrossKind) -> None:
    def drawn(share: float, seed: int = 0) -> dict[str, tuple[object, ...]]:
        faults = {
            f"scan{n}": draw_fault(kind, STRUCTURES["abdomen"], (3.0, 1.5, 1.5), share=share, seed=seed, scan=f"scan{n}")
            for n in range(400)
        }
        return {scan: (fault.step, fault.values.tobytes()) for scan, fault in faults.items() if fault is not None}

    few, many = drawn(0.2), drawn(0.6)
    assert 50 < len(few) < 110
    assert few.items() <= many.items()
    assert few == drawn(0.2)
    assert few.keys() != drawn(0.2, seed=1).keys()
    assert drawn(0.0) == {}
    assert len(drawn(1.0)) == 400


def test_every_lobe_changes_its_side_and_the_heart_stays() -> None:
    chest = STRUCTURES["chest"]
    values = swapped_sides(chest)
    named = {name: chest[values[number] - 1] for number, name in enumerate(chest, start=1)}
    assert all(("left" in name) == ("right" in other) for name, other in named.items() if name != "heart")
    assert named["heart"] == "heart"
    assert named["lung_middle_lobe_right"] == "lung_upper_lobe_left"
    assert values[0] == 0


def test_what_has_no_side_cannot_be_swapped() -> None:
    with pytest.raises(ValueError, match="counterpart"):
        swapped_sides(("liver", "spleen", "kidney_left"))
