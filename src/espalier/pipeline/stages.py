"""The whole way: every stage in its order, each reading only the files that the one before it wrote."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from espalier.engines import place as places
from espalier.engines.gpus import visible_gpus
from espalier.engines.place import HERE, Place, working_at
from espalier.engines.slurm import JOBS, end_left
from espalier.errors import ResourceError
from espalier.outputs import UNWRITABLE, hash_file, hash_of, locked, sweep
from espalier.stage import Summary, progress, raised_elsewhere
from espalier.study import StudyFile, read_study


def ingest(study: StudyFile, *, workers: int) -> Summary:
    """Find every scan, check it, and write `cohort.parquet`."""
    from espalier.cohort.ingest import ingest

    return ingest(study.cohort_options(), folder=study.folder, workers=workers)


def label(study: StudyFile, *, workers: int) -> Summary:
    """Read findings from the reports and divide the patients."""
    from espalier.labels.label import label

    pseudonyms = study.study.cohort.pseudonyms if study.study.cohort else None
    return label(study.label_options(), study.study.splits, folder=study.folder, workers=workers, pseudonyms=pseudonyms)


def segment(study: StudyFile, *, workers: int) -> Summary:
    """Give every scan its masks."""
    from espalier.masks.segment import segment

    return segment(study.study.masks, folder=study.folder, workers=workers)


def prepare(study: StudyFile, *, workers: int) -> Summary:
    """Resample scans and masks into the store."""
    from espalier.store.build import prepare

    return prepare(study.study.store, folder=study.folder, workers=workers)


def train(study: StudyFile, *, workers: int) -> Summary:
    """Train every arm with every seed, as many side by side as there are workers."""
    runs = [f"{arm}/seed-{seed}" for seed in study.seeds for arm in study.arms]
    epochs = sum(options.epochs for options in study.arms.values()) * len(study.seeds)
    with _watched("train", lambda: _epochs_done(study), total=epochs):
        fresh = _each_run(study, runs, "train", workers)
    return Summary(
        verb="train",
        done=len(runs),
        words=f"{len(runs)} runs ({', '.join(study.arms)}), {fresh} of them now.",
        wrote=(study.folder / "runs",),
    )


def evaluate(study: StudyFile, *, workers: int) -> Summary:
    """Predict and measure every run."""
    runs = [f"{arm}/seed-{seed}" for seed in study.seeds for arm in study.arms]
    fresh = _each_run(study, runs, "evaluate", workers)
    return Summary(
        verb="evaluate",
        done=len(runs),
        words=f"{len(runs)} runs measured, {fresh} of them now.",
        wrote=(study.folder / "evaluation",),
    )


def compare(study: StudyFile, *, workers: int) -> Summary:  # noqa: ARG001 - every stage is called alike
    """Compare the arms in pairs and write the page."""
    from espalier.comparison.compare import compare

    return compare(study.study.comparison, folder=study.folder, arms=tuple(study.arms), seeds=study.seeds)


def export(study: StudyFile, *, workers: int) -> Summary:  # noqa: ARG001 - every stage is called alike
    """Write the bundle."""
    from espalier.deployment.export import export

    return export(study.study.export, folder=study.folder)


STAGES: Final[Mapping[str, Callable[..., Summary]]] = {
    "ingest": ingest,
    "label": label,
    "segment": segment,
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "export": export,
}


def do(study: StudyFile, verb: str, *, workers: int, place: Place = HERE) -> Summary:
    """Run one stage; what it already has, whole and up to date, is left as it is."""
    with _at_work(study.folder, place):
        return STAGES[verb](study, workers=workers)


def run(study: StudyFile, *, workers: int, place: Place = HERE) -> list[Summary]:
    """Run every stage in order; what is whole and up to date is left as it is."""
    with _at_work(study.folder, place):
        return [_told_when_done(stage(study, workers=workers)) for stage in STAGES.values()]


@contextmanager
def _at_work(folder: Path, place: Place) -> Iterator[None]:
    """Hold a study's folder, without jobs that a killed run left there, or with those that this one goes on with."""
    try:
        with locked(folder), working_at(place):
            if place.engine != "slurm":
                end_left(folder)
            if not (folder / JOBS).is_dir() or not any((folder / JOBS).iterdir()):
                sweep(folder)  # else jobs may be writing
            yield
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        do = "Free the disk or mend its permissions, then run the same command again."
        raise ResourceError(folder, found=f"could not be written to ({error.strerror})", do=do) from error


