"""A scan file in, the probabilities of the trained network out, without torch."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from espalier.cohort.read import read_path
from espalier.cohort.volume import Volume
from espalier.deployment.bundle import Bundle
from espalier.deployment.predictor import Predictor, predict
from espalier.errors import InputError, ScanError
from espalier.networks.classifier import Classifier
from espalier.store.preprocess import preprocess, scale_hu

WITHOUT_TORCH = """
import json, sys
from pathlib import Path

for name in ("torch", "torchvision", "onnx", "onnxscript", "safetensors.torch"):
    sys.modules[name] = None  # as if not installed: importing it raises, asking for it finds nothing

import espalier.deployment.card, espalier.deployment.options
from espalier.deployment.bundle import open_bundle
from espalier.deployment.predictor import predict
print(json.dumps(predict(open_bundle(Path(sys.argv[1])), Path(sys.argv[2])).as_json()))
"""


def by_torch(bundle: Bundle, classifier: Classifier, path: Path) -> list[float]:
    stored = preprocess(read_path(path), bundle.store)
    box = tuple(slice((have - want) // 2, (have + want) // 2) for have, want in zip(stored.shape, bundle.crop, strict=True))
    with torch.inference_mode():
        logits, _ = classifier(torch.from_numpy(scale_hu(stored[box], bundle.store.window_hu))[None, None])
    return torch.sigmoid(logits.double())[0].tolist()


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_a_scan_gets_the_probabilities_that_torch_gives(
    bundle: Bundle, classifier: Classifier, kind: str, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    found = predict(bundle, path)
    assert found.result == "findings"
    np.testing.assert_allclose([c.probability for c in found.calls], by_torch(bundle, classifier, path), atol=1e-4)


def test_one_scan_as_nifti_and_as_dicom_gets_one_answer(bundle: Bundle, nifti: Path, dicom: Path) -> None:
    answers = [[c.probability for c in predict(bundle, path).calls] for path in (nifti, dicom)]
    assert answers[0] == answers[1]
    assert max(answers[0]) - min(answers[0]) > 0.01


def test_the_mean_of_a_map_is_its_logit(bundle: Bundle, nifti: Path) -> None:
    logits, maps = Predictor(bundle).run(read_path(nifti))
    np.testing.assert_allclose(maps.mean(axis=(1, 2, 3)), logits, atol=1e-4)


def test_the_json_has_the_published_shape(bundle: Bundle, nifti: Path) -> None:
    answer = json.loads(json.dumps(predict(bundle, nifti).as_json()))
    assert list(answer) == ["scan", "result", "reason", "findings"]
    assert (answer["scan"], answer["result"], answer["reason"]) == ("scan.nii.gz", "findings", "")
    assert [f["finding"] for f in answer["findings"]] == list(bundle.findings)
    for one in answer["findings"]:
        assert list(one) == ["finding", "probability", "threshold", "decision"]
        assert one["threshold"] == bundle.thresholds[one["finding"]]
        assert one["decision"] == ("present" if one["probability"] >= one["threshold"] else "absent")


def test_a_scan_of_too_few_slices_gets_no_result_but_a_reason(
    bundle: Bundle, hu: np.ndarray, save_nifti: Callable[[Path, np.ndarray], None], tmp_path: Path
) -> None:
    save_nifti(tmp_path / "thin.nii.gz", hu[:5])
    found = predict(bundle, tmp_path / "thin.nii.gz")
    assert found.as_json()["result"] == "none"
    assert found.as_json()["findings"] == []
    assert found.reason.startswith("too_few_slices: ")
    assert found.as_lines() == [f"thin.nii.gz: no result. {found.reason}"]


def test_a_scan_that_covers_little_of_what_the_network_reads_gets_no_result(bundle: Bundle, hu: np.ndarray) -> None:
    volume = Volume(hu[:10, :, :], np.diag([1.0, 4.0, 4.0, 1.0])[[2, 1, 0, 3]])
    with pytest.raises(ScanError) as told:
        Predictor(bundle).predict_volume(volume, scan="slab")
    assert told.value.code == "too_short"
    assert told.value.found == "10 mm"


def test_files_that_are_no_scan_get_no_result_but_a_reason(bundle: Bundle, nifti: Path, tmp_path: Path) -> None:
    (tmp_path / "half.nii.gz").write_bytes(nifti.read_bytes()[:2000])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "read.me").write_text("no scan here")
    predictor = Predictor(bundle)
    for name in ("half.nii.gz", "notes"):
        found = predictor.predict(tmp_path / name)
        assert (found.scan, found.result) == (name, "none")
        assert found.reason


def test_a_path_that_is_not_there_is_the_callers_mistake(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        predict(bundle, tmp_path / "nowhere.nii.gz")


def test_people_read_one_line_a_finding_under_a_warning(bundle: Bundle, nifti: Path) -> None:
    lines = predict(bundle, nifti).as_lines()
    assert lines[0] == "scan.nii.gz: for research, not for diagnosis"
    assert [line.split()[0] for line in lines[1:]] == list(bundle.findings)


def test_a_model_that_does_not_fit_its_record_is_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="with 2"):
        Predictor(replace(bundle, findings=bundle.findings[:2]))


def test_predicting_needs_no_torch(bundle: Bundle, nifti: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(bundle.folder), str(nifti)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == predict(bundle, nifti).as_json()
