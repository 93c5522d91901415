"""A small phantom study: the one big fixture, walked once for all tests of the pipeline."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from espalier.phantom.cohort import make_phantom
from espalier.phantom.options import PhantomOptions
from espalier.pipeline.stages import run
from espalier.study import StudyFile, read_study

STUDY = """
[cohort]
sources = ["phantom/nifti", "phantom/dicom"]
table = "phantom/scans.csv"
[splits]
table = "phantom/splits.csv"
validation = 0.2
[labels]
reports = "phantom/reports.csv"
lexicon = "ratic"
[masks]
folder = "phantom/truth/masks"
structures = "abdomen"
disturb = 0.1
[store]
spacing_mm = [18.0, 14.4, 14.4]
window_hu = [-150.0, 250.0]
shape = [14, 22, 26]
[training]
network = "r3d_18"
network_size = {width = 4, depths = [0, 1]}
crop = [12, 20, 24]
epochs = 2
batch_size = 8
learning_rate = 1e-3
seeds = [0, 1]
[arms.plain.training.supervision]
weight = 0
[arms.placebo.training.supervision]
masks_of = "other scans"
[arms.masks.training.supervision]
weight = 1
[comparison]
baseline = "plain"
placebo = "placebo"
resamples = 200
[export]
arm = "masks"
"""


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a made-up trauma cohort of 60 patients, three of them as DICOM."""
    out = tmp_path_factory.mktemp("cohort") / "phantom"
    make_phantom(out, PhantomOptions(patients=60, anatomy="trauma", form="mixed", seed=5, test=24, pixels=32, slice_mm=(5, 5)))
    return out


@pytest.fixture(scope="session")
def new_study(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], StudyFile]:
    """Return a function that lays a fresh, unwalked study beside a copy of the cohort."""

    def lay() -> StudyFile:
        folder = tmp_path_factory.mktemp("study")
        shutil.copytree(phantom, folder / "phantom")
        (folder / "study.toml").write_text(STUDY, encoding="utf-8")
        return read_study(folder / "study.toml")

    return lay


@pytest.fixture(scope="session")
def walked(new_study: Callable[[], StudyFile]) -> StudyFile:
    """Return a study that `espalier run` has walked whole."""
    study = new_study()
    run(study, workers=2)
    return study
