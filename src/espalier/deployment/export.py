"""From one run to a bundle: the classifier alone as ONNX, accepted only when it answers as torch does.

The only file of this room that loads torch and the networks. It reads the JSON of training and evaluation, never their code.
"""

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import torch
from jaxtyping import Float32
from torch import Tensor

from espalier.cohort.splits import read_splits
from espalier.deployment.bundle import CARD, INTENDED_USE, MODEL, RECORD
from espalier.deployment.card import CardFacts, card_text
from espalier.deployment.options import ExportOptions
from espalier.deployment.predictor import open_session
from espalier.errors import AlteredError, EspalierError, InputError, MissingError, SettingsError
from espalier.geometry import Shape, crop_or_pad
from espalier.labels.probabilities import outputs_of
from espalier.networks.classifier import Classifier, build_classifier
from espalier.networks.options import NetworkSize
from espalier.networks.weights import load_weights
from espalier.outputs import hash_file, hash_of, key_of, read_json, verify_folder, write_json, written_folder
from espalier.settings import parse
from espalier.stage import Summary
from espalier.store.options import StoreOptions
from espalier.store.preprocess import scale_hu
from espalier.store.read import STORE, open_store

OPSET: Final = 20
TOLERANCE: Final = 1e-4
"""Largest difference of a logit or map value between onnxruntime and torch (float32, one thread)."""
RANDOM_CROPS: Final = 3
REAL_CROPS: Final = 3
LIBRARIES: Final = ("espalier", "torch", "torchvision", "onnx", "onnxruntime")
FORM: Final = 1
"""Part of the key: raise it when equal inputs are to give other bundles."""

