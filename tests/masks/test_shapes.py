import numpy as np

from espalier.masks.shapes import closed, filled, grown, opened, pieces, shrunk


def test_growing_is_measured_in_millimetres_along_every_axis() -> None:
    point = np.zeros((9, 9, 9), dtype=bool)
    point[4, 4, 4] = True
    out = np.argwhere(grown(point, 3.0, (3.0, 1.0, 1.5))) - 4
    assert np.abs(out).max(axis=0).tolist() == [1, 3, 2]


def test_shrinking_undoes_growing_of_a_box_and_the_face_of_the_grid_is_no_outside() -> None:
    box = np.zeros((9, 20, 20), dtype=bool)
    box[:, 8:12, 6:14] = True
    np.testing.assert_array_equal(shrunk(grown(box, 2.0, (1, 1, 1)), 2.0, (1, 1, 1)), box)
    assert shrunk(np.ones((4, 4, 4), dtype=bool), 2.0, (1, 1, 1)).all()


def test_opening_takes_off_a_thin_sheet_and_closing_fills_a_thin_gap() -> None:
    block = np.zeros((12, 20, 20), dtype=bool)
    block[:, 2:10] = True
    sheet = block.copy()
    sheet[:, 15] = True
    np.testing.assert_array_equal(opened(sheet, 1.5, (1, 1, 1)), block)
    gap = block.copy()
    gap[:, 5] = False
    np.testing.assert_array_equal(closed(gap, 1.5, (1, 1, 1)), block)


def test_pieces_come_largest_first_with_their_centres() -> None:
    mask = np.zeros((6, 10, 10), dtype=bool)
    mask[1, 1, 1:3] = True
    mask[3:5, 4:8, 4:8] = True
    found = pieces(mask)
    assert found.sizes.tolist() == [32, 2]
    np.testing.assert_allclose(found.centres(), [[3.5, 5.5, 5.5], [1, 1, 1.5]])
    np.testing.assert_array_equal(found.largest(), found.at_least(3))


def test_an_empty_mask_stays_empty() -> None:
    empty = np.zeros((4, 5, 6), dtype=bool)
    for out in (grown(empty, 3, (1, 1, 1)), shrunk(empty, 3, (1, 1, 1)), filled(empty), pieces(empty).largest()):
        assert not out.any()
    assert pieces(empty).centres().shape == (0, 3)


def test_holes_are_filled_slice_by_slice() -> None:
    ring = np.zeros((3, 7, 7), dtype=bool)
    ring[1, 1:6, 1:6] = True
    ring[1, 3, 3] = False
    assert filled(ring)[1, 3, 3]
    assert not filled(ring)[0].any()
