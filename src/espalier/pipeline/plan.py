"""What a study will take before it is begun: hours, disk and memory, stage by stage. All of it is an estimate."""

import contextlib
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from espalier.cohort.table import COHORT, read_cohort
from espalier.engines.gpus import visible_gpus
from espalier.engines.place import Place
from espalier.outputs import read_json
from espalier.stage import read_costs
from espalier.study import StudyFile
from espalier.training.order import steps_in_epoch
from espalier.training.run import RUNS

PROCESS_GB: Final = 0.35
"""What a worker holds before it has read a scan."""
MASK_SHARE: Final = 0.01
"""Bytes of a compressed mask for each voxel of its scan, at most."""
READ_S: Final = (0.27 / 39.8e6, "benchmarks/ingest.json: a CT of 152 × 512 × 512 on one core of an AMD EPYC")
NETWORK_S: Final = (
    77.7,
    "benchmarks/segment.json: TotalSegmentator, fast, a CT of 140 × 420 × 420 on two cores of an AMD EPYC",
)
"""Seconds per voxel, or per scan, and where the number was measured."""
FILES_COUNTED: Final = 200_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What one stage will take; None where nothing is known.

    Attributes
    ----------
    stage
        Its name.
    hours
        With all that runs side by side.
    disk_gb
        That it writes, at most, in 10^9 bytes.
    memory_gb
        That all its processes hold together at their largest scan.
    source
        Where the numbers come from.
    """

    stage: str
    hours: float | None = None
    disk_gb: float | None = None
    memory_gb: float | None = None
    source: str = ""

    @property
    def words(self) -> str:
        """The row as a sentence."""
        told = [lasting(self.hours) if self.hours is not None else "time not known"]
        told += [f"{self.disk_gb:.1f} GB of disk"] if self.disk_gb is not None else []
        told += [f"{self.memory_gb:.1f} GB of memory"] if self.memory_gb is not None else []
        return ", ".join(told) + (f" ({self.source})" if self.source else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sizes:
    """The cohort in numbers: scans, their voxels in all, and those of the largest."""

    scans: int
    voxels: float
    largest: float


def plan(study: StudyFile, *, workers: int, place: Place) -> list[Planned]:
    """Return what every stage will take, or nothing more than the reading where the cohort is not known yet."""
    if not (study.folder / COHORT).is_file():
        return [_reading(study, _hands(place, "ingest", workers))]
    sizes = _sizes(study.folder)
    rows = [_scan_wise(study, stage, sizes, _hands(place, stage, workers)) for stage in ("ingest", "segment", "prepare")]
    rows.insert(1, _labels(study, workers))
    return [*rows, _training(study, place, workers)]


def room_left(folder: Path) -> float:
    """Return the free disk of a study's folder, in 10^9 bytes."""
    return shutil.disk_usage(folder).free / 1e9


def lasting(hours: float) -> str:
    """Return a time in words."""
    if hours < 1:
        return f"about {math.ceil(60 * hours)} min"
    return f"about {hours:.1f} h" if hours < 48 else f"about {hours / 24:.1f} days"


def _hands(place: Place, stage: str, workers: int) -> int:
    """Return how many scans are worked on at the same time."""
    site = place.site(stage)
    return workers if place.is_here else site.jobs * site.side_by_side(1)


def _reading(study: StudyFile, hands: int) -> Planned:
    sources = [study.folder / source for source in study.cohort_options().sources]
    sizes = list(islice((size for source in sources for size in _bytes(source)), FILES_COUNTED))
    total, files = sum(sizes), len(sizes)
    more = f"at least {files} files" if files >= FILES_COUNTED else f"{files} files"
    told = f"{more}, {total / 1e9:.1f} GB; all other stages can be planned after `espalier ingest`"
    # Two bytes a voxel: compressed files take longer than they weigh.
    return Planned(stage="ingest", hours=total / 2 * READ_S[0] / hands / 3600, source=f"{told}; {READ_S[1]}")