def _told_when_done(summary: Summary) -> Summary:
    print(f"{summary.verb}: {summary.words}", file=sys.stderr, flush=True)
    return summary


def train_one(folder: Path, run_id: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Train one run in a worker process; `run_id` is `<arm>/seed-<n>`."""
    from espalier.training.run import train

    study, arm, seed = _run_of(folder, run_id, options)
    summary = train(study.arms[arm], folder=folder, arm=arm, seed=seed, findings=_findings(folder))
    return [{"fresh": summary.done}]


def evaluate_one(folder: Path, run_id: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Evaluate one run in a worker process; `run_id` is `<arm>/seed-<n>`."""
    from espalier.evaluation.evaluate import evaluate

    study, arm, seed = _run_of(folder, run_id, options)
    summary = evaluate(study.study.evaluation, folder=folder, arm=arm, seed=seed)
    return [{"fresh": summary.done}]


def _findings(folder: Path) -> tuple[str, ...]:
    from espalier.labels.label import read_labels

    return tuple(read_labels(folder)["finding"].unique(maintain_order=True))


def _run_of(folder: Path, run_id: str, options: Mapping[str, Any]) -> tuple[StudyFile, str, int]:
    arm, _, seed = run_id.rpartition("/seed-")
    return read_study(folder / options["study"], changes=options["changes"]), arm, int(seed)


def _each_run(study: StudyFile, runs: list[str], stage: str, workers: int) -> int:
    """Do a stage's work on every run in worker processes; return how many of them had something left to do."""
    options = json.dumps({"study": study.path.name, "changes": study.changes})
    work = f"espalier.pipeline.stages:{stage}_one"
    command = [sys.executable, "-m", "espalier.stage", work, str(study.folder), options]
    threads, gpus = study.study.training.threads, visible_gpus()
    most = max(1, workers // threads)
    told: dict[str, Any] = {
        "stage": stage,
        "folder": study.folder,
        "key": hash_of(work, options, _read_by_runs(study)),
        "threads": threads,
    }
    fresh = 0
    for one in places.run(command, runs, **told, workers=min(most, len(gpus) or most), gpus=gpus, resumes=True):
        if one.answer is None:
            raise ResourceError(
                f"run {one.id}",
                found=f"its process was {one.death}, twice",
                do="Free memory, or use fewer --workers; the same command goes on from the last checkpoint.",
            )
        if "error" in one.answer:
            raise raised_elsewhere(one.answer["error"])
        fresh += sum(row["fresh"] for row in one.answer["rows"])
    return fresh


def _read_by_runs(study: StudyFile) -> list[str]:
    """Return the hashes of the files that decide what a run's result is."""
    names = (study.path.name, "store.json", "labels.parquet", "splits.parquet")
    return [hash_file(study.folder / name) for name in names if (study.folder / name).is_file()]


def _epochs_done(study: StudyFile) -> int:
    from espalier.training.run import epochs_done

    return sum(epochs_done(study.folder, arm, seed) for arm in study.arms for seed in study.seeds)


@contextmanager
def _watched(what: str, count: Callable[[], int], *, total: int) -> Iterator[None]:
    """Show progress that other processes make, counted from their files twice a second."""
    stop = Event()
    with progress(what, total=total, done=count()) as advance:

        def watch() -> None:
            seen = count()
            while not stop.wait(0.5):
                now = count()
                if now > seen:
                    advance(now - seen)
                    seen = now

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()
