"""The real TotalSegmentator in its own environment, with a small model of random weights."""

import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from espalier.cohort.volume import Volume
from espalier.errors import AlteredError, MissingError, ScanError, SettingsError
from espalier.geometry import affine_from
from espalier.masks import totalsegmentator, totalsegmentator_process, totalsegmentator_worker
from espalier.masks.environments import environment_python
from espalier.masks.files import read_masks, write_masks
from espalier.masks.options import MaskOptions, TotalSegmentatorOptions
from espalier.masks.totalsegmentator import totalsegmentator_key, totalsegmentator_masks, write_scan
from espalier.settings import parse

RANDOM_MODEL = Path(__file__).with_name("random_totalsegmentator.py")
CHECKPOINT = "fold_0/checkpoint_final.pth"
TURNED = np.array([[0.0, 0.6, 0.8], [0.0, -0.8, 0.6], [1.0, 0.0, 0.0]])
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return environment_python("totalsegmentator", folder=Path())
    except MissingError as error:
        pytest.skip(f"TotalSegmentator is left out: {error}")


@pytest.fixture(scope="module")
def weights(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(python, tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def options(weights: Path) -> TotalSegmentatorOptions:
    return TotalSegmentatorOptions(weights=str(weights), device="cpu")


@pytest.fixture(scope="module")
def study(options: TotalSegmentatorOptions, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("study")
    yield folder
    totalsegmentator_process.stop_worker()
    assert list(folder.glob(".partial-*")) == []


@pytest.fixture(scope="module")
def key(options: TotalSegmentatorOptions, study: Path) -> Mapping[str, Any]:
    return totalsegmentator_key(options, folder=study)


@pytest.fixture(scope="module")
def names(key: Mapping[str, Any]) -> tuple[str, ...]:
    """Return every structure of the task, so that masks hold its values as they are."""
    return tuple(key["labels"].values())


def random_model(python: Path, folder: Path, *more: str) -> Path:
    subprocess.run([python, RANDOM_MODEL, folder, *more], check=True, capture_output=True)
    return folder


def some_scan(seed: int = 0, *, direction: np.ndarray = TURNED) -> Volume:
    smooth = np.cumsum(np.random.default_rng(seed).normal(0, 60, (20, 24, 26)), axis=2)
    affine = affine_from(spacing_mm=(5.0, 3.5, 3.5), origin_mm=(7.0, -20.0, 300.0), direction=direction)
    return Volume(smooth.astype(np.int16), affine)


def copied(study: Path, folder: Path) -> Path:
    """Return another study that has seen the same weights, so that the task is not described again."""
    (folder / "records").mkdir()
    shutil.copy(study / totalsegmentator.RECORD, folder / totalsegmentator.RECORD)
    return folder


def command_line(python: Path, scan: Path, mask: Path, weights: Path) -> np.ndarray:
    """Return what TotalSegmentator's own command line gives for a file."""
    home = mask.parent / "home"
    home.mkdir()
    (home / "config.json").write_text(json.dumps({"totalseg_id": "", "send_usage_stats": False, "prediction_counter": 0}))
    own = {"TOTALSEG_HOME_DIR": str(home), "TOTALSEG_WEIGHTS_PATH": str(weights)}
    command = [python.with_name("TotalSegmentator"), "-i", scan, "-o", mask, "--fast", "--ml", "--device", "cpu"]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | own)
    return read_masks(mask).voxels


def test_many_scans_load_the_model_once_and_equal_the_command_line_voxel_for_voxel(
    python: Path, options: TotalSegmentatorOptions, study: Path, names: tuple[str, ...], weights: Path, tmp_path: Path
) -> None:
    first = totalsegmentator_masks(some_scan(0), names, options=options, scan="first", folder=study)
    running = totalsegmentator_process._RUNNING[0]
    masks = totalsegmentator_masks(some_scan(1), names, options=options, scan="second", folder=study)
    grid = write_scan(some_scan(1), tmp_path / "scan.nii", window_hu=(-1000.0, 1000.0), spacing_mm=(3.0, 1.5, 1.5))
    np.testing.assert_array_equal(masks.voxels, command_line(python, tmp_path / "scan.nii", tmp_path / "m.nii.gz", weights))
    np.testing.assert_array_equal(masks.affine, grid.affine)
    assert len(np.unique(masks.voxels)) > 10
    assert not np.array_equal(first.voxels, masks.voxels)
    (tmp_path / "again").mkdir()
    shutil.copy(tmp_path / "scan.nii", tmp_path / "again" / "scan.nii")
    answer = totalsegmentator_process.segment_file(running, tmp_path / "again", scan="third")
    assert answer["loads"] == 1
    assert [running] == totalsegmentator_process._RUNNING


def test_masks_say_what_made_them(
    options: TotalSegmentatorOptions, study: Path, key: Mapping[str, Any], tmp_path: Path
) -> None:
    masks = totalsegmentator_masks(some_scan(), ("heart", "bowel"), options=options, scan="s", folder=study)
    assert masks.names == {1: "heart", 2: "bowel"}
    write_masks(tmp_path / "m.nii.gz", masks)
    made_by = read_masks(tmp_path / "m.nii.gz").made_by
    assert (made_by["task"], made_by["resolution"], made_by["models"], made_by["resampling_order"]) == (
        "total",
        "fast",
        "[297]",
        "1",
    )
    assert json.loads(made_by["versions"])["TotalSegmentator"] == "2.18.0"
    assert json.loads(made_by["labels"])["51"] == "heart"
    assert json.loads(made_by["window_hu"]) == [-1000.0, 1000.0]


def test_only_wanted_structures_are_kept_and_parts_are_joined(
    options: TotalSegmentatorOptions, study: Path, names: tuple[str, ...]
) -> None:
    whole = totalsegmentator_masks(some_scan(), names, options=options, scan="s", folder=study)
    parts = ("esophagus", "stomach", "duodenum", "small_bowel", "colon")
    joined = totalsegmentator_masks(some_scan(), ("spleen", "bowel"), options=options, scan="s", folder=study)
    np.testing.assert_array_equal(joined.voxels == 1, whole.voxels == names.index("spleen") + 1)
    np.testing.assert_array_equal(joined.voxels == 2, np.isin(whole.voxels, [names.index(part) + 1 for part in parts]))


def test_a_scan_at_which_the_worker_dies_costs_that_scan_only(
    options: TotalSegmentatorOptions, study: Path, key: Mapping[str, Any]
) -> None:
    totalsegmentator_masks(some_scan(), ("heart",), options=options, scan="before", folder=study)
    worker = totalsegmentator_process._RUNNING[0]

    def kill_at_work() -> None:
        while not list(worker.folder.glob("nnunet_tmp_*")):
            time.sleep(0.001)
        os.kill(worker.companion.process.pid, 11)

    killer = threading.Thread(target=kill_at_work)
    killer.start()
    with pytest.raises(ScanError) as caught:
        totalsegmentator_masks(some_scan(), ("heart",), options=options, scan="bad", folder=study)
    killer.join()
    assert caught.value.code == "segmenter_died"
    assert "SIGSEGV" in caught.value.found
    assert not worker.folder.exists()
    after = totalsegmentator_masks(some_scan(), ("heart",), options=options, scan="after", folder=study)
    assert after.voxels.shape == (33, 56, 61)


def test_a_scan_that_totalsegmentator_refuses_is_set_aside_and_the_worker_goes_on(
    options: TotalSegmentatorOptions, study: Path, key: Mapping[str, Any]
) -> None:
    own = replace(options, spacing_mm=None)
    flat = Volume(np.zeros((1, 1, 1), np.int16), np.diag([0.0, 0.0, 0.0, 1.0]) + some_scan().affine)
    whole = totalsegmentator_masks(some_scan(), ("heart",), options=own, scan="whole", folder=study)
    assert whole.voxels.shape == some_scan().shape
    worker = totalsegmentator_process._RUNNING[0]
    with pytest.raises(ScanError) as caught:
        totalsegmentator_masks(flat, ("heart",), options=own, scan="flat", folder=study)
    assert caught.value.code == "segmenter_refused"
    totalsegmentator_masks(some_scan(), ("heart",), options=own, scan="whole", folder=study)
    assert [worker] == totalsegmentator_process._RUNNING


def test_statistics_are_off_in_the_home_that_totalsegmentator_uses(
    options: TotalSegmentatorOptions, study: Path, key: Mapping[str, Any]
) -> None:
    totalsegmentator_masks(some_scan(), ("heart",), options=options, scan="s", folder=study)
    config = json.loads((totalsegmentator_process._RUNNING[0].folder / "home" / "config.json").read_text())
    assert config["send_usage_stats"] is False
    assert config["prediction_counter"] >= 1  # so this is the file it goes by


def test_the_worker_reaches_no_network(python: Path) -> None:
    code = """
import runpy, socket, sys, requests
runpy.run_path(sys.argv[1])["shut_network"]()
for way in (
    lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2]))),
    lambda: socket.socket().connect_ex(("127.0.0.1", int(sys.argv[2]))),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", int(sys.argv[2]))),
    lambda: socket.getaddrinfo("localhost", 80),
    lambda: requests.post(f"http://127.0.0.1:{sys.argv[2]}/log_totalseg_run", timeout=5),
):
    try:
        way()
    except (PermissionError, requests.exceptions.ConnectionError):
        print("refused")
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        told = [str(totalsegmentator_worker.__file__), str(server.getsockname()[1])]
        out = subprocess.run([python, "-I", "-c", code, *told], capture_output=True, text=True, check=True)
        with pytest.raises(TimeoutError):
            server.accept()
    assert out.stdout.split() == ["refused"] * 5


def test_other_weights_than_the_first_are_refused_and_make_another_key(
    options: TotalSegmentatorOptions, study: Path, key: Mapping[str, Any], weights: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(weights, tmp_path / "other")
    checkpoint = next(other.rglob(CHECKPOINT))
    checkpoint.write_bytes(checkpoint.read_bytes() + b"\0")
    changed = replace(options, weights=str(other))
    with pytest.raises(AlteredError, match=r"checkpoint_final\.pth.*delete records/totalsegmentator\.json"):
        totalsegmentator_key(changed, folder=study)
    (tmp_path / "study").mkdir()
    record = copied(study, tmp_path / "study") / totalsegmentator.RECORD
    told = json.loads(record.read_text())
    del told["weights"]
    record.write_text(json.dumps(told))
    assert totalsegmentator_key(changed, folder=tmp_path / "study")["weights"] != key["weights"]


class Bomb:
    """What a checkpoint must never do."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def test_weights_that_change_after_they_were_hashed_are_refused_before_they_are_unpickled(
    options: TotalSegmentatorOptions, study: Path, key: Mapping[str, Any], weights: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(weights, tmp_path / "other")
    (tmp_path / "study").mkdir()
    changing = replace(options, weights=str(other))
    folder = copied(study, tmp_path / "study")
    running = totalsegmentator_process.running_worker(changing, folder, key["weights"])
    next(other.rglob(CHECKPOINT)).write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    place = running.folder / "scan"
    place.mkdir()
    write_scan(some_scan(), place / "scan.nii", window_hu=None, spacing_mm=None)
    with pytest.raises(AlteredError, match="has changed since it was hashed"):
        totalsegmentator_process.segment_file(running, place, scan="s")
    assert not (tmp_path / "exploded").exists()


def test_hashes_that_somebody_vouches_for_are_held(
    options: TotalSegmentatorOptions, study: Path, key: Mapping[str, Any], weights: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(weights, tmp_path / "other")
    (tmp_path / "study").mkdir()
    folder = copied(study, tmp_path / "study")
    sums = "".join(f"{digest}  {name}\n" for name, digest in key["weights"].items())
    (other / "weights.sha256").write_text(sums)
    changed = replace(options, weights=str(other))
    assert totalsegmentator_key(changed, folder=folder) == key
    (other / "weights.sha256").write_text(sums.replace(sums[:4], "0" * 4, 1))
    with pytest.raises(AlteredError, match=r"dataset\.json"):
        totalsegmentator_key(changed, folder=folder)
    (other / "weights.sha256").write_text("\n".join(sums.splitlines()[:-1]))
    with pytest.raises(AlteredError, match=r"checkpoint_final\.pth.*expected a hash that is known"):
        totalsegmentator_key(changed, folder=folder)


def test_missing_weights_say_where_they_are_expected_and_how_to_get_them(
    options: TotalSegmentatorOptions, study: Path, key: Mapping[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(MissingError) as caught:
        totalsegmentator_key(replace(options, weights=str(tmp_path / "none")), folder=study)
    assert str(tmp_path / "none" / "Dataset297_TotalSegmentator_total_3mm_1559subj") in caught.value.source
    assert "totalseg_download_weights -t total_fast" in caught.value.do


def test_another_task_goes_by_its_name_with_the_label_list_of_its_own(
    python: Path, options: TotalSegmentatorOptions, key: Mapping[str, Any], tmp_path: Path
) -> None:
    weights = random_model(python, tmp_path / "weights", "--task", "total_v3")
    third = replace(options, weights=str(weights), task="total_v3")
    labels = totalsegmentator_key(third, folder=tmp_path)["labels"]
    assert set(labels.values()) - set(key["labels"].values())
    masks = totalsegmentator_masks(some_scan(), tuple(labels.values()), options=third, scan="s", folder=tmp_path)
    assert json.loads(masks.made_by["models"]) == [836]
    totalsegmentator_process.stop_worker()


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"task": "totl"}, "TotalSegmentator has total, total_v3"),
        ({"task": "total_mr"}, "made for MR"),
        ({"task": "hip_implant"}, "does not work with option --fast"),
    ],
)
def test_a_task_that_cannot_be_done_is_a_wrong_setting(
    options: TotalSegmentatorOptions, tmp_path: Path, changes: dict[str, str], found: str
) -> None:
    with pytest.raises(SettingsError, match=found):
        totalsegmentator_key(replace(options, **changes), folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_structure_that_the_task_does_not_give_is_a_wrong_setting(
    options: TotalSegmentatorOptions, study: Path, key: Mapping[str, Any]
) -> None:
    with pytest.raises(SettingsError, match="does not give wing"):
        totalsegmentator_masks(some_scan(), ("heart", "wing"), options=options, scan="s", folder=study)


def test_other_versions_than_those_tried_are_refused(tmp_path: Path) -> None:
    packages = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    for name, version in (("TotalSegmentator", "2.19.0"), ("nnunetv2", "2.8.1")):
        about = packages / f"{name}-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (tmp_path / "env" / "bin").mkdir()
    (tmp_path / "env" / "bin" / "python").touch()
    with pytest.raises(MissingError, match=r"TotalSegmentator 2\.19\.0; expected TotalSegmentator 2\.18\.0"):
        totalsegmentator_key(TotalSegmentatorOptions(environment="env", weights="w"), folder=tmp_path)


def test_a_scan_is_written_clipped_resampled_and_in_its_place(tmp_path: Path) -> None:
    volume = some_scan(direction=np.eye(3)[:, ::-1] * np.array([1, -1, 1]))
    grid = write_scan(volume, tmp_path / "scan.nii", window_hu=(-200.0, 300.0), spacing_mm=(3.0, 1.5, 1.5))
    written = nib.load(tmp_path / "scan.nii")
    voxels = np.asarray(written.dataobj)
    assert (voxels.min(), voxels.max(), voxels.dtype) == (-200, 300, np.int16)
    np.testing.assert_allclose(written.header.get_zooms(), (1.5, 1.5, 3.0))
    assert nib.aff2axcodes(written.affine) == ("L", "P", "S")
    assert grid.shape == voxels.shape[::-1]
    as_is = write_scan(volume, tmp_path / "same.nii", window_hu=None, spacing_mm=None)
    np.testing.assert_array_equal(
        np.asarray(nib.load(tmp_path / "same.nii").dataobj), volume.voxels[:, ::-1].transpose(2, 1, 0)
    )
    assert as_is.spacing_mm == pytest.approx((5.0, 3.5, 3.5))


def test_the_guide_shows_settings_that_can_be_read() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "how-to" / "totalsegmentator.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", guide, flags=re.DOTALL)
    options = parse(MaskOptions, tomllib.loads(block)["masks"], source="the guide")
    assert options.totalsegmentator == TotalSegmentatorOptions(weights="weights")
