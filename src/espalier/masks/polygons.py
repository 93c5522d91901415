"""Closed outlines in a plane, filled: what lies within an odd number of them is inside, so that inner ones are holes."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

CROSSINGS_AT_ONCE: Final = 1 << 20


def filled_polygons(polygons: Sequence[Float[np.ndarray, "n 2"]], shape: tuple[int, int]) -> Bool[np.ndarray, "y x"]:
    """Return the pixels whose centres lie inside.

    Parameters
    ----------
    polygons
        Corners (row, column) in indices, so that (0, 0) is the centre of the first pixel; the last is joined to the first.
    shape
        Rows and columns; what lies outside is cut off.
    """
    rows, columns = shape
    # Each edge turns over all pixels to its right, row by row; those turned over an odd number of times are inside.
    turned = np.zeros((rows, columns + 1), dtype=np.uint32)
    for corners in polygons:
        for start, end in _pieces(corners, np.roll(corners, -1, axis=0), rows):
            _turn(turned, start, end)
    return np.asarray(np.cumsum(turned[:, :columns], axis=1, dtype=np.uint32) % 2 == 1)


def _pieces(start: Float[np.ndarray, "n 2"], end: Float[np.ndarray, "n 2"], rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Part the edges so that those of one piece cross a bounded number of rows."""
    crossed = np.clip(np.abs(end[:, 0] - start[:, 0]) + 1, 1, rows + 1)
    count = int(np.ceil(crossed.sum() / CROSSINGS_AT_ONCE)) or 1
    return list(zip(np.array_split(start, count), np.array_split(end, count), strict=True))


def _turn(turned: np.ndarray, start: Float[np.ndarray, "n 2"], end: Float[np.ndarray, "n 2"]) -> None:
    rows, columns = turned.shape[0], turned.shape[1] - 1
    upper, lower = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    # An edge holds its upper end but not its lower one, so that a corner between two edges counts once.
    first = np.clip(np.ceil(upper), 0, rows).astype(np.int64)
    last = np.clip(np.ceil(lower), 0, rows).astype(np.int64)
    counts = last - first
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    share = (row - start[edge, 0]) / (end[edge, 0] - start[edge, 0])
    column = start[edge, 1] + share * (end[edge, 1] - start[edge, 1])
    np.add.at(turned, (row, np.clip(np.ceil(column), 0, columns).astype(np.int64)), 1)