Crops = Float32[np.ndarray, "b 1 z y x"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Source:
    """One run with everything that its bundle is made from."""

    folder: Path
    arm: str
    seed: int
    run: Mapping[str, Any]
    metrics: Mapping[str, Any]
    comparison: Mapping[str, Any]
    crop: Shape
    store: StoreOptions

    @property
    def home(self) -> Path:
        return self.folder / "runs" / self.arm / f"seed-{self.seed}"

    @property
    def compared(self) -> dict[str, Any]:
        """The comparison without measured times, which differ where nothing else does."""
        return {name: value for name, value in self.comparison.items() if name != "cost"}

    @property
    def findings(self) -> tuple[str, ...]:
        return tuple(self.run["findings"])


def export(options: ExportOptions, *, folder: Path) -> Summary:
    """Write the bundle of one run; one that is whole and up to date is left as it is.

    Parameters
    ----------
    options
        Which run, and where the bundle goes.
    folder
        The study's folder, with `runs`, `evaluation`, `splits.parquet` and perhaps `comparison` and the store.

    Raises
    ------
    MissingError
        When the run is not trained or not evaluated, or a library of the extra `export` is not installed.
    AlteredError
        When the weights are not those that the run recorded.
    SettingsError
        When the bundle's folder holds something else.
    InputError
        When the exported network answers differently from torch, or holds more than the classifier.
    """
    source = _read_source(options, folder)
    target = folder / options.folder
    key = hash_of(FORM, options, source.run, source.metrics, source.compared, _counts(folder), _versions())
    if _is_whole(target, key):
        return _summary(target, source, done=0, words="up to date")
    _refuse_to_replace(target)
    with written_folder(target, kind="bundle", key=key) as partial:
        classifier = _load(source)
        _write_model(partial / MODEL, classifier, source.crop)
        _check_graph(partial / MODEL, classifier, source)
        words = _check_answers(partial / MODEL, classifier, source)
        record = _record(source)
        write_json(partial / RECORD, record, kind="bundle")
        (partial / CARD).write_text(card_text(_facts(source, record)), encoding="utf-8")
    return _summary(target, source, done=1, words=words)


def _summary(target: Path, source: _Source, *, done: int, words: str) -> Summary:
    told = f"{source.arm}, seed {source.seed} in {target.name}: {words}"
    return Summary(verb="export", done=done, words=told, wrote=(target,))


def _read_source(options: ExportOptions, folder: Path) -> _Source:
    seed = f"seed-{options.seed}"
    path = folder / "runs" / options.arm / seed / "run.json"
    run = read_json(path, kind="run")
    comparison = folder / "comparison" / "comparison.json"
    z, y, x = run["options"]["crop"]
    return _Source(
        folder=folder,
        arm=options.arm,
        seed=options.seed,
        run=run,
        metrics=read_json(folder / "evaluation" / options.arm / seed / "metrics.json", kind="metrics"),
        comparison=read_json(comparison, kind="comparison") if comparison.is_file() else {},
        crop=(int(z), int(y), int(x)),
        store=parse(StoreOptions, run["store"], source=path),
    )


def _is_whole(target: Path, key: str) -> bool:
    if key_of(target) != key:
        return False
    try:
        verify_folder(target, kind="bundle")
    except EspalierError:
        return False
    return True


def _refuse_to_replace(target: Path) -> None:
    if target.exists() and not (target / RECORD).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise SettingsError(
            target,
            found="something that is no bundle",
            expected="an empty place, or an older bundle",
            do="Set [export] folder to a new name.",
        )


def _load(source: _Source) -> Classifier:
    weights = source.home / "weights.safetensors"
    if not weights.is_file() or hash_file(weights) != source.run["weights"]:
        raise AlteredError(
            weights,
            found="its bytes differ from the run's record" if weights.is_file() else "the file is gone",
            expected=str(source.run["weights"])[:12] + "…",
            do="Copy the run again, or train it anew.",
        )
    options = source.run["options"]
    size = parse(NetworkSize, options["network_size"], source=source.home / "run.json")
    outputs = outputs_of(source.findings)
    classifier = build_classifier(options["network"], findings=outputs, crop=source.crop, size=size, seed=0)
    classifier.load_state_dict(load_weights(weights))
    return classifier.eval()


def _write_model(path: Path, classifier: Classifier, crop: Shape) -> None:
    """Write the classifier as ONNX without traces of the machine that exported it; equal weights give equal bytes."""
    onnx = _onnx()
    # Two scans, not one: torch.export takes a size of one for a constant.
    example = torch.zeros(2, 1, *crop)
    with warnings.catch_warnings(), _quiet():
        # torch's own exporter still calls what torch deprecates; neither concerns the exported network.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.onnx.export(
            classifier,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["voxels"],
            output_names=["logits", "maps"],
            dynamic_shapes={"x": {0: torch.export.Dim("scans")}},
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's chatter off standard output, which `--json` speaks on."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield


def _onnx() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401 - the exporter needs it and says so less clearly
    except ImportError as error:
        raise MissingError(
            "onnx and onnxscript", found="not installed", do='Install them: pip install "espalier[export]".'
        ) from error
    return onnx


def _strip(model: Any) -> None:
    """Take out stack traces and other notes of the exporter: they name folders of this machine and nobody reads them."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for function in model.functions:
        for part in (function, *function.node):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")


def _check_graph(path: Path, classifier: Classifier, source: _Source) -> None:
    """Refuse a graph with a weight of the training-only branch, by its name or as what it is, or with a third output."""
    model = _onnx().load(path)
    found = [o.name for o in model.graph.output]
    found += [w.name for w in model.graph.initializer if "branch" in w.name or _is_branch(w, classifier, source)]
    if found != ["logits", "maps"]:
        raise InputError(
            source.home / "weights.safetensors",
            found=f"a network that holds {', '.join(found)}",
            expected="logits and maps of the classifier alone",
            do="Report this: the branch must never be exported.",
        )


def _is_branch(weight: Any, classifier: Classifier, source: _Source) -> bool:
    """Tell whether a weight maps the last features to one value per structure and is not the linear layer itself."""
    structures = len(source.run["structures"]) + 1
    if tuple(weight.dims) != (structures, classifier.channels, 1, 1, 1):
        return False
    own = _numpy(classifier.linear.weight.detach())
    return len(own) != structures or not np.array_equal(_onnx().numpy_helper.to_array(weight)[..., 0, 0, 0], own)


def _check_answers(path: Path, classifier: Classifier, source: _Source) -> str:
    """Compare onnxruntime with torch on random and, where a store exists, on real crops; say by how much they differ."""
    session = open_session(path, threads=1)
    largest, real = 0.0, 0
    for crops in _crops(source):
        with torch.inference_mode():
            expected = [_numpy(t) for t in classifier(torch.from_numpy(crops))]
        found = session.run(["logits", "maps"], {"voxels": crops})
        largest = max(largest, *(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)))
    if not largest <= TOLERANCE:
        raise InputError(
            "the exported network",
            found=f"answers that differ from torch by {largest:.2g}",
            expected=f"at most {TOLERANCE:g}",
            do="Export on another machine or with other versions of torch and onnx; no bundle was written.",
        )
    real = len(_stored(source))
    return f"onnxruntime and torch differ by at most {largest:.1g} on {RANDOM_CROPS} random and {real} real crops"


def _numpy(tensor: Tensor) -> Float32[np.ndarray, "..."]:
    return tensor.float().numpy()


def _crops(source: _Source) -> Iterator[Crops]:
    """Yield one random crop alone, the others in a batch, then stored scans one by one."""
    generator = np.random.default_rng(0)
    random = generator.uniform(-1, 1, (RANDOM_CROPS, 1, *source.crop)).astype(np.float32)
    yield random[:1]
    yield random[1:]
    scans = _stored(source)
    if scans:
        store = open_store(source.folder)
        for scan in scans:
            hu = crop_or_pad(store.voxels(scan), source.crop, outside=source.store.window_hu[0])
            yield scale_hu(hu, source.store.window_hu)[None, None]


def _stored(source: _Source) -> tuple[str, ...]:
    return open_store(source.folder).scans[:REAL_CROPS] if (source.folder / STORE).is_file() else ()


def _record(source: _Source) -> dict[str, Any]:
    thresholds = source.metrics["thresholds"]
    missing = [finding for finding in source.findings if finding not in thresholds]
    if missing:
        raise InputError(
            source.folder / "evaluation" / source.arm,
            found=f"no threshold for {', '.join(missing)}",
            expected="one for each finding",
            do="Run `espalier evaluate` again.",
        )
    return {
        "arm": source.arm,
        "seed": source.seed,
        "network": source.run["options"]["network"],
        "findings": list(source.findings),
        "thresholds": {finding: thresholds[finding] for finding in source.findings},
        "store": asdict(source.store),
        "crop": list(source.crop),
        "structures": list(source.run["structures"]),
        "run_hash": source.run["weights"],
        "model": MODEL,
        "opset": OPSET,
        "versions": _versions(),
        "intended_use": INTENDED_USE,
    }


def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _facts(source: _Source, record: Mapping[str, Any]) -> CardFacts:
    aside = source.folder / "set_aside.csv"
    in_splits = read_splits(source.folder).group_by("patient").agg(pl.col("split").n_unique())
    return CardFacts(
        record=record,
        metrics=source.metrics,
        counts=_counts(source.folder),
        shared_patients=in_splits.filter(pl.col("split") > 1).height,
        set_aside=pl.read_csv(aside, infer_schema=False).height if aside.is_file() else 0,
        comparison=source.comparison,
    )


def _counts(folder: Path) -> dict[str, tuple[int, int]]:
    splits = read_splits(folder)
    counts = {}
    for split in ("train", "validation", "test"):
        own = splits.filter(pl.col("split") == split)
        counts[split] = (own.height, own["patient"].n_unique())
    return counts
