"""Shapes lie where they are told to, as large as they are told, on any grid."""

import numpy as np
import pytest

from espalier.geometry import Affine, Grid, affine_from
from espalier.phantom.draw import Canvas, Sites, ellipsoid, make_canvas, mix, mottle, paint, rod, rotation, step, whole


def canvas(spacing_mm: tuple[float, float, float] = (2.0, 1.5, 1.5), pose: Affine | None = None, shift: float = 0.0) -> Canvas:
    shape = tuple(round(120 / s) for s in spacing_mm)
    origin = [-60.0 + shift, -60.0, -60.0]
    direction = np.eye(3)[:, ::-1]
    grid = Grid(shape, affine_from(spacing_mm=spacing_mm, origin_mm=origin, direction=direction))
    return make_canvas(grid, np.eye(4) if pose is None else pose, hu=-1000)


@pytest.mark.parametrize("spacing_mm", [(1.5, 1.5, 1.5), (5.0, 2.0, 2.0)])
def test_an_ellipsoid_has_its_volume_and_centre(spacing_mm: tuple[float, float, float]) -> None:
    paper = canvas(spacing_mm)
    share = whole(paper, ellipsoid(paper, (10, -5, 8), (30, 20, 25), rotation(0.3, -0.2, 0.7)))
    volume_ml = share.sum() * paper.voxel_ml
    assert volume_ml == pytest.approx(4 / 3 * np.pi * 30 * 20 * 25 / 1000, rel=0.04)
    centre = [float((share * axis).sum() / share.sum()) for axis in (paper.x, paper.y, paper.z)]
    assert centre == pytest.approx([10, -5, 8], abs=0.2)


def test_the_box_of_an_ellipsoid_loses_nothing_of_it() -> None:
    paper = canvas((3.0, 2.0, 2.0))
    turn = rotation(0.9, 0.4, -1.1)
    share = whole(paper, ellipsoid(paper, (4, 3, -6), (35, 9, 16), turn))
    own = np.stack([paper.x - 4, paper.y - 3, paper.z + 6], axis=-1) @ turn.T / np.array([35, 9, 16])
    distance = (np.linalg.norm(own, axis=-1) - 1) * min((35 * 9 * 16) ** (1 / 3), 13.5)
    np.testing.assert_allclose(share, step(distance.astype(np.float32), paper.edge_mm), atol=1e-4)


def test_a_shape_outside_the_grid_is_empty_and_harmless() -> None:
    paper = canvas()
    paint(paper, ellipsoid(paper, (500, 0, 0), (20, 20, 20)), 50)
    assert (paper.hu == -1000).all()


def test_a_shape_follows_the_pose_of_the_body() -> None:
    pose = np.eye(4)
    pose[:3, :3] = rotation(0, 0, np.pi / 2)
    pose[:3, 3] = (0, 20, 0)
    paper = canvas(pose=pose)
    share = whole(paper, ellipsoid(paper, (25, 0, 0), (8, 8, 8)))
    z, y, x = (float(v.mean()) for v in np.nonzero(share > 0.5))
    assert [x * 1.5 - 60, y * 1.5 - 60, z * 2 - 60] == pytest.approx([0, 45, 0], abs=1.0)


def test_a_rod_joins_its_ends() -> None:
    paper = canvas()
    share = whole(paper, rod(paper, (-30, 0, 10), (20, 20, -20), 6))
    for along in (0.0, 0.5, 1.0):
        x, y, z = -30 + 50 * along, 20 * along, 10 - 30 * along
        near = (np.abs(paper.x - x) < 1) & (np.abs(paper.y - y) < 1) & (np.abs(paper.z - z) < 1.5)
        assert share[near].max() > 0.8


def test_paint_mixes_by_share() -> None:
    hu = np.full((1, 1, 3), -100, np.float32)
    mix(hu, np.array([[[0, 0.5, 1]]], np.float32), 60)
    np.testing.assert_allclose(hu, [[[-100, -20, 60]]])


def test_mottle_is_the_same_pattern_on_every_grid() -> None:
    coarse, fine = (canvas(s) for s in ((4.0, 4.0, 4.0), (2.0, 2.0, 2.0)))
    patterns = [mottle(paper, np.random.default_rng(3), (30, 70)) for paper in (coarse, fine)]
    np.testing.assert_allclose(patterns[1][::2, ::2, ::2], patterns[0], atol=2e-3)
    assert patterns[1].std() == pytest.approx(1, abs=0.35)


def test_places_chosen_on_the_first_grid_are_kept_for_the_next() -> None:
    sites, first, second = Sites(np.random.default_rng(0)), canvas(), canvas((5.0, 4.0, 4.0))
    chosen = sites.pick(first, first.x > 20, 4)
    nothing = sites.pick(first, np.zeros(first.hu.shape, bool), 3)
    sites.rewind()
    assert sites.pick(second, second.x < 0, 4) == chosen
    assert sites.pick(second, second.x < 0, 3) == nothing == []
    assert len(chosen) == 4
    assert min(x for x, _, _ in chosen) > 20
