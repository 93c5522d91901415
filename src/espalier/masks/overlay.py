"""Pictures of a scan with the outlines of its masks: an axial, a coronal and a sagittal plane, small and in colour."""

import base64
import colorsys
import html
import io
from typing import Final

import numpy as np
from jaxtyping import Float64, UInt8

from espalier.cohort.volume import AIR_HU, Volume
from espalier.geometry import Grid, resample, world_mm
from espalier.masks.files import Masks

PIXEL_MM: Final = 2.5
WIDEST_MM: Final = 420.0
WINDOW_HU: Final = (-1000.0, 400.0)
GREYS: Final = 32
COLOURS: Final = 200
GAP: Final = 4
Point = Float64[np.ndarray, "3"]
Plane = UInt8[np.ndarray, "height width"]


def overlay(volume: Volume, masks: Masks, *, at: Point, caption: str) -> str:
    """Return three planes through a point, with the outlines of the masks, as one inline PNG with its caption.

    The patient's left is on the right in the axial and the coronal plane, the back on the right in the sagittal one.

    Parameters
    ----------
    volume, masks
        A scan, in any orientation.
    at
        World position (x, y, z) in mm where the planes cross.
    caption
        Text under the picture.
    """
    planes = [_plane(volume, masks, at, axis) for axis in range(3)]
    height = max(plane.shape[0] for plane in planes)
    strips: list[np.ndarray] = []
    for plane in planes:
        above = (height - plane.shape[0]) // 2
        strips += [np.pad(plane, ((above, height - plane.shape[0] - above), (0, 0))), np.zeros((height, GAP), dtype=np.uint8)]
    data, text = _png(np.hstack(strips[:-1])), html.escape(caption, quote=True)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def middle_of(masks: Masks, values: list[int] | None = None) -> Point:
    """Return the world position of the middle of the structures of some values, of all where none of these is there."""
    chosen = np.isin(masks.voxels, values) if values else masks.voxels > 0
    if not chosen.any():
        chosen = masks.voxels > 0
    if not chosen.any():
        return world_mm(masks.affine, [(n - 1) / 2 for n in masks.voxels.shape])
    # Of the voxels' indices along each axis the median: a voxel of the masks is then never far.
    sums = [chosen.sum(axis=tuple(a for a in range(3) if a != axis)).cumsum() for axis in range(3)]
    return world_mm(masks.affine, [float(np.searchsorted(total, total[-1] / 2)) for total in sums])


def colour_of(value: int) -> str:
    """Return the colour of a mask value in CSS notation; neighbouring values differ clearly."""
    red, green, blue = (round(255 * part) for part in _rgb(value))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _rgb(value: int) -> tuple[float, float, float]:
    # Steps of the golden ratio around the circle of hues never meet again.
    return colorsys.hsv_to_rgb(0.61803398875 * (value - 1) % 1.0, (0.65, 0.95)[value % 2], 1.0)


def _plane(volume: Volume, masks: Masks, at: Point, axis: int) -> Plane:
    """Return a plane across a world axis given as z, y, x = 0, 1, 2: greys, and above them colours of outlines."""
    grid = _grid(volume, at, axis)
    hu = resample(volume.voxels, volume.affine, onto=grid, kind="linear", outside=float(AIR_HU))
    labels = resample(masks.voxels, masks.affine, onto=grid, kind="nearest", outside=0)
    hu, labels = (np.squeeze(part, axis=axis) for part in (hu, labels))
    if axis > 0:
        hu, labels = hu[::-1], labels[::-1]
    low, high = WINDOW_HU
    grey = np.round(np.clip((hu - low) / (high - low), 0, 1) * (GREYS - 1)).astype(np.uint8)
    fine, shown = (np.kron(part, np.ones((2, 2), dtype=np.uint8)) for part in (labels, grey))
    outline = _outline(fine)
    return np.where(outline, GREYS + (fine.astype(np.int64) - 1) % COLOURS, shown).astype(np.uint8)


def _grid(volume: Volume, at: Point, axis: int) -> Grid:
    """Return pixels of 2.5 mm along the world's axes over the scan's field, one voxel thick across `axis`."""
    ends = [(0, n - 1) for n in volume.shape]
    corners = np.array([world_mm(volume.affine, (z, y, x)) for z in ends[0] for y in ends[1] for x in ends[2]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    low, high = np.maximum(low, at - WIDEST_MM / 2), np.minimum(high, at + WIDEST_MM / 2)
    low[2 - axis] = high[2 - axis] = at[2 - axis]
    counts = np.maximum(1, np.floor((high - low) / PIXEL_MM).astype(int) + 1)
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = PIXEL_MM
    affine[:3, 3], affine[3, 3] = low, 1
    return Grid((int(counts[2]), int(counts[1]), int(counts[0])), affine)


def _outline(labels: Plane) -> np.ndarray:
    padded = np.pad(labels, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (inner > 0) & np.any([other != inner for other in around], axis=0)


def _png(indices: Plane) -> str:
    from PIL import Image

    greys = [(n * 255 // (GREYS - 1),) * 3 for n in range(GREYS)]
    colours = [tuple(round(255 * part) for part in _rgb(value)) for value in range(1, COLOURS + 1)]
    picture = Image.fromarray(indices, mode=None).convert("P")
    picture.putpalette([part for colour in (*greys, *colours) for part in colour])
    stream = io.BytesIO()
    picture.save(stream, format="png", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()
