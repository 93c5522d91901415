"""What is exported is the classifier alone, and it answers as torch does."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from espalier.deployment import export as exporting
from espalier.deployment.bundle import Bundle, open_bundle
from espalier.deployment.export import export
from espalier.deployment.options import ExportOptions
from espalier.errors import AlteredError, InputError, MissingError, SettingsError
from espalier.geometry import affine_from
from espalier.networks.branch import build_branch
from espalier.networks.classifier import Classifier
from espalier.outputs import write_json
from espalier.store.format import write_array
from espalier.store.preprocess import scale_hu


class WithBranch(nn.Module):
    """A network whose training branch was not taken off."""

    def __init__(self, classifier: Classifier, structures: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.extra = build_branch(classifier.channels, structures, seed=0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.classifier.features(x)
        logits, maps = self.classifier.classify(features)
        return logits, maps + 0 * self.extra(features).sum(dim=1, keepdim=True)


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "study"))


@pytest.mark.parametrize("scans", [1, 2, 5])
def test_logits_and_maps_equal_torch_for_any_number_of_scans(bundle: Bundle, classifier: Classifier, scans: int) -> None:
    crops = np.random.default_rng(7).uniform(-1, 1, (scans, 1, *bundle.crop)).astype(np.float32)
    with torch.inference_mode():
        expected = classifier(torch.from_numpy(crops))
    session = onnxruntime.InferenceSession(bundle.model.as_posix(), providers=["CPUExecutionProvider"])
    found = session.run(["logits", "maps"], {"voxels": crops})
    assert float(expected[0].std()) > 0.01
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-4)


def test_the_graph_holds_opset_20_two_outputs_and_no_weights_beyond_the_classifier(
    bundle: Bundle, classifier: Classifier
) -> None:
    model = onnx.load(bundle.model)
    assert [o.version for o in model.opset_import if o.domain == ""] == [20]
    assert [o.name for o in model.graph.output] == ["logits", "maps"]
    floats = [w for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT]
    own = sum(t.numel() for t in classifier.state_dict().values())
    assert sum(int(np.prod(w.dims)) for w in floats) <= own + classifier.linear.weight.numel() + 16


def test_the_model_names_no_folder_of_the_machine_that_exported_it(bundle: Bundle) -> None:
    content = bundle.model.read_bytes()
    for trace in (b"site-packages", b".py", b'File "', b"espalier"):
        assert trace not in content


def test_equal_runs_give_equal_bundles_byte_for_byte(
    study: Path, make_study: Callable[[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_study(tmp_path)
    export(ExportOptions(), folder=other)
    assert capsys.readouterr().out == ""
    for path in sorted((study / "bundle").iterdir()):
        assert path.read_bytes() == (other / "bundle" / path.name).read_bytes(), path.name


def test_a_bundle_up_to_date_is_left_alone_and_an_altered_one_made_again(copy: Path) -> None:
    model = copy / "bundle" / "model.onnx"
    before, inode = model.read_bytes(), model.stat().st_ino
    again = export(ExportOptions(), folder=copy)
    assert (again.done, model.stat().st_ino) == (0, inode)
    model.write_bytes(before[:-1])
    assert export(ExportOptions(), folder=copy).done == 1
    assert model.read_bytes() == before
    assert open_bundle(copy / "bundle").crop == (16, 24, 24)


def test_a_new_evaluation_gives_a_new_bundle(copy: Path) -> None:
    metrics = copy / "evaluation" / "masks" / "seed-0" / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"value": 0.4', '"value": 0.45'))
    export(ExportOptions(), folder=copy)
    assert open_bundle(copy / "bundle").thresholds["emphysema"] == pytest.approx(0.45)


def test_real_crops_of_the_store_are_compared_too(copy: Path, classifier: Classifier, bundle: Bundle) -> None:
    hu = np.random.default_rng(0).integers(-1000, 200, (20, 32, 32)).astype(np.int16)
    affine = affine_from(spacing_mm=(6.0, 3.0, 3.0), origin_mm=(0.0, 0.0, 0.0), direction=np.eye(3)[::-1])
    write_array(copy / "store" / "abc.b2nd", hu, affine)
    options = {"spacing_mm": [6.0, 3.0, 3.0], "window_hu": [-1000.0, 200.0], "shape": [20, 32, 32]}
    content = {"options": options, "structures": [], "scans": {"abc": {"mask": False}}}
    write_json(copy / "store.json", content, kind="store")
    source = exporting._read_source(ExportOptions(), copy)
    assert "3 random and 1 real crops" in exporting._check_answers(bundle.model, classifier, source)
    (real,) = list(exporting._crops(source))[2:]
    np.testing.assert_array_equal(real[0, 0], scale_hu(hu[2:18, 4:28, 4:28], (-1000.0, 200.0)))


def test_a_network_with_its_branch_on_is_refused(study: Path, classifier: Classifier, bundle: Bundle, tmp_path: Path) -> None:
    source = exporting._read_source(ExportOptions(), study)
    exporting._check_graph(bundle.model, classifier, source)
    # Two structures and background are as many as the findings: here a shape alone would not tell them apart.
    whole = WithBranch(classifier, 3).eval()
    exporting._write_model(tmp_path / "whole.onnx", whole, bundle.crop)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"extra\.weight"):
        exporting._check_graph(tmp_path / "whole.onnx", classifier, source)


def test_a_weight_of_the_branch_is_refused_whatever_its_name(
    study: Path, classifier: Classifier, bundle: Bundle, tmp_path: Path
) -> None:
    read = exporting._read_source(ExportOptions(), study)
    source = replace(read, run={**read.run, "structures": ["lung_left", "lung_right", "body", "bone"]})
    model = onnx.load(bundle.model)
    weight = np.zeros((5, classifier.channels, 1, 1, 1), dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "val_99"))
    onnx.save(model, tmp_path / "more.onnx")
    with pytest.raises(InputError, match="val_99"):
        exporting._check_graph(tmp_path / "more.onnx", classifier, source)


def test_a_network_that_answers_differently_from_torch_is_refused(
    study: Path, classifier: Classifier, bundle: Bundle, tmp_path: Path
) -> None:
    source = exporting._read_source(ExportOptions(), study)
    model = onnx.load(bundle.model)
    bias = next(w for w in model.graph.initializer if tuple(w.dims) == (3,) and w.data_type == onnx.TensorProto.FLOAT)
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.001), bias.name))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="differ from torch"):
        exporting._check_answers(tmp_path / "other.onnx", classifier, source)


def test_weights_that_are_not_those_of_the_run_are_refused_and_leave_no_bundle(copy: Path) -> None:
    shutil.rmtree(copy / "bundle")
    weights = copy / "runs" / "masks" / "seed-0" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(AlteredError, match="run's record"):
        export(ExportOptions(), folder=copy)
    assert not (copy / "bundle").exists()
    assert not list(copy.glob(".partial*"))


def test_a_folder_that_holds_something_else_is_never_replaced(copy: Path) -> None:
    (copy / "papers").mkdir()
    (copy / "papers" / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingsError, match="no bundle"):
        export(ExportOptions(folder="papers"), folder=copy)
    assert (copy / "papers" / "thesis.txt").read_text() == "years of work"


def test_a_run_that_is_not_trained_or_not_evaluated_is_named(copy: Path) -> None:
    with pytest.raises(MissingError, match="seed-5"):
        export(ExportOptions(seed=5), folder=copy)
    (copy / "evaluation" / "masks" / "seed-0" / "metrics.json").unlink()
    with pytest.raises(MissingError, match=r"metrics\.json"):
        export(ExportOptions(), folder=copy)


@pytest.mark.parametrize("wrong", [{"arm": ""}, {"seed": -1}, {"folder": "."}, {"folder": ""}])
def test_options_that_name_no_run_or_no_place_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ExportOptions(**wrong)
