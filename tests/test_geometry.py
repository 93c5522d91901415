from itertools import permutations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.geometry import (
    Grid,
    affine_from,
    bounding_box,
    canonical,
    centred,
    crop_or_pad,
    direction_of,
    is_sheared,
    resample,
    respaced,
    spacing_mm,
    world_mm,
)

UPRIGHT = np.array([[0, 0, 1.5, -20.0], [0, 1.25, 0, 5.0], [3.0, 0, 0, -40.0], [0, 0, 0, 1]])
SHAPES = st.tuples(*[st.integers(1, 9)] * 3)
AXES = st.sampled_from(list(permutations(range(3))))
FLIPS = st.tuples(*[st.booleans()] * 3)


def numbered(shape: tuple[int, int, int]) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def laid_out(voxels: np.ndarray, affine: np.ndarray, axes: tuple[int, ...], flips: tuple[bool, ...]):
    voxels, affine = voxels.transpose(axes), affine.copy()
    affine[:3, :3] = affine[:3, list(axes)]
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (voxels.shape[axis] - 1)
            affine[:3, axis] *= -1
            voxels = np.flip(voxels, axis)
    return voxels, affine


def about_z(degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def test_an_affine_is_its_spacing_origin_and_direction() -> None:
    direction = about_z(30)[:, ::-1]
    affine = affine_from(spacing_mm=(3.0, 1.5, 1.25), origin_mm=(7, 8, 9), direction=direction)
    assert spacing_mm(affine) == pytest.approx((3.0, 1.5, 1.25))
    np.testing.assert_allclose(direction_of(affine), direction, atol=1e-12)
    np.testing.assert_allclose(world_mm(affine, (0, 0, 0)), (7, 8, 9))
    np.testing.assert_allclose(world_mm(affine, (2, 0, 0)), (7, 8, 15))
    assert Grid((1, 2, 3), affine).spacing_mm == spacing_mm(affine)


def test_world_positions_are_those_of_simpleitk() -> None:
    volume = sitk.Image([5, 6, 7], sitk.sitkInt16)
    volume.SetSpacing((1.5, 1.25, 3.0))
    volume.SetOrigin((-20, 5, -40))
    volume.SetDirection(about_z(20).ravel().tolist())
    affine = affine_from(spacing_mm=(3.0, 1.25, 1.5), origin_mm=volume.GetOrigin(), direction=about_z(20)[:, ::-1])
    np.testing.assert_allclose(world_mm(affine, (6, 2, 4)), volume.TransformIndexToPhysicalPoint((4, 2, 6)))


@pytest.mark.parametrize(("tilt_degrees", "sheared"), [(0.0, False), (0.02, False), (0.2, True), (25.0, True)])
def test_a_tilted_gantry_is_a_shear_and_a_turned_patient_is_none(tilt_degrees: float, sheared: bool) -> None:
    affine = UPRIGHT.copy()
    affine[1, 0] = 3.0 * np.tan(np.radians(tilt_degrees))
    assert is_sheared(affine) is sheared
    turned = affine_from(spacing_mm=(3, 2, 1), origin_mm=(0, 0, 0), direction=about_z(33)[:, ::-1])
    assert not is_sheared(turned)


@given(SHAPES, AXES, FLIPS)
def test_canonical_undoes_every_layout_and_keeps_every_voxel_in_its_place(shape, axes, flips) -> None:
    voxels = numbered(shape)
    out, affine = canonical(*laid_out(voxels, UPRIGHT, axes, flips))
    np.testing.assert_array_equal(out, voxels)
    np.testing.assert_allclose(affine, UPRIGHT, atol=1e-9)
    assert out.flags["C_CONTIGUOUS"]


@given(SHAPES, AXES, FLIPS, st.floats(-44, 44))
def test_canonical_leaves_obliquity_in_the_affine_and_the_values_where_they_were(shape, axes, flips, degrees: float) -> None:
    oblique = UPRIGHT.copy()
    oblique[:3, :3] = about_z(degrees) @ UPRIGHT[:3, :3]
    voxels = numbered(shape)
    given_voxels, given_affine = laid_out(voxels, oblique, axes, flips)
    out, affine = canonical(given_voxels, given_affine)
    for index in np.ndindex(*shape):
        found = np.argwhere(out == voxels[index])[0]
        np.testing.assert_allclose(world_mm(affine, found), world_mm(oblique, index), atol=1e-9)
    assert (np.diag(affine[:3, :3][::-1]) > 0).all()


def test_canonical_takes_the_best_axes_together_where_one_is_nearest_to_two() -> None:
    tipped = np.array([[0, 0, 1.0], [0.6, 0.8, 0], [0.8, -0.6, 0]])
    _, affine = canonical(numbered((2, 3, 4)), affine_from(spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=tipped))
    np.testing.assert_allclose(affine[:3, :3], tipped, atol=1e-12)


@given(SHAPES, SHAPES)
def test_cropping_and_padding_keep_the_centre_and_every_voxel_its_world_position(shape, wanted) -> None:
    voxels = numbered(shape) + 1
    out = crop_or_pad(voxels, wanted, outside=0)
    grid = centred(Grid(shape, UPRIGHT), wanted)
    assert out.shape == grid.shape == wanted
    kept = np.argwhere(out > 0)
    assert len(kept) == np.prod(np.minimum(shape, wanted))
    for index in kept:
        origin = np.argwhere(voxels == out[tuple(index)])[0]
        np.testing.assert_allclose(world_mm(grid.affine, index), world_mm(UPRIGHT, origin), atol=1e-9)
    off = world_mm(grid.affine, (np.array(wanted) - 1) / 2) - world_mm(UPRIGHT, (np.array(shape) - 1) / 2)
    assert (np.abs(off) <= np.array([1.5, 1.25, 3.0]) / 2 + 1e-9).all()


@given(SHAPES, SHAPES)
def test_padding_and_cropping_back_is_the_identity(shape, more) -> None:
    voxels = numbered(shape)
    larger = tuple(n + m for n, m in zip(shape, more, strict=True))
    np.testing.assert_array_equal(crop_or_pad(crop_or_pad(voxels, larger, outside=-9), shape, outside=-9), voxels)


@given(SHAPES)
def test_respacing_to_the_own_spacing_changes_nothing(shape) -> None:
    grid = respaced(Grid(shape, UPRIGHT), (3.0, 1.25, 1.5))
    assert grid.shape == shape
    np.testing.assert_allclose(grid.affine, UPRIGHT)


@given(st.tuples(*[st.integers(2, 200)] * 3), st.tuples(*[st.floats(0.5, 6.0)] * 3))
def test_a_respaced_grid_has_the_wanted_spacing_over_the_same_field(shape, spacing) -> None:
    grid = respaced(Grid(shape, UPRIGHT), spacing)
    assert grid.spacing_mm == pytest.approx(spacing)
    field, new = np.array(shape) * (3.0, 1.25, 1.5), np.array(grid.shape) * spacing
    assert (np.abs(field - new) <= np.maximum(np.array(spacing) / 2, np.array(spacing) - field) + 1e-9).all()


@given(st.tuples(*[st.integers(2, 60)] * 3), st.tuples(*[st.floats(0.5, 6.0)] * 3))
def test_no_voxel_of_a_respaced_grid_lies_outside_the_field(shape, spacing) -> None:
    grid = respaced(Grid(shape, UPRIGHT), spacing)
    for corner in ((0, 0, 0), np.array(grid.shape) - 1):
        index = np.linalg.solve(UPRIGHT, [*world_mm(grid.affine, corner), 1])[:3]
        assert (index > -0.5 - 1e-9).all()
        assert (index < np.array(shape) - 0.5 + 1e-9).all()


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.floats(0.6, 4.0)] * 3), st.floats(-40, 40), AXES, FLIPS)
def test_a_ramp_is_resampled_exactly_between_any_two_grids(spacing, degrees: float, axes, flips) -> None:
    shape, slope = (9, 10, 11), np.array([2.0, -3.0, 1.5])
    index = np.argwhere(np.ones(shape, dtype=bool))
    values = ((index @ UPRIGHT[:3, :3].T + UPRIGHT[:3, 3]) @ slope).reshape(shape).astype(np.float32)
    voxels, affine = laid_out(values, UPRIGHT, axes, flips)
    centre = world_mm(UPRIGHT, (4, 4.5, 5))
    onto_affine = affine_from(spacing_mm=spacing, origin_mm=(0, 0, 0), direction=about_z(degrees)[:, ::-1])
    onto_affine[:3, 3] = centre - onto_affine[:3, :3] @ (2, 2, 2)
    onto = Grid((5, 5, 5), onto_affine)
    out = resample(np.ascontiguousarray(voxels), affine, onto=onto, kind="linear", outside=-5000.0)
    points = np.argwhere(np.ones(onto.shape, dtype=bool)) @ onto_affine[:3, :3].T + onto_affine[:3, 3]
    own = (points - UPRIGHT[:3, 3]) @ np.linalg.inv(UPRIGHT[:3, :3]).T
    inside = ((own > 1e-3) & (own < np.array(shape) - 1.001)).all(axis=1).reshape(onto.shape)
    np.testing.assert_allclose(out[inside], (points @ slope).reshape(onto.shape)[inside], atol=1e-2)
    far = ((own < -0.501) | (own > np.array(shape) - 0.499)).any(axis=1).reshape(onto.shape)
    assert (out[far] == -5000).all()
    assert out.dtype == np.float32


