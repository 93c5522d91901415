import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score

from espalier.errors import AlteredError, InputError, MissingError
from espalier.evaluation.evaluate import evaluate
from espalier.evaluation.options import EvaluationOptions
from espalier.evaluation.predictions import evaluation_folder, predictions_path, read_metrics, read_predictions
from espalier.evaluation.thresholds import choose_threshold
from espalier.outputs import hash_file, read_json, table_metadata, write_json
from espalier.store.read import open_store

OPTIONS = EvaluationOptions(batch_size=5, resamples=200)


def run(study: Path, options: EvaluationOptions = OPTIONS) -> int:
    return evaluate(options, folder=study, arm="plain", seed=0).done


def whole(study: Path) -> dict[str, bytes]:
    home = evaluation_folder(study, "plain", 0)
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()}


def test_every_validation_and_test_scan_has_a_row_for_each_finding(study: Path) -> None:
    run(study)
    for split, number in (("validation", 8), ("test", 12)):
        frame = pl.read_parquet(predictions_path(study, "plain", 0, split))
        assert frame.columns == ["scan", "patient", "finding", "target", "weight", "logit", "probability"]
        assert frame.height == number * 3
        np.testing.assert_allclose(frame["probability"], 1 / (1 + np.exp(-frame["logit"].to_numpy())), rtol=1e-12)


def test_the_logits_are_those_of_the_network_on_the_centre_of_the_scan(study: Path) -> None:
    from espalier.networks.classifier import build_classifier
    from espalier.networks.options import NetworkSize
    from espalier.networks.weights import load_weights

    run(study)
    frame = pl.read_parquet(predictions_path(study, "plain", 0, "test"))
    size = NetworkSize(width=4, depths=(1, 1))
    classifier = build_classifier("r3d_18", findings=3, crop=(8, 12, 12), size=size, seed=5).eval()
    classifier.load_state_dict(load_weights(study / "runs/plain/seed-0/weights.safetensors"))
    scan = frame["scan"][3]
    hu = open_store(study).voxels(scan)[2:10, 2:14, 2:14].astype(np.float32)
    scaled = (np.clip(hu, -1000, 200) + 1000) / 600 - 1
    with torch.inference_mode():
        logits, _ = classifier(torch.from_numpy(scaled)[None, None])
    np.testing.assert_allclose(frame.filter(scan=scan)["logit"].to_numpy(), logits[0].numpy(), rtol=1e-4, atol=1e-5)


def test_the_predictions_name_the_weights_that_made_them(study: Path) -> None:
    run(study)
    metadata = table_metadata(predictions_path(study, "plain", 0, "test"), kind="predictions")
    assert metadata["weights"] == hash_file(study / "runs/plain/seed-0/weights.safetensors")
    assert json.loads(metadata["espalier"])["key"]


def test_metrics_follow_from_the_predictions(study: Path) -> None:
    run(study)
    test = read_metrics(study, "plain", 0)["test"]
    predictions = read_predictions(predictions_path(study, "plain", 0, "test"))
    for f in range(2):
        own = test["findings"][predictions.findings[f]]
        assert own["auroc"] == pytest.approx(roc_auc_score(predictions.targets[:, f], predictions.probabilities[:, f]))
        assert own["auroc_interval"][0] <= own["auroc"] <= own["auroc_interval"][1]
        assert own["trusted"] is False
    assert test["macro"]["auroc"] == pytest.approx(np.mean([own["auroc"] for own in test["findings"].values()]))
    assert test["left_out"] == {"cardiomegaly": "no positives"}


def test_thresholds_come_from_validation_only(study: Path) -> None:
    run(study)
    thresholds = read_metrics(study, "plain", 0)["thresholds"]
    validation = read_predictions(predictions_path(study, "plain", 0, "validation"))
    chosen = choose_threshold(validation.targets[:, 0] == 1, validation.probabilities[:, 0], rule="youden", at=0.9)
    assert thresholds["lung_nodule"]["value"] == chosen.value
    assert thresholds["cardiomegaly"]["rule"] == "default"
    assert thresholds["lung_nodule"]["positives"] + thresholds["lung_nodule"]["negatives"] == 8


def test_called_again_it_does_nothing_and_another_rule_predicts_nothing_anew(study: Path) -> None:
    assert run(study) == 1
    before = whole(study)
    times = {split: predictions_path(study, "plain", 0, split).stat().st_mtime_ns for split in ("validation", "test")}
    assert run(study) == 0
    assert whole(study) == before
    assert run(study, replace(OPTIONS, threshold="sensitivity", at=0.99)) == 1
    assert {s: predictions_path(study, "plain", 0, s).stat().st_mtime_ns for s in times} == times
    assert whole(study)["metrics.json"] != before["metrics.json"]