def _bytes(path: Path) -> Iterator[int]:
    """Yield the size of a file, or of every file below a folder."""
    found = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    for one in [path] if path.is_file() else found:
        with contextlib.suppress(OSError):
            yield one.stat().st_size


def _sizes(folder: Path) -> _Sizes:
    voxels = read_cohort(folder).select(pl.col("shape_z").cast(pl.Float64) * pl.col("shape_y") * pl.col("shape_x"))
    own = voxels.to_series().to_list()
    return _Sizes(scans=len(own), voxels=sum(own), largest=max(own, default=0.0))


def _scan_wise(study: StudyFile, stage: str, sizes: _Sizes, hands: int) -> Planned:
    measured = read_costs(study.folder).get(stage)
    if measured and measured["scans"]:
        seconds, source = measured["seconds"] / measured["scans"] * sizes.scans, f"measured here on {measured['scans']} scans"
    elif stage != "segment":
        seconds, source = READ_S[0] * sizes.voxels, READ_S[1]
    elif study.study.masks.source == "totalsegmentator":
        seconds, source = NETWORK_S[0] * sizes.scans, NETWORK_S[1]
    else:
        return Planned(stage=stage, disk_gb=_disk(study, stage, sizes), memory_gb=_memory(sizes, hands))
    hours = seconds / max(1, min(hands, sizes.scans)) / 3600
    return Planned(stage=stage, hours=hours, disk_gb=_disk(study, stage, sizes), memory_gb=_memory(sizes, hands), source=source)


def _disk(study: StudyFile, stage: str, sizes: _Sizes) -> float:
    stored = math.prod(study.study.store.shape) * sizes.scans
    per_record = 4096 * sizes.scans
    own = {"segment": MASK_SHARE * sizes.voxels, "prepare": (2 + MASK_SHARE) * stored}
    return (own.get(stage, 0.0) + per_record) / 1e9


def _memory(sizes: _Sizes, hands: int) -> float:
    # The volume as float32 and half as much again while it is resampled (benchmarks/ingest.json: 1.5 volumes).
    return min(hands, max(1, sizes.scans)) * (PROCESS_GB + 1.5 * 4 * sizes.largest / 1e9)


def _labels(study: StudyFile, workers: int) -> Planned:
    """Return what the reports take: nothing worth telling by rules, what it would ask where a language model is set."""
    from espalier.pipeline.words import model_cost

    options = study.study.labels
    if options is None or options.model is None:
        return Planned(stage="label", hours=0.0, source="by rules")
    cost = model_cost(study, workers=workers)
    return Planned(stage="label", hours=None if cost.seconds is None else cost.seconds / 3600, source=cost.words)


def _training(study: StudyFile, place: Place, workers: int) -> Planned:
    """Return what the runs take, by the steps that runs of this study have measured."""
    runs = len(study.arms) * len(study.seeds)
    measured = [second for run in (study.folder / RUNS).glob("*/seed-*") for second in step_seconds(run)]
    path = study.folder / "splits.parquet"
    if not measured or not path.is_file():
        return Planned(stage="train", source=f"{runs} runs; the first epoch will tell how long a step takes")
    scans = int((pl.read_parquet(path, columns=["split"])["split"] == "train").sum())
    steps = [steps_in_epoch(scans, arm.batch_size) * arm.epochs for arm in study.arms.values()]
    seconds = sum(steps) * len(study.seeds) * sum(measured) / len(measured)
    threads = study.study.training.threads
    here = len(visible_gpus()) or max(1, workers // threads)
    hands = min(runs, here if place.is_here else place.site("train").jobs)
    return Planned(stage="train", hours=seconds / hands / 3600, source=f"{runs} runs, steps measured here")


def step_seconds(run: Path) -> list[float]:
    """Return the seconds per step that a run has measured, one number for each of its epochs so far."""
    path = run / "checkpoints" / "cost.json"
    return list(read_json(path, kind="cost")["seconds"]) if path.is_file() else []
