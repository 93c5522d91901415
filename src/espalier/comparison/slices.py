"""Slices of a few test scans with their masks, as every arm saw them."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from espalier.comparison.pairs import Pairs
from espalier.errors import MissingError
from espalier.evaluation.metrics import UNSURE
from espalier.page import paragraph, section, slice_png
from espalier.store.read import Store, open_store

SHOWN: Final = 4
WIDTH_PX: Final = 288


def slices_section(folder: Path, pairs: Pairs, titles: Sequence[str]) -> str:
    """Return a section with the middle slice of a few test scans; empty where the study has no store."""
    try:
        store = open_store(folder)
    except MissingError:
        return ""
    here = [scan for scan in pairs.scans if scan in set(store.scans)]
    masked = [scan for scan in here if store.has_masks(scan)]
    scans = (masked or here)[:SHOWN]
    if not scans:
        return ""
    figures = [_slice(store, scan, _present(pairs, scan, titles)) for scan in scans]
    low, high = store.options.window_hu
    told = paragraph(
        f"The middle of {len(scans)} test scans after resampling, shown from {low:g} to {high:g} HU, the patient's left on "
        "the right. Masks were used in training only; a prediction never sees them.",
        look="quiet",
    )
    return section("What the networks saw", told, f'<div class="row">{"".join(figures)}</div>', _legend(store.structures))


def _present(pairs: Pairs, scan: str, titles: Sequence[str]) -> list[str]:
    row = pairs.scans.index(scan)
    there = (pairs.targets[row] > UNSURE) & (pairs.weights[row] > 0)
    return [name for name, here in zip(titles, there, strict=True) if here]


def _slice(store: Store, scan: str, present: Sequence[str]) -> str:
    shape = store.options.shape
    z = shape[0] // 2
    masks = None
    if store.has_masks(scan):
        whole = store.masks(scan)
        filled = np.flatnonzero((whole > 0).any(axis=(1, 2)))
        z = int(filled[len(filled) // 2]) if len(filled) else z
        masks = whole[z]
    box = (slice(z, z + 1), slice(0, shape[1]), slice(0, shape[2]))
    caption = f"Scan {scan}, slice {z + 1} of {shape[0]}. Labels: {', '.join(present) or 'none of the findings'}."
    return slice_png(
        store.voxels(scan, box)[0].astype(np.float32),
        window_hu=store.options.window_hu,
        masks=masks,
        caption=caption,
        zoom=max(1, WIDTH_PX // shape[2]),
    )


def _legend(structures: Sequence[str]) -> str:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    palette = [to_hex(colormaps["tab10"](n)) for n in range(10)]
    entries = [
        f'<span style="color:{palette[n % 10]}">■</span> {html.escape(name.replace("_", " "))}'
        for n, name in enumerate(structures)
    ]
    return f'<p class="quiet">{" &nbsp; ".join(entries)}</p>' if entries else ""
