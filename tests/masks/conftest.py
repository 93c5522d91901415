"""A made-up chest small enough to threshold in a second, and studies of it on disk."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.cohort.volume import Volume
from espalier.masks.files import Masks

SPACING_MM = (4.0, 4.0, 4.0)
SHAPE = (40, 60, 80)


def placed(spacing_mm: tuple[float, float, float], origin_mm: tuple[float, float, float]) -> np.ndarray:
    affine = np.zeros((4, 4))
    affine[0, 2], affine[1, 1], affine[2, 0] = spacing_mm[2], spacing_mm[1], spacing_mm[0]
    affine[:3, 3], affine[3, 3] = origin_mm, 1
    return affine


def ellipsoid(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    grid = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    return sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centre, radii, strict=True)) <= 1.0


class Chest:
    """A body on a table with two lungs of unlike size (the patient's right one is larger), a trachea, spine and gas."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        hu = np.full(SHAPE, -1000.0)
        body = ellipsoid((20, 30, 40), (1e6, 20, 34))
        hu[body] = 40
        self.left = ellipsoid((22, 30, 57), (16, 14, 10))
        self.right = ellipsoid((22, 30, 24), (17, 15, 12))
        hu[self.left | self.right] = -850
        self.trachea = np.zeros(SHAPE, dtype=bool)
        self.trachea[22:, 26:29, 39:42] = True
        hu[self.trachea] = -990
        hu[:, 42:47, 38:43] = 600
        self.gas = ellipsoid((3, 20, 50), (3, 4, 4))
        hu[self.gas] = -1000
        hu[:, 53:55, 5:75] = 300
        self.volume = Volume(
            np.clip(hu + rng.normal(0, 15, SHAPE), -1024, 3000).round().astype(np.int16), placed(SPACING_MM, (0, 0, 0))
        )


@pytest.fixture(scope="session")
def chest() -> Chest:
    return Chest()


def to_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine @ np.eye(4)[[2, 1, 0, 3]]
    nifti = nib.Nifti1Image(voxels.transpose(2, 1, 0), ras)
    nifti.header.set_xyzt_units("mm")
    nib.save(nifti, path)


WriteNifti = Callable[[Path, np.ndarray, np.ndarray], None]


@pytest.fixture(scope="session")
def write_nifti() -> WriteNifti:
    return to_nifti


@pytest.fixture
def study(tmp_path: Path, chest: Chest) -> Path:
    """A study of three scans, ingested; the third is shifted by 30 mm along x."""
    for n, shift in enumerate((0.0, 0.0, 30.0), start=1):
        moved = chest.volume.affine.copy()
        moved[0, 3] += shift
        to_nifti(tmp_path / "scans" / f"p{n}" / f"chest{n}.nii.gz", (chest.volume.voxels + n).clip(-1024), moved)
    ingest(CohortOptions(sources=("scans",)), folder=tmp_path)
    return tmp_path


@pytest.fixture
def four_structures(chest: Chest) -> Masks:
    """What another segmenter might have made of the chest, in its own order of values and with one structure too many."""
    voxels = np.zeros(SHAPE, dtype=np.uint8)
    voxels[chest.right] = 3
    voxels[chest.left] = 7
    voxels[chest.trachea] = 9
    return Masks(voxels, chest.volume.affine, {3: "lung_right", 7: "lung_left", 9: "trachea"})
