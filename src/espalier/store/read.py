"""Reading the store: crops for training, whole arrays for evaluation.

Opening a file costs about as much as decompressing a small crop, so each process keeps the arrays it opened last, some
0.2 MB each; blosc2 itself keeps at most about a hundred of their files open. A store that is made anew has another hash,
and so other entries; a `Store` from before must not be read any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int16, UInt8

from espalier.errors import MissingError
from espalier.geometry import Affine
from espalier.outputs import hash_file, inside, read_json
from espalier.settings import parse
from espalier.store.format import Box, Stored, open_array
from espalier.store.options import StoreOptions

STORE: Final = "store.json"
ARRAYS: Final = "store"
KEPT_OPEN: Final = 1024


@dataclass(frozen=True, slots=True)
class Store:
    """A prepared cohort: opened once, read by scan id, safe to hand to worker processes.

    Attributes
    ----------
    folder
        Of the study.
    options
        How the arrays were made.
    structures
        Names of the mask values 1, 2, …; empty where there are no masks.
    scans
        Ids in the order of the cohort.
    key
        Hash of `store.json`, and with it of every array.
    """

    folder: Path
    options: StoreOptions
    structures: tuple[str, ...]
    scans: tuple[str, ...]
    key: str
    masked: Mapping[str, bool] = field(repr=False)
    mask_weights: Mapping[str, float] = field(repr=False)

    def has_masks(self, scan: str) -> bool:
        """Tell whether the scan has masks that may be trained on."""
        return self.masked.get(scan, False)

    def mask_weight(self, scan: str) -> float:
        """Return how much the scan's masks count in training, from 0 to 1, as the checks of `segment` have it."""
        return self.mask_weights.get(scan, 1.0) if self.has_masks(scan) else 0.0

    def voxels(self, scan: str, box: Box | None = None) -> Int16[np.ndarray, "z y x"]:
        """Return a scan's HU, or the part of it in `box` (three slices along z, y, x)."""
        return self._opened(scan, "b2nd").crop(box)

    def masks(self, scan: str, box: Box | None = None) -> UInt8[np.ndarray, "z y x"]:
        """Return a scan's masks on the grid of its voxels; raise `MissingError` where it has none."""
        if not self.has_masks(scan):
            raise MissingError(f"masks of scan {scan}", found="none in the store", do="Ask has_masks(scan) first.")
        return self._opened(scan, "mask.b2nd").crop(box)

    def affine(self, scan: str) -> Affine:
        """Return where a scan's stored voxels lie: index (z, y, x) to world (x, y, z), LPS+, in mm."""
        return self._opened(scan, "b2nd").affine

    def _opened(self, scan: str, suffix: str) -> Stored:
        if scan not in self.masked:
            raise MissingError(f"scan {scan}", found="not in the store", do="Run `espalier prepare study.toml`.")
        return _opened(self.folder, f"{scan}.{suffix}", self.key)


def open_store(folder: Path) -> Store:
    """Return the store of the study in `folder`.

    Raises
    ------
    MissingError
        When `prepare` has not ended yet.
    """
    path = folder / STORE
    content = read_json(path, kind="store")
    return Store(
        folder=folder,
        options=parse(StoreOptions, content["options"], source=path),
        structures=tuple(content["structures"]),
        scans=tuple(content["scans"]),
        key=hash_file(path),
        masked={scan: bool(entry["mask"]) for scan, entry in content["scans"].items()},
        # Stores from before masks were weighed say nothing: what they hold was trusted.
        mask_weights={scan: float(entry.get("mask_weight", 1.0)) for scan, entry in content["scans"].items()},
    )


@lru_cache(maxsize=KEPT_OPEN)
def _opened(folder: Path, name: str, key: str) -> Stored:
    """Return the opened array; `key` makes a store that was made anew a different entry."""
    del key
    path = inside(folder / ARRAYS, name)
    if not path.is_file():
        raise MissingError(path, found="the array is gone", do="Run `espalier prepare study.toml` again.")
    return open_array(path)
