"""Runs in TotalSegmentator's own environment: loads its models once, then segments one scan per line of standard input.

It imports nothing of Espalier, since that environment holds other versions of everything, and heavy libraries only once
the network is shut. TotalSegmentator itself does the work, called as its command line calls it; three of its functions
are replaced: the one that downloads and deletes weights, the one that loads a model (the second time it is at hand, the
first time its files must have the hashes that were asked for), and nnU-Net's way of preparing and saving a scan, which
starts eight processes and here happens in this one.

    python totalsegmentator_worker.py '{"task": "total", "resolution": "fast", "device": "cpu", …}'

The first line it prints says what the task needs and gives, each further one answers a scan: `{"scan": PATH, "labels": PATH}`.
"""

import ctypes
import hashlib
import importlib
import importlib.metadata
import inspect
import io
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

EXACT: Final = {"TotalSegmentator": "2.18.0", "nnunetv2": "2.8.1"}
"""The replaced functions are those of these versions."""

SHUT: Final = frozenset(
    {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname"}
)
MODEL: Final = (
    "plans_manager", "configuration_manager", "list_of_parameters", "network", "dataset_json", "trainer_name",
    "allowed_mirroring_axes", "label_manager",
)  # fmt: skip
"""What nnU-Net's predictor holds of a model that is loaded."""


def module(name: str) -> Any:
    """Return a module of this environment, imported when it is needed: first the network is shut."""
    return importlib.import_module(name)


class Refused(Exception):  # noqa: N818 - no fault, an answer
    """Why the task cannot be done here: a code for the program that started this one, and words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


class Work:
    """The task, TotalSegmentator's modules, and the models that are loaded."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.loads = 0
        self.inference_s = 0.0
        self.inference_cpu_s = 0.0
        self.kept: dict[object, dict[str, Any]] = {}
        check_versions()
        self.api = module("totalsegmentator.python_api")
        self.registry = module("totalsegmentator.registry")
        self.torch = module("torch")
        if settings["device"] == "gpu" and not self.torch.cuda.is_available():
            raise Refused("device", "device is gpu, but there is none that PyTorch can use")
        self.check_task()
        self.api.download_pretrained_weights = lambda _number: None
        self.api.setup_nnunet()  # before nnU-Net is imported, which reads its variables once
        self.nnunet = module("totalsegmentator.nnunet")

    def check_task(self) -> None:
        """Refuse a task that TotalSegmentator does not have, or not for CT."""
        task = self.settings["task"]
        if task not in self.registry.TASKS:
            raise Refused("task", f"task is {task!r}; TotalSegmentator has {', '.join(self.registry.TASKS)}")
        if self.registry.task_modality(task) != "CT":
            raise Refused("task", f"task is {task!r}, which is made for {self.registry.task_modality(task)}, not CT")

    def call(self, scan: object) -> Any:
        """Call TotalSegmentator as `TotalSegmentator -i SCAN -o MASK --ml` does, and return the labels it would save."""
        resolution, device = self.settings["resolution"], self.settings["device"]
        return self.api.totalsegmentator(
            scan,
            None,
            ml=True,
            task=self.settings["task"],
            fast=resolution == "fast",
            fastest=resolution == "fastest",
            device="cpu" if device == "cpu" else "gpu",
            quiet=True,
        )

    def describe(self) -> dict[str, Any]:
        """Return what the task needs and gives, by a run in which nothing is predicted."""
        models: list[dict[str, Any]] = []
        predict = self.nnunet.nnUNet_predict_image
        usual = inspect.signature(predict).parameters["plans"].default
        nibabel, numpy = module("nibabel"), module("numpy")
        blank = nibabel.Nifti1Image(numpy.zeros((4, 4, 4), numpy.int16), numpy.eye(4))

        def noted(scan: Any, _out: Any, task_id: Any, **given: Any) -> tuple[Any, Any, None]:
            numbers = task_id if isinstance(task_id, list) else [task_id]
            models.extend(self.model_files(number, {"plans": usual, **given}) for number in numbers)
            return nibabel.Nifti1Image(numpy.zeros(scan.shape, numpy.uint8), scan.affine), scan, None

        self.nnunet.nnUNet_predict_image = noted
        try:
            self.call(blank)
        except SystemExit as error:
            code = "licence" if self.registry.requires_license(self.settings["task"]) else "task"
            raise Refused(code, f"TotalSegmentator does not run task {self.settings['task']!r}") from error
        except ValueError as error:
            raise Refused("task", str(error)) from error
        finally:
            self.nnunet.nnUNet_predict_image = predict
        versions = {name: importlib.metadata.version(name) for name in (*EXACT, "torch")}
        order = inspect.signature(self.api.totalsegmentator).parameters["resampling_order"].default
        labels = self.registry.get_task_classes(self.settings["task"])
        return {"versions": versions, "models": models, "labels": labels, "resampling_order": order}

    def model_files(self, number: int | str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a model's number and the files that nnU-Net reads of it, relative to the folder of weights."""
        known = module("totalsegmentator.map_tasks_config").TASK_ID_WEIGHTS_CONFIGS[number]
        network = "__".join(given[name] for name in ("trainer", "plans", "model"))
        place = Path(known.get("rel_path") or "", known["foldername"], network)
        folds = [f"fold_{fold}/checkpoint_final.pth" for fold in given["folds"] or ()] or self.folds_there(place)
        return {"number": number, "files": [(place / name).as_posix() for name in ("dataset.json", "plans.json", *folds)]}

    def folds_there(self, place: Path) -> list[str]:
        """Return the checkpoints that nnU-Net finds by itself for a task that names no folds."""
        folder = Path(os.environ["TOTALSEG_WEIGHTS_PATH"]) / place
        there = sorted(path.relative_to(folder).as_posix() for path in folder.glob("fold_[0-9]*/checkpoint_final.pth"))
        return there or ["fold_0/checkpoint_final.pth"]

    def keep_models(self) -> None:
        """Let nnU-Net load each model once, after its files were found to be the expected ones, and predict in this process."""
        predictor = module("nnunetv2.inference.predict_from_raw_data").nnUNetPredictor
        load, infer = predictor.initialize_from_trained_model_folder, predictor.predict_logits_from_preprocessed_data

        def load_once(own: Any, folder: str, use_folds: Any, checkpoint_name: str = "checkpoint_final.pth") -> None:
            key = (folder, str(use_folds), checkpoint_name)
            if key not in self.kept:
                self.check_hashes(Path(folder), use_folds, checkpoint_name)
                load(own, folder, use_folds, checkpoint_name)
                self.kept[key] = {name: getattr(own, name) for name in MODEL}
                self.loads += 1
            for name, value in self.kept[key].items():
                setattr(own, name, value)

        def infer_timed(own: Any, voxels: Any) -> Any:
            begun, begun_cpu = time.perf_counter(), time.process_time()
            try:
                return infer(own, voxels)
            finally:
                self.inference_s += time.perf_counter() - begun
                self.inference_cpu_s += time.process_time() - begun_cpu

        predictor.initialize_from_trained_model_folder = load_once
        predictor.predict_logits_from_preprocessed_data = infer_timed
        predictor.predict_from_files = predict_in_this_process

    def check_hashes(self, folder: Path, folds: list[object] | None, checkpoint: str) -> None:
        """Refuse a model of which a file is not the one that was hashed, before anything of it is unpickled."""
        weights = Path(os.environ["TOTALSEG_WEIGHTS_PATH"])
        expected: Mapping[str, str] = self.settings["hashes"]
        models = (
            sorted(folder.glob(f"fold_*/{checkpoint}")) if folds is None else [folder / f"fold_{n}" / checkpoint for n in folds]
        )
        for path in (folder / "dataset.json", folder / "plans.json", *models):
            name = path.relative_to(weights).as_posix()
            if name not in expected:
                raise Refused("altered", f"{name} is not among the files that were hashed")
            with path.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != expected[name]:
                    raise Refused("altered", f"{name} has changed since it was hashed")

    def segment(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Segment one scan, leave its labels as uint8 of shape (x, y, z) in a `.npy` file, and tell what it took."""
        numpy = module("numpy")
        self.inference_s = self.inference_cpu_s = 0.0
        begun, begun_cpu = time.perf_counter(), time.process_time()
        labels = self.call(asked["scan"])
        numpy.save(asked["labels"], numpy.asarray(labels.dataobj, dtype=numpy.uint8))
        took = {"seconds": time.perf_counter() - begun, "cpu_s": time.process_time() - begun_cpu}
        took |= {"inference_s": self.inference_s, "inference_cpu_s": self.inference_cpu_s}
        return {"affine": labels.affine.tolist(), "loads": self.loads, "took": took}


def predict_in_this_process(
    own: Any, folder_in: str, folder_out: str, *, use_cropped_logits_resampling: bool = False, **_: Any
) -> None:
    """Do what nnU-Net's `predict_from_files` does in processes that it starts, step for step, on the same numbers."""
    torch = module("torch")
    export = module("nnunetv2.inference.export_prediction").export_prediction_from_logits
    threads = module("nnunetv2.configuration").default_num_processes
    ending = own.dataset_json["file_ending"]
    prepare = own.configuration_manager.preprocessor_class(verbose=False)
    for name, channels in channels_by_scan(Path(folder_in), ending).items():
        voxels, _, about = prepare.run_case(channels, None, own.plans_manager, own.configuration_manager, own.dataset_json)
        given = torch.from_numpy(voxels).to(dtype=torch.float32, memory_format=torch.contiguous_format)
        logits = own.predict_logits_from_preprocessed_data(given).cpu().detach().numpy()
        settings = (own.configuration_manager, own.plans_manager, own.dataset_json)
        export(logits, about, *settings, str(Path(folder_out, name)), False, threads, use_cropped_logits_resampling)


def channels_by_scan(folder: Path, ending: str) -> dict[str, list[str]]:
    """Return the files of each scan in a folder, one per channel, named as nnU-Net does, which starts 12 processes here."""
    scans: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()):
        if named := re.fullmatch(rf"(.+)_\d{{4}}{re.escape(ending)}", path.name):
            scans.setdefault(named[1], []).append(str(path))
    return scans


def check_versions() -> None:
    """Refuse other versions than those whose functions are replaced here."""
    for name, version in EXACT.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "not installed"
        if found != version:
            raise Refused("versions", f"{name} is {found}, not {version}")


def shut_network() -> None:
    """Let every attempt of this process to reach a network fail, for good: an audit hook cannot be taken away."""

    def refuse(event: str, _: object) -> None:
        if event in SHUT:
            raise PermissionError(f"{event}: the segmenter has no network")

    sys.addaudithook(refuse)


def die_with_parent() -> None:
    """Let the kernel kill this process when the one that started it dies."""
    set_death_signal = 1
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def own_stdout() -> TextIO:
    """Return the way to the parent, and turn all else that prints to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def answered(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `work` returns, or under `error` why it did not."""
    try:
        return work()
    except Refused as error:
        return {"error": {"code": error.code, "words": str(error)}}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - told to the parent, which goes on with the next scan
        if os.environ.get("ESPALIER_DEBUG"):
            module("traceback").print_exc()
        return {
            "error": {
                "code": kind_of(error),
                "words": f"{type(error).__name__}: {error}"[:300],
                "errno": getattr(error, "errno", None),
            }
        }


def kind_of(error: BaseException) -> str:
    """Return what went wrong as a word: `memory`, `system` or `scan`."""
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return "memory"
    return "system" if isinstance(error, OSError) else "scan"


def main(told: str) -> None:
    """Serve; the end of standard input is the sign to leave."""
    answers = own_stdout()
    die_with_parent()
    shut_network()
    settings = json.loads(told)
    made: list[Work] = []

    def begin() -> dict[str, Any]:
        made.append(Work(settings))
        hello = made[0].describe()
        made[0].keep_models()
        return hello

    hello = answered(begin)
    print(json.dumps(hello), file=answers, flush=True)
    if "error" in hello or settings.get("only_describe"):
        return
    for line in io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8"):
        asked = json.loads(line)
        print(json.dumps(answered(partial(made[0].segment, asked))), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
