"""TotalSegmentator's worker as this process sees it: started once, asked scan by scan, ended with this process."""

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from espalier.errors import AlteredError, MissingError, ScanError, SettingsError
from espalier.masks import totalsegmentator_worker
from espalier.masks.companion import Companion, CompanionDiedError, ask, end, is_alive, start
from espalier.masks.environments import environment_python
from espalier.masks.options import TotalSegmentatorOptions
from espalier.outputs import hash_of

NAME: Final = "totalsegmentator"
SCAN: Final = "scan.nii"
LABELS: Final = "labels.npy"
PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
TO_DO: Final = {
    "task": "Correct [masks.totalsegmentator] task or resolution.",
    "device": 'Write device = "cpu" in [masks.totalsegmentator], or mend the driver.',
    "versions": f"Run `espalier doctor --install {NAME}`, or name another environment.",
    "licence": "Get a licence number, set it with `totalseg_set_license`, then run the same command again.",
}
"""What to do about what the worker refuses, by its codes."""


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """A worker, the folder that is its own, and a hash of all it was started with."""

    companion: Companion
    folder: Path
    key: str


_RUNNING: list[Running] = []
"""The worker of this process; one at most, since a process segments with one set of options."""


def weights_folder(options: TotalSegmentatorOptions, folder: Path) -> Path:
    """Return where weights lie: what the options say, else `TOTALSEG_WEIGHTS_PATH`, else TotalSegmentator's own place."""
    if options.weights is not None:
        return (folder / options.weights).absolute()
    if given := os.environ.get("TOTALSEG_WEIGHTS_PATH"):
        return Path(given).absolute()
    return _own_home() / "nnunet" / "results"


def describe_task(options: TotalSegmentatorOptions, folder: Path) -> dict[str, Any]:
    """Return what the task needs and gives, by TotalSegmentator's own word: `models` with their files, `labels`, `versions`."""
    running = _started(options, folder, {}, only_describe=True)
    _end(running)
    return dict(running.companion.hello)


def running_worker(options: TotalSegmentatorOptions, folder: Path, hashes: Mapping[str, str]) -> Running:
    """Return this process's worker, started where there is none, or it died, or was started with other options.

    Parameters
    ----------
    options
        How TotalSegmentator is run.
    folder
        The study's folder.
    hashes
        Of the files that it may load, by their names relative to the folder of weights.
    """
    key = hash_of(options, folder, weights_folder(options, folder), dict(hashes))
    if _RUNNING and (_RUNNING[0].key != key or not is_alive(_RUNNING[0].companion)):
        stop_worker()
    if not _RUNNING:
        _RUNNING.append(_started(options, folder, hashes, key=key))
    return _RUNNING[0]


@atexit.register
def stop_worker() -> None:
    """End this process's worker, where there is one, and remove its folder."""
    while _RUNNING:
        _end(_RUNNING.pop())


def segment_file(running: Running, place: Path, *, scan: str) -> dict[str, Any]:
    """Let the worker segment `scan.nii` in `place` and write `labels.npy` beside it; return what it tells.

    Raises
    ------
    ScanError
        `segmenter_refused`, or `segmenter_died`, after which another worker is started for the next scan.
    MemoryError
        When there is too little memory.
    OSError
        When the disk is full, or the like.
    """
    try:
        answer = ask(running.companion, {"scan": str(place / SCAN), "labels": str(place / LABELS)})
    except CompanionDiedError as error:
        stop_worker()
        if error.killed:
            raise MemoryError from error  # the kernel's way of saying so
        do = "Look at the scan; to see what TotalSegmentator says, segment it alone with --debug."
        raise ScanError(scan, code="segmenter_died", found=f"TotalSegmentator {error} at it", do=do) from error
    if "error" in answer:
        _raise_for_scan(answer["error"], scan)
    return answer


def _started(
    options: TotalSegmentatorOptions, folder: Path, hashes: Mapping[str, str], *, key: str = "", only_describe: bool = False
) -> Running:
    python = environment_python(NAME, given=options.environment, folder=folder)
    place = _work_folder(folder)
    settings = {"task": options.task, "resolution": options.resolution, "device": options.device, "hashes": dict(hashes)}
    told = json.dumps({**settings, "only_describe": only_describe})
    # -I: neither this program's PYTHONPATH nor the user's own packages reach the other environment.
    command = [str(python), "-I", str(Path(totalsegmentator_worker.__file__)), told]
    try:
        running = Running(start(command, variables=_variables(place, weights_folder(options, folder))), place, key)
    except (CompanionDiedError, OSError) as error:
        shutil.rmtree(place, ignore_errors=True)
        do = "Run again with --debug and read what it says."
        raise MissingError(python, found=f"TotalSegmentator did not start ({error})", do=do) from error
    if "error" in running.companion.hello:
        _end(running)
        _raise_for_all(running.companion.hello["error"], str(python.parent.parent))
    return running


def _end(running: Running) -> None:
    end(running.companion)
    shutil.rmtree(running.folder, ignore_errors=True)


def _work_folder(folder: Path) -> Path:
    """Return a new folder for scans on their way, with TotalSegmentator's home in it; `sweep` removes what a kill leaves."""
    place = Path(tempfile.mkdtemp(prefix=f".partial-{NAME}-", dir=folder))
    config: dict[str, Any] = {"totalseg_id": "", "send_usage_stats": False, "prediction_counter": 0}
    try:
        own = json.loads((_own_home() / "config.json").read_text(encoding="utf-8"))
        config["license_number"] = str(own["license_number"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # most tasks need none
    home = place / "home"
    home.mkdir()
    (home / "config.json").write_text(json.dumps({**config, "statistics_disclaimer_shown": True}), encoding="utf-8")
    return place


def _own_home() -> Path:
    """Return where TotalSegmentator keeps its things for this user when it runs by itself."""
    return Path(os.environ.get("TOTALSEG_HOME_DIR") or Path.home() / ".totalsegmentator").absolute()


def _variables(place: Path, weights: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name.lower() not in PROXIES}
    own = {"TOTALSEG_HOME_DIR": str(place / "home"), "TOTALSEG_WEIGHTS_PATH": str(weights), "TMPDIR": str(place)}
    # nnU-Net takes up to 8 threads; a stage's workers are told how many are theirs.
    threads = {"nnUNet_def_n_proc": kept["OMP_NUM_THREADS"]} if kept.get("OMP_NUM_THREADS", "").isdigit() else {}
    return {**kept, **threads, **own, "HF_HUB_OFFLINE": "1"}


def _raise_for_all(error: Mapping[str, Any], environment: str) -> NoReturn:
    """Raise what concerns every scan: the worker told it instead of beginning, or when it was to load a model."""
    code, words = error["code"], error["words"]
    if code in {"task", "device"}:
        raise SettingsError("[masks.totalsegmentator]", found=words, do=TO_DO[code])
    if code == "altered":
        raise AlteredError("TotalSegmentator's weights", found=words, do="Let nobody write there, then run the same again.")
    raise MissingError(environment, found=words, do=TO_DO.get(code, "Run again with --debug and read what it says."))


def _raise_for_scan(error: Mapping[str, Any], scan: str) -> NoReturn:
    if error["code"] == "altered":
        stop_worker()
        _raise_for_all(error, NAME)
    if error["code"] == "memory":
        raise MemoryError
    if error["code"] == "system" and error.get("errno"):
        raise OSError(error["errno"], os.strerror(error["errno"]))
    raise ScanError(
        scan,
        code="segmenter_refused",
        found=f"TotalSegmentator could not segment it ({error['words']})",
        do="Look at the scan: its size, its spacing, its axes.",
    )
