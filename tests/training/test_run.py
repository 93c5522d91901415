import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from tests.training.conftest import FINDINGS, STRUCTURES, TINY, write_study

from espalier.errors import InputError
from espalier.networks.classifier import build_classifier
from espalier.networks.options import NetworkSize
from espalier.networks.weights import load_weights
from espalier.outputs import hash_file, read_json, read_table
from espalier.training.options import SupervisionOptions, TrainingOptions
from espalier.training.run import epochs_done, read_run, run_folder, train

MEASURED = {"cost.json", ".lock"}
KILLS = ["learn:1", "validate:0", "_sync:4", "learn:2", "save_checkpoint:1", "learn:0", "save_weights:0", "hash_file:0", "none"]
"""Calls that a process does not survive, one process after the other; each goes on where the last one was killed."""
KILLER = """
import os, signal, sys
from pathlib import Path
import torch
from espalier import outputs
from espalier.networks import weights
from espalier.training import loop, run
sys.path.insert(0, sys.argv[2])
from tests.training.conftest import FINDINGS, TINY
from dataclasses import replace

def deadly(function, calls):
    left = [calls]
    def wrapped(*args, **kwargs):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return function(*args, **kwargs)
    return wrapped

places = {"learn": loop, "validate": loop, "save_checkpoint": loop, "_sync": outputs, "save_weights": weights, "hash_file": run}
for kill in sys.argv[3:]:
    child = os.fork()
    if child == 0:
        loop.CHECKPOINT_SECONDS = 0.0
        name, _, calls = kill.partition(":")
        if name in places:
            setattr(places[name], name, deadly(getattr(places[name], name), int(calls)))
        run.train(replace(TINY, epochs=3, keep="best"), folder=Path(sys.argv[1]), arm="masks", seed=0, findings=FINDINGS)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def trained(folder: Path, options: TrainingOptions = TINY, arm: str = "masks", seed: int = 0) -> dict[str, str]:
    """Train and return the hashes of all files that must repeat."""
    train(options, folder=folder, arm=arm, seed=seed, findings=FINDINGS)
    return hashes(run_folder(folder, arm, seed))


def hashes(run: Path) -> dict[str, str]:
    files = (p for p in run.rglob("*") if p.is_file() and p.name not in MEASURED and p.suffix != ".pt")
    return {p.relative_to(run).as_posix(): hash_file(p) for p in files}


@pytest.fixture
def own(study: Path, tmp_path: Path) -> Path:
    """Return a copy of the study without runs."""
    return shutil.copytree(study, tmp_path / "own", ignore=shutil.ignore_patterns("runs"))


def test_a_run_leaves_weights_curves_logits_cost_and_record(own: Path) -> None:
    summary = train(TINY, folder=own, arm="masks", seed=0, findings=FINDINGS)
    run = run_folder(own, "masks", 0)
    record = read_run(own, "masks", 0)
    assert record["weights"] == hash_file(run / "weights.safetensors")
    assert (record["findings"], record["structures"]) == (list(FINDINGS), list(STRUCTURES))
    assert record["scans"] == {"train": 9, "with_masks": 8, "validation": 3}
    curves = read_table(run / "curves.parquet", kind="curves")
    assert curves["epoch"].to_list() == [1, 2]
    assert curves.null_count().sum_horizontal().item() == 0
    logits = read_table(run / "validation" / "epoch-002.parquet", kind="validation")
    assert logits.height == 3 * len(FINDINGS)
    cost = read_json(run / "cost.json", kind="cost")
    assert cost["steps"] == 4
    assert 0 < cost["seconds_per_step"] < 60
    assert cost["peak_memory_bytes"] > 0
    assert "1 training scans have no masks" in summary.words
    assert epochs_done(own, "masks", 0) == 2


def test_the_weights_are_the_classifier_alone_and_give_the_written_logits(own: Path) -> None:
    trained(own)
    run = run_folder(own, "masks", 0)
    weights = load_weights(run / "weights.safetensors")
    classifier = build_classifier("r3d_18", findings=2, crop=TINY.crop, size=TINY.network_size, seed=9)
    assert set(weights) == set(classifier.state_dict())
    classifier.load_state_dict(weights)
    logits = read_table(run / "validation" / "epoch-002.parquet", kind="validation")
    from espalier.training.crops import centre_batch
    from espalier.training.inputs import gather

    inputs = gather(TINY, folder=own, findings=FINDINGS, seed=0)
    with torch.inference_mode():
        again, _ = classifier.eval()(centre_batch(inputs, TINY, inputs.validation.scans))
    assert logits["logit"].to_list() == pytest.approx(again.flatten().tolist(), abs=1e-5)


def test_training_learns_what_is_there_to_learn(tmp_path: Path) -> None:
    folder = write_study(tmp_path, train=24, validation=8)
    options = replace(TINY, epochs=25, batch_size=8, learning_rate=1e-2, network_size=NetworkSize(width=8, depths=(1, 1)))
    train(options, folder=folder, arm="masks", seed=0, findings=FINDINGS)
    curves = read_table(run_folder(folder, "masks", 0) / "curves.parquet", kind="curves")
    assert curves["label_loss"][-1] < 0.3 < curves["label_loss"][0]
    assert curves["mask_loss"][-1] < 0.6 * curves["mask_loss"][0]
    assert curves["validation_loss"][-1] < 0.5


def test_a_finished_run_is_left_as_it_is(own: Path) -> None:
    trained(own)
    weights = run_folder(own, "masks", 0) / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    summary = train(TINY, folder=own, arm="masks", seed=0, findings=FINDINGS)
    assert summary.done == 0
    assert weights.stat().st_mtime_ns == before


def test_equal_settings_give_equal_bytes_and_other_settings_replace_them(own: Path, tmp_path: Path) -> None:
    first = trained(own)
    second = trained(shutil.copytree(own, tmp_path / "again", ignore=shutil.ignore_patterns("runs")))
    assert first == second
    other = trained(own, replace(TINY, epochs=1))
    assert "validation/epoch-002.parquet" not in other
    assert trained(own) == first


def test_the_first_step_of_two_arms_has_the_same_label_loss(own: Path) -> None:
    options = replace(TINY, epochs=1, batch_size=9)
    for arm, weight in (("plain", 0.0), ("masks", 1.0)):
        trained(own, replace(options, supervision=SupervisionOptions(weight=weight)), arm=arm)
    curves = [read_table(run_folder(own, arm, 0) / "curves.parquet", kind="curves") for arm in ("plain", "masks")]
    assert curves[0]["label_loss"][0] == curves[1]["label_loss"][0]
    assert "mask_loss" not in curves[0].columns
    assert read_run(own, "plain", 0)["structures"] == []


@pytest.mark.parametrize("network", ["swin3d_t", "r3d_18"])
def test_a_run_goes_on_from_the_checkpoint_before_a_broken_one(own: Path, network: str) -> None:
    size = NetworkSize(width=6, depths=(1, 1), patch=(4, 2, 2), heads=2) if network == "swin3d_t" else TINY.network_size
    options = replace(TINY, network=network, network_size=size, epochs=3)
    whole = trained(own, options)
    run = run_folder(own, "masks", 0)
    (run / "run.json").unlink()
    (run / "weights.safetensors").unlink()
    newest = run / "checkpoints" / "step-00000006.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    assert trained(own, options) == whole


@pytest.mark.timeout(120)
def test_a_run_killed_again_and_again_ends_with_the_same_bytes(own: Path) -> None:
    options = replace(TINY, epochs=3, keep="best")
    whole = trained(own, options)
    shutil.rmtree(own / "runs")
    root = Path(__file__).parents[2]
    out = subprocess.run(
        [sys.executable, "-c", KILLER, str(own), str(root), *KILLS],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert [int(code) for code in out.stdout.split()] == [-signal.SIGKILL] * (len(KILLS) - 1) + [0], out.stderr
    assert hashes(run_folder(own, "masks", 0)) == whole
    assert not list((own / "runs").rglob(".partial-*"))


def test_the_best_weights_are_those_of_the_lowest_validation_loss(own: Path) -> None:
    trained(own, replace(TINY, keep="best", epochs=4, learning_rate=0.05))
    curves = read_table(run_folder(own, "masks", 0) / "curves.parquet", kind="curves")
    best = curves.sort("validation_loss")["epoch"][0]
    assert read_run(own, "masks", 0)["epoch"] == best


def test_validation_comes_every_so_many_epochs_and_at_the_end(own: Path) -> None:
    files = trained(own, replace(TINY, epochs=5, validate_every=2))
    assert [f for f in sorted(files) if f.startswith("validation")] == [f"validation/epoch-00{e}.parquet" for e in (2, 4, 5)]
    curves = read_table(run_folder(own, "masks", 0) / "curves.parquet", kind="curves")
    assert curves["validation_loss"].is_null().to_list() == [True, False, True, False, False]


def test_without_validation_scans_a_run_still_ends(tmp_path: Path) -> None:
    files = trained(write_study(tmp_path, train=5, validation=0))
    assert not [f for f in files if f.startswith("validation")]


def test_a_loss_that_is_no_longer_a_number_stops_the_run_with_what_to_do(own: Path) -> None:
    with pytest.raises(InputError, match="Lower"):
        trained(own, replace(TINY, learning_rate=1e30, clip_norm=0.0, epochs=6))
    assert not (run_folder(own, "masks", 0) / "run.json").exists()


def test_seeds_give_different_runs(own: Path) -> None:
    assert trained(own)["weights.safetensors"] != trained(own, seed=1)["weights.safetensors"]
    frames = [pl.read_parquet(run_folder(own, "masks", seed) / "curves.parquet") for seed in (0, 1)]
    assert frames[0]["label_loss"][0] != frames[1]["label_loss"][0]