def test_resampling_undoes_a_shear() -> None:
    sheared = UPRIGHT.copy()
    sheared[1, 0] = 1.25
    voxels = np.zeros((6, 12, 5), dtype=np.uint8)
    voxels[4, 3, 2] = 9
    out = resample(voxels, sheared, onto=Grid((6, 20, 5), UPRIGHT), kind="nearest", outside=0)
    assert np.argwhere(out == 9).tolist() == [[4, 7, 2]]


def test_resampling_agrees_with_simpleitk_on_its_own_geometry() -> None:
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 1000, (8, 9, 10)).astype(np.int16)
    source = sitk.GetImageFromArray(voxels.astype(np.float32))
    source.SetSpacing((1.5, 1.25, 3.0))
    source.SetOrigin((-20, 5, -40))
    onto = Grid((11, 12, 13), affine_from(spacing_mm=(2, 1, 1.1), origin_mm=(-19, 6, -39), direction=about_z(7)[:, ::-1]))
    wanted = sitk.Resample(
        source,
        (13, 12, 11),
        sitk.Transform(),
        sitk.sitkLinear,
        (-19, 6, -39),
        (1.1, 1.0, 2.0),
        about_z(7).ravel().tolist(),
        -1024.0,
    )
    out = resample(voxels, UPRIGHT, onto=onto, kind="linear", outside=-1024.0)
    np.testing.assert_allclose(out, sitk.GetArrayFromImage(wanted), atol=0.02)


