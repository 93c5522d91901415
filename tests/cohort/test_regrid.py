import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espalier.cohort.regrid import rectified, spaced_evenly, upright_grid
from espalier.cohort.volume import AIR_HU, Volume
from espalier.geometry import Grid, is_sheared, world_mm

UPRIGHT = np.array([[0, 0, 1.0, -10.0], [0, 1.5, 0, 5.0], [3.0, 0, 0, 40.0], [0, 0, 0, 1.0]])


def sheared(shear: tuple[float, float, float], turn: float = 0.0) -> np.ndarray:
    """Return an affine whose slices are shifted in x and y as they rise, and whose rows are not quite upright to its columns."""
    affine = UPRIGHT.copy()
    affine[0, 0], affine[1, 0], affine[0, 1] = shear
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return rotation @ affine


@settings(max_examples=60, deadline=None)
@given(shear=st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-0.5, 0.5)), turn=st.floats(-3, 3))
def test_the_upright_grid_has_right_angles_and_holds_every_voxel(shear: tuple[float, float, float], turn: float) -> None:
    grid = Grid((7, 9, 11), sheared(shear, turn))
    onto = upright_grid(grid)
    assert not is_sheared(onto.affine)
    assert np.linalg.det(onto.affine[:3, :3]) * np.linalg.det(grid.affine[:3, :3]) > 0
    corners = np.array([[z, y, x, 1.0] for z in (0, 6) for y in (0, 8) for x in (0, 10)])
    inside = (np.linalg.inv(onto.affine) @ grid.affine @ corners.T)[:3].T
    assert inside.min() > -1e-6
    assert (inside <= np.array(onto.shape) - 1 + 1e-6).all()
    assert (inside.max(axis=0) > np.array(onto.shape) - 2).all()


def test_an_upright_grid_stays_as_it_is() -> None:
    onto = upright_grid(Grid((7, 9, 11), UPRIGHT))
    assert onto.shape == (7, 9, 11)
    assert np.allclose(onto.affine, UPRIGHT)
    volume = Volume(np.zeros((7, 9, 11), dtype=np.int16), UPRIGHT)
    assert rectified(volume) is volume


@settings(max_examples=30, deadline=None)
@given(shear=st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)).filter(lambda s: max(map(abs, s)) > 0.1))
def test_rectified_values_stay_where_they_were_in_the_world(shear: tuple[float, float]) -> None:
    affine = sheared((*shear, 0.0))
    z, y, x = np.mgrid[:12, :20, :20]
    world = np.einsum("ij,jzyx->izyx", affine[:3, :3], np.stack([z, y, x]).astype(float)) + affine[:3, 3, None, None, None]
    plane = np.array([5.0, -7.0, 11.0])
    voxels = np.rint(np.einsum("i,izyx->zyx", plane, world)).astype(np.int16)
    out = rectified(Volume(voxels, affine))
    assert out.voxels.dtype == np.int16
    held = np.argwhere(out.voxels[1:-1, 4:-4, 4:-4] != AIR_HU) + np.array([1, 4, 4])
    inside = (np.linalg.inv(affine) @ out.affine @ np.c_[held, np.ones(len(held))].T)[:3].T
    deep = held[((inside > 0) & (inside < np.array(voxels.shape) - 1)).all(axis=1)]
    assert len(deep) > 500
    for index in deep[:: len(deep) // 50]:
        assert out.voxels[tuple(index)] == pytest.approx(plane @ world_mm(out.affine, index), abs=2)


def test_slices_between_others_are_their_mean_by_distance() -> None:
    voxels = np.stack([np.full((2, 2), v, dtype=np.int16) for v in (0, 100, 200, 230)])
    out = spaced_evenly(voxels, np.array([0.0, 5.0, 10.0, 11.5]), 24)
    assert out.dtype == np.int16
    assert out[:, 0, 0].tolist()[:5] == [0, 10, 20, 30, 40]
    assert out[[0, 10, 20, 23], 1, 1].tolist() == [0, 100, 200, 230]
