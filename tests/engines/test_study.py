"""A whole study, arms and seeds included, gives the same files wherever it runs."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from espalier.engines import slurm_queue
from espalier.engines.place import HERE, Place
from espalier.engines.site import Site, SlurmOptions
from espalier.phantom.cohort import make_phantom
from espalier.phantom.options import PhantomOptions
from espalier.pipeline.stages import do
from espalier.study import read_study

STUDY = """
[cohort]
sources = ["phantom/nifti"]
table = "phantom/scans.csv"
[splits]
table = "phantom/splits.csv"
validation = 0.1
[labels]
reports = "phantom/reports.csv"
lexicon = "ratic"
[masks]
folder = "phantom/truth/masks"
structures = "abdomen"
[store]
spacing_mm = [18.0, 14.4, 14.4]
window_hu = [-150.0, 250.0]
shape = [14, 22, 26]
[training]
network = "r3d_18"
network_size = {width = 4, depths = [0, 1]}
crop = [12, 20, 24]
epochs = 1
batch_size = 4
seeds = [0]
[arms.plain.training.supervision]
weight = 0
[arms.masks.training.supervision]
weight = 1
"""
VERBS = ("ingest", "label", "segment", "prepare", "train", "evaluate")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cohort") / "phantom"
    make_phantom(out, PhantomOptions(patients=44, anatomy="trauma", form="nifti", seed=5, test=8, pixels=32, slice_mm=(5, 5)))
    return out


def walked(phantom: Path, folder: Path, place: Place) -> Path:
    shutil.copytree(phantom, folder / "phantom")
    (folder / "study.toml").write_text(STUDY)
    for verb in VERBS:
        do(read_study(folder), verb, workers=2, place=place)
    return folder


@pytest.fixture(scope="module")
def here(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return contents(walked(phantom, tmp_path_factory.mktemp("here"), HERE))


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file that the study made, without what was measured: `cost`."""
    out = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("phantom/") and path.name not in {"cost.json", ".lock", "masks_found.json"}:
            data = path.read_bytes()
            if path.suffix == ".json":
                data = json.dumps(without_cost(json.loads(data)), sort_keys=True).encode()
            out[name] = hashlib.sha256(data).hexdigest()
    return out


def without_cost(value: object) -> object:
    return {k: without_cost(v) for k, v in value.items() if k != "cost"} if isinstance(value, dict) else value


def test_on_slurm(phantom: Path, here: dict[str, str], slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_queue, "ASK_S", 1.0)
    site = Site(memory_gb=2, minutes=30, jobs=2, slurm=SlurmOptions(partition="low"))
    made = contents(walked(phantom, tmp_path, Place(engine="slurm", sites={"": site})))
    assert any(name.startswith("runs/masks/seed-0/") for name in made)
    assert made == here
    submitted = (slurm / "slurmctld.log").read_text(errors="replace").count("_slurm_rpc_submit_batch_job")
    assert submitted >= len(VERBS) - 1


def test_on_ray(phantom: Path, here: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)
    assert contents(walked(phantom, tmp_path, Place(engine="ray", sites={"": Site(memory_gb=2, jobs=2)}))) == here