def test_masks_keep_their_values_and_type_under_nearest() -> None:
    masks = np.random.default_rng(0).integers(0, 5, (6, 7, 8)).astype(np.uint8)
    onto = respaced(Grid((6, 7, 8), UPRIGHT), (1.0, 1.0, 1.0))
    out = resample(masks, UPRIGHT, onto=onto, kind="nearest", outside=0)
    assert out.dtype == np.uint8
    assert set(np.unique(out)) <= set(range(5))


def test_the_box_of_a_mask_is_the_smallest() -> None:
    mask = np.zeros((5, 6, 7), dtype=bool)
    mask[1, 2, 6] = mask[3, 2, 0] = True
    assert bounding_box(mask) == (slice(1, 4), slice(2, 3), slice(0, 7))
    assert bounding_box(np.zeros((5, 6, 7), dtype=bool)) == (slice(0, 0),) * 3


def by_simpleitk(voxels: np.ndarray, affine: np.ndarray, onto: Grid, outside: float) -> np.ndarray:
    """Return the same as `resample` by SimpleITK's own notion of spacing, origin and direction."""

    def geometry(grid_affine: np.ndarray) -> tuple[list[float], list[float], list[float]]:
        columns = grid_affine[:3, [2, 1, 0]]
        spacing = np.linalg.norm(columns, axis=0)
        return spacing.tolist(), grid_affine[:3, 3].tolist(), (columns / spacing).ravel().tolist()

    image = sitk.GetImageFromArray(voxels)
    spacing, origin, direction = geometry(affine)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    spacing, origin, direction = geometry(onto.affine)
    size = [int(n) for n in onto.shape[::-1]]
    out = sitk.Resample(image, size, sitk.Transform(), sitk.sitkLinear, origin, spacing, direction, outside, sitk.sitkFloat32)
    return sitk.GetArrayFromImage(out)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    old=st.tuples(*[st.floats(0.5, 3)] * 3),
    new=st.tuples(*[st.floats(0.5, 3)] * 3),
    shape=st.tuples(*[st.integers(3, 30)] * 3),
)
def test_axes_that_run_alike_are_resampled_as_simpleitk_does(
    seed: int, old: tuple[float, ...], new: tuple[float, float, float], shape: tuple[int, int, int]
) -> None:
    rng = np.random.default_rng(seed)
    voxels = rng.integers(-1000, 2000, (9, 14, 11)).astype(np.int16)
    affine = affine_from(spacing_mm=old, origin_mm=rng.uniform(-50, 50, 3), direction=np.eye(3)[:, ::-1])
    onto = centred(respaced(Grid(voxels.shape, affine), new), shape)
    ours = resample(voxels, affine, onto=onto, kind="linear", outside=-1024)
    assert ours.dtype == np.float32
    assert np.abs(ours - by_simpleitk(voxels, affine, onto, -1024)).max() < 0.01
