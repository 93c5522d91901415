"""One array on disk: a single b2nd file with its place in the patient, small blocks, equal bytes for equal arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import blosc2
import numpy as np
from jaxtyping import Int16, UInt8

from espalier.errors import InputError, VersionError
from espalier.geometry import Affine, Shape, spacing_mm
from espalier.outputs import VERSIONS, written_whole

Array = Int16[np.ndarray, "z y x"] | UInt8[np.ndarray, "z y x"]
Box = tuple[slice, slice, slice]
BLOCK: Final[Shape] = (15, 30, 30)
LEVEL: Final = 5
NOTE: Final = "espalier"


@dataclass(frozen=True, slots=True)
class Stored:
    """One opened array: nothing is decompressed until it is cropped."""

    handle: Any
    affine: Affine

    def crop(self, box: Box | None = None) -> Array:
        """Return the voxels of a box, or all of them."""
        return np.asarray(self.handle[box] if box is not None else self.handle[:])


def write_array(path: Path, voxels: Array, affine: Affine) -> None:
    """Write one array, whole or not at all.

    One chunk holds the whole array. zstd with byte shuffle keeps every value exactly; blosc2's DELTA filter must never
    be used, it returns wrong voxels when a crop is read (blosc2 4.14.1).
    """
    block = tuple(min(have, want) for have, want in zip(voxels.shape, BLOCK, strict=True))
    cparams = blosc2.CParams(codec=blosc2.Codec.ZSTD, clevel=LEVEL, filters=[blosc2.Filter.SHUFFLE], nthreads=1)
    note = {
        "kind": "store",
        "version": VERSIONS["store"],
        "order": "zyx",
        "spacing_mm": list(spacing_mm(affine)),
        "affine_lps": np.asarray(affine, dtype=np.float64).ravel().tolist(),
    }
    stored = blosc2.asarray(
        np.ascontiguousarray(voxels),
        chunks=voxels.shape,
        blocks=block,
        cparams=cparams,
        dparams=blosc2.DParams(nthreads=1),
        contiguous=True,
    )
    stored.schunk.vlmeta[NOTE] = note
    with written_whole(path) as partial:
        # Written here: blosc2 does not say why it could not write.
        partial.write_bytes(stored.to_cframe())


def open_array(path: Path) -> Stored:
    """Open one array without reading its voxels.

    Raises
    ------
    InputError
        When the file is not one that `write_array` wrote.
    VersionError
        When a newer Espalier wrote it.
    """
    do = "Make the store again with `espalier prepare`."
    try:
        handle = blosc2.open(str(path), mode="r", dparams=blosc2.DParams(nthreads=1))
        note: Mapping[str, Any] = handle.schunk.vlmeta[NOTE]
        affine = np.array(note["affine_lps"], dtype=np.float64).reshape(4, 4)
        version = int(note["version"])
    except (RuntimeError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(path, found=f"not an array of the store ({type(error).__name__})", do=do) from error
    if version > VERSIONS["store"]:
        raise VersionError(
            path,
            found=f"version {version}",
            expected=f"at most {VERSIONS['store']}",
            do="Install a newer Espalier, or make the store again.",
        )
    return Stored(handle, affine)
