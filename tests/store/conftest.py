"""A small study on disk: three scans with masks of two of them, and the function that walks it to its store."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.masks.files import Masks, write_masks
from espalier.masks.options import MaskOptions
from espalier.masks.segment import segment
from espalier.store.options import StoreOptions

SHAPE = (20, 32, 36)
OPTIONS = StoreOptions(spacing_mm=(4.0, 3.0, 3.0), shape=(24, 28, 28))


def affine_of(scan: int) -> np.ndarray:
    return np.array([[0, 0, 2.5, -40.0 * scan], [0, 2.5, 0, 10], [3.0, 0, 0, -100], [0, 0, 0, 1]])


def voxels_of(scan: int) -> np.ndarray:
    hu = np.random.default_rng(scan).normal(0, 200, SHAPE).round()
    hu[:3] = -1000
    hu[8:12, 10:20, 10:20] = 100 * scan
    return hu.clip(-1024, 3000).astype(np.int16)


def masks_of(scan: int) -> Masks:
    voxels = np.zeros(SHAPE, dtype=np.uint8)
    voxels[4:16, 6:26, 22:32] = 1
    voxels[4:16, 6:26, 4:14] = 2
    return Masks(voxels, affine_of(scan), {1: "kidney_left", 2: "kidney_right"})


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for n in (1, 2, 3):
        path = tmp_path / "scans" / f"p{n}" / f"scan{n}.nii.gz"
        path.parent.mkdir(parents=True)
        ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_of(n) @ np.eye(4)[[2, 1, 0, 3]]
        nib.save(nib.Nifti1Image(voxels_of(n).transpose(2, 1, 0), ras), path)
    ingest(CohortOptions(sources=("scans",)), folder=tmp_path)
    return tmp_path


@pytest.fixture
def segmented(study: Path) -> Path:
    for n in (1, 2):
        write_masks(study / "given" / f"scan{n}.nii.gz", masks_of(n))
    segment(MaskOptions(folder="given", structures=("kidney_left", "kidney_right")), folder=study)
    return study


Stem = Callable[[Path, str], str]


@pytest.fixture(scope="session")
def scan_of() -> Stem:
    import polars as pl

    from espalier.cohort.table import read_cohort

    return lambda folder, stem: str(read_cohort(folder).filter(pl.col("stem") == stem)["scan"].item())


@pytest.fixture(scope="session")
def small() -> StoreOptions:
    return OPTIONS