def test_other_labels_make_the_predictions_anew(study: Path) -> None:
    run(study)
    before = whole(study)
    labels = pl.read_parquet(study / "labels.parquet")
    from espalier.outputs import write_table

    write_table(study / "labels.parquet", labels.with_columns(target=1 - pl.col("target")), kind="labels")
    assert run(study) == 1
    assert whole(study)["predictions/test.parquet"] != before["predictions/test.parquet"]


def test_changed_weights_are_refused(study: Path) -> None:
    weights = study / "runs/plain/seed-0/weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(AlteredError, match="differ"):
        run(study)


def test_a_store_of_other_settings_is_refused(study: Path) -> None:
    content = read_json(study / "store.json", kind="store")
    content["options"]["window_hu"] = [-150.0, 250.0]
    write_json(study / "store.json", {k: v for k, v in content.items() if k != "espalier"}, kind="store", key="two")
    with pytest.raises(InputError, match="window_hu changed"):
        run(study)


def test_without_test_scans_it_says_so(study: Path) -> None:
    from espalier.outputs import write_table

    splits = pl.read_parquet(study / "splits.parquet").with_columns(split=pl.lit("train"))
    write_table(study / "splits.parquet", splits, kind="splits")
    with pytest.raises(InputError, match="no test scan"):
        run(study)


def test_without_validation_scans_the_default_thresholds_stand(study: Path) -> None:
    from espalier.outputs import write_table

    splits = pl.read_parquet(study / "splits.parquet").filter(pl.col("split") != "validation")
    write_table(study / "splits.parquet", splits, kind="splits")
    run(study)
    metrics = read_metrics(study, "plain", 0)
    assert {one["rule"] for one in metrics["thresholds"].values()} == {"default"}
    assert metrics["validation"]["scans"] == 0


def test_before_training_it_names_the_stage_to_run(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="espalier train"):
        run(tmp_path)


def test_weights_that_give_no_number_are_refused(study: Path) -> None:
    from espalier.networks.weights import load_weights, save_weights

    home = study / "runs/plain/seed-0"
    weights = load_weights(home / "weights.safetensors")
    weights["linear.bias"][0] = float("nan")
    save_weights(home / "weights.safetensors", weights)
    record = read_json(home / "run.json", kind="run")
    record["weights"] = hash_file(home / "weights.safetensors")
    write_json(home / "run.json", {k: v for k, v in record.items() if k != "espalier"}, kind="run")
    with pytest.raises(InputError, match="not a finite number"):
        run(study)


PROGRAM = """
import sys
from pathlib import Path
from espalier.evaluation.evaluate import evaluate
from espalier.evaluation.options import EvaluationOptions
evaluate(EvaluationOptions(batch_size=1, resamples=200), folder=Path(sys.argv[1]), arm="plain", seed=0)
"""


def test_killed_at_any_moment_and_called_again_it_leaves_the_same_files(study: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(study, tmp_path / "other"))
    options = replace(OPTIONS, batch_size=1)
    run(other, options)
    home = evaluation_folder(study, "plain", 0)
    for awaited in ("predictions/parts/*", "predictions/validation.parquet"):
        with subprocess.Popen([sys.executable, "-c", PROGRAM, str(study)]) as process:
            while process.poll() is None and not list(home.glob(awaited)):
                time.sleep(0.0005)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert not (home / "metrics.json").exists()
    run(study, options)
    assert {name: content for name, content in whole(study).items() if ".partial" not in name} == whole(other)


def test_parts_that_a_killed_evaluation_left_are_used(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from espalier.evaluation import evaluate as module

    monkeypatch.setattr(module, "BATCHES_A_PART", 1)
    kept: list[str] = []
    real = module._predict

    def stopping(*arguments: object) -> np.ndarray:
        if len(kept) == 3:
            raise KeyboardInterrupt
        kept.append("part")
        return real(*arguments)

    monkeypatch.setattr(module, "_predict", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(study)
    monkeypatch.setattr(module, "_predict", lambda *a: kept.append("again") or real(*a))
    run(study)
    assert kept.count("again") == 2  # 8 and 12 scans by five are 2 + 3 parts, of which 3 were there
    assert not (evaluation_folder(study, "plain", 0) / "predictions" / "parts").exists()
