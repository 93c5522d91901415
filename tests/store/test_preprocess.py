from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.cohort.volume import Volume
from espalier.errors import ScanError
from espalier.geometry import Grid, canonical, is_sheared, world_mm
from espalier.masks.files import Masks
from espalier.store.options import StoreOptions
from espalier.store.preprocess import preprocess, preprocess_masks, scale_hu, stored_grid

UPRIGHT = np.array([[0, 0, 1.5, -20.0], [0, 1.5, 0, 5.0], [3.0, 0, 0, -40.0], [0, 0, 0, 1]])


def options(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] = (3.0, 1.5, 1.5)) -> StoreOptions:
    return StoreOptions(shape=shape, spacing_mm=spacing_mm)


def turned(volume: Volume, axes: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """Return the same scan with its array stored along other axes and in other directions."""
    voxels, affine = volume.voxels.transpose(axes), volume.affine.copy()
    affine[:3, :3] = affine[:3, list(axes)]
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
            affine[:3, axis] *= -1
            voxels = np.flip(voxels, axis)
    return Volume(np.ascontiguousarray(voxels), affine)


def ramp(affine: np.ndarray, shape: tuple[int, int, int], slope: tuple[float, float, float]) -> Volume:
    """Return a volume whose HU is a linear function of world position: linear resampling must give it back."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    return Volume((world @ np.array(slope)).reshape(shape).astype(np.float32), affine)


def test_a_scan_of_the_stored_spacing_and_shape_is_copied_exactly() -> None:
    hu = np.random.default_rng(0).integers(-1024, 3000, (8, 9, 10)).astype(np.int16)
    np.testing.assert_array_equal(preprocess(Volume(hu, UPRIGHT), options((8, 9, 10))), hu)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(permutations(range(3)))), st.tuples(*[st.booleans()] * 3))
def test_the_stored_voxels_do_not_depend_on_how_the_scan_was_laid_out(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    hu = np.random.default_rng(0).integers(-1024, 3000, (8, 9, 10)).astype(np.int16)
    plain, wanted = Volume(hu, UPRIGHT), options((7, 11, 10), (4.0, 1.5, 2.0))
    other = turned(plain, axes, flips)
    np.testing.assert_array_equal(preprocess(other, wanted), preprocess(plain, wanted))
    np.testing.assert_allclose(stored_grid(other.grid, wanted).affine, stored_grid(plain.grid, wanted).affine, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(1, 30)] * 3), st.tuples(*[st.integers(0, 7)] * 3))
def test_a_bright_voxel_keeps_its_place_in_the_patient_through_crop_and_pad(
    shape: tuple[int, int, int], bright: tuple[int, int, int]
) -> None:
    hu = np.full((8, 9, 10), -1000, dtype=np.int16)
    hu[bright] = 2000
    volume, wanted = Volume(hu, UPRIGHT), options(shape)
    stored = preprocess(volume, wanted)
    found = np.argwhere(stored == 2000)
    place = np.linalg.solve(stored_grid(volume.grid, wanted).affine, [*world_mm(UPRIGHT, bright), 1])[:3]
    inside = np.all((place > -0.5) & (place < np.array(shape) - 0.5))
    assert len(found) == int(inside)
    if inside:
        np.testing.assert_allclose(found[0], place, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.floats(0.7, 5.0)] * 3),
    st.tuples(*[st.floats(0.7, 5.0)] * 3),
    st.floats(-0.7, 0.7),
)
def test_a_ramp_comes_out_as_the_ramp_on_the_stored_grid(
    own_mm: tuple[float, float, float], stored_mm: tuple[float, float, float], angle: float
) -> None:
    cos, sin = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, -sin, cos], [0, cos, sin], [1, 0, 0]]) * own_mm
    affine[:3, 3] = (-30, 12, 70)
    slope = (3.0, -2.0, 1.0)
    volume, wanted = ramp(affine, (12, 14, 16), slope), options((10, 10, 10), stored_mm)
    grid = stored_grid(volume.grid, wanted)
    expected = ramp(grid.affine, grid.shape, slope).voxels
    index = np.argwhere(np.ones(grid.shape, dtype=bool)) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    own = (index - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    sampled = np.all((own > 1e-6) & (own < np.array([11, 13, 15]) - 1e-6), axis=1).reshape(grid.shape)
    stored = preprocess(volume, wanted)
    np.testing.assert_allclose(stored[sampled], expected[sampled], atol=0.502)


def test_rounding_is_to_the_nearest_hu_on_both_sides_of_zero() -> None:
    hu = np.array([-0.4, -0.6, 0.4, 0.6, -1000.3, -1000.7], dtype=np.float32).reshape(1, 1, 6)
    np.testing.assert_array_equal(preprocess(Volume(hu, UPRIGHT), options((1, 1, 6)))[0, 0], [0, -1, 0, 1, -1000, -1001])


def test_what_lies_beyond_the_scan_is_air_and_hu_are_not_clipped() -> None:
    hu = np.full((4, 4, 4), 12000, dtype=np.int16)
    stored = preprocess(Volume(hu, UPRIGHT), options((6, 4, 4)))
    assert (stored[[0, -1]] == -1024).all()
    assert (stored[1:-1] == 12000).all()
    float_hu = np.full((4, 4, 4), 70000, dtype=np.float32)
    assert (preprocess(Volume(float_hu, UPRIGHT), options((4, 4, 4))) == 32767).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_volume_with_holes_is_a_reason(value: float) -> None:
    hu = np.zeros((4, 4, 4), dtype=np.float32)
    hu[1, 1, 1] = value
    with pytest.raises(ScanError) as caught:
        preprocess(Volume(hu, UPRIGHT), options((4, 4, 4)), source="s")
    assert (caught.value.code, caught.value.source) == ("not_finite", "s")


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(permutations(range(3)))), st.tuples(*[st.booleans()] * 3), st.tuples(*[st.integers(2, 20)] * 3))
def test_masks_lie_on_the_very_grid_of_the_voxels_whatever_grid_they_came_on(
    axes: tuple[int, ...], flips: tuple[bool, ...], shape: tuple[int, int, int]
) -> None:
    hu = np.zeros((10, 12, 14), dtype=np.int16)
    hu[3:7, 4:9, 5:12] = 1000
    volume, wanted = Volume(hu, UPRIGHT), options(shape, (2.0, 1.1, 3.2))
    as_mask = turned(Volume((hu > 0).astype(np.uint8), UPRIGHT), axes, flips)
    masks = preprocess_masks(Masks(as_mask.voxels, as_mask.affine, {1: "liver"}), volume.grid, wanted)
    stored = preprocess(volume, wanted)
    assert masks.shape == stored.shape == shape
    assert masks.dtype == np.uint8
    # A voxel whose nearest neighbour is inside has at least half of its weight inside along each axis.
    assert (stored[masks == 1] >= 125).all()
    assert (stored[masks == 0] <= 875).all()


def test_masks_of_a_part_of_the_scan_are_background_elsewhere() -> None:
    part = Masks(
        np.ones((2, 3, 4), dtype=np.uint8),
        UPRIGHT @ np.array([[1, 0, 0, 2], [0, 1, 0, 3], [0, 0, 1, 1], [0, 0, 0, 1]]),
        {1: "a"},
    )
    masks = preprocess_masks(part, Grid((8, 9, 10), UPRIGHT), options((8, 9, 10)))
    assert masks.sum() == 24
    assert masks[2:4, 3:6, 1:5].all()


def test_a_tilted_gantry_is_set_upright_and_a_voxel_keeps_its_place() -> None:
    affine = UPRIGHT.copy()
    affine[1, 0] = 3.0 * np.tan(np.radians(20))
    hu = np.full((16, 20, 20), -1000, dtype=np.int16)
    hu[7:10, 9:12, 9:12] = 1000
    volume, wanted = Volume(hu, affine), options((40, 60, 60), (1.5, 0.75, 0.75))
    grid = stored_grid(volume.grid, wanted)
    assert is_sheared(affine)
    assert not is_sheared(grid.affine)
    stored = preprocess(volume, wanted)
    centre = world_mm(grid.affine, np.argwhere(stored > 0).mean(axis=0))
    np.testing.assert_allclose(centre, world_mm(affine, (8, 10, 10)), atol=0.4)


def test_the_upright_grid_of_a_tilted_scan_covers_all_of_it() -> None:
    affine = UPRIGHT.copy()
    affine[1, 0] = 3.0 * np.tan(np.radians(20))
    volume = Volume(np.full((16, 20, 20), 50, dtype=np.int16), affine)
    stored = preprocess(volume, options((20, 60, 24)))
    assert (stored == 50).sum() == pytest.approx(16 * 20 * 20, rel=0.08)


@pytest.mark.parametrize(("spacing_z_mm", "slices"), [(0.7, 200), (1.0, 140), (1.5, 93), (3.0, 47)])
def test_a_thick_scan_fills_its_stored_grid_to_the_last_slice(spacing_z_mm: float, slices: int) -> None:
    volume = Volume(np.full((28, 4, 4), 50, dtype=np.int16), UPRIGHT * np.array([5 / 3, 1, 1, 1]))
    assert (preprocess(volume, options((slices, 4, 4), (spacing_z_mm, 1.5, 1.5))) == 50).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(-2000, 0), st.floats(1, 3000))
def test_the_window_becomes_minus_one_to_one_and_the_rest_is_clipped(low: float, width: float) -> None:
    scaled = scale_hu(np.array([-32768, low, low + width / 2, low + width, 32767]), (low, low + width))
    np.testing.assert_allclose(scaled, [-1, -1, 0, 1, 1], atol=2e-3)
    assert scaled.dtype == np.float32
    assert scaled.min() >= -1
    assert scaled.max() <= 1


def test_scaling_leaves_the_stored_voxels_as_they_are() -> None:
    stored = np.array([[[-1024, 0, 500]]], dtype=np.int16)
    scaled = scale_hu(stored, (-1000.0, 200.0))
    assert stored.tolist() == [[[-1024, 0, 500]]]
    np.testing.assert_allclose(scaled[0, 0], [-1, 2 / 3, 1], atol=1e-6)


def test_the_stored_grid_is_canonical() -> None:
    grid = stored_grid(Grid((8, 9, 10), UPRIGHT @ np.diag([-1.0, 1, -1, 1])), options((5, 5, 5)))
    _, affine = canonical(np.zeros(grid.shape, dtype=np.uint8), grid.affine)
    np.testing.assert_allclose(affine, grid.affine)
