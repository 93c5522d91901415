"""Slurm: chunks of ids as one array of jobs, each with a journal on the shared file system.

Jobs are found again by their name, so a caller that was killed goes on with those it left, and one that was stopped by
hand ends them. What submitit puts in the folder of jobs it pickles itself; nothing is read back from there.
"""

import hashlib
import os
import shlex
import shutil
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from espalier.engines import slurm_queue as queue
from espalier.engines.chunk import Chunk, Errand, finished_of, journal_path, read_chunk, read_lines, write_chunk
from espalier.engines.local import Finished
from espalier.engines.site import Site
from espalier.errors import MissingError, ResourceError

JOBS: Final = "jobs"
LOOK_S: Final = 1.0
"""Journals are looked at this often."""
STARTS: Final = 3
"""A chunk whose job ended so many times without anything done stops the run."""


@dataclass(kw_only=True, slots=True)
class _Open:
    """A chunk that is not finished: what it lacks, where its journal was last read, and its job."""

    left: set[str]
    offset: int = 0
    job: str = ""
    missing_since: float | None = None
    starts: int = 0


@dataclass(kw_only=True, slots=True)
class _Desk:
    """The folder of one stage's jobs."""

    folder: Path
    name: str
    site: Site
    chunks: dict[int, _Open] = field(default_factory=dict)


def run(whole: Chunk, *, site: Site, folder: Path, stage: str, key: str) -> Generator[Finished]:
    """Work on ids in Slurm jobs and yield each as it finishes.

    Parameters
    ----------
    whole
        All ids, and the command and limits of each job's work.
    site
        What one job gets.
    folder
        The study's folder, on a file system that all nodes share.
    stage
        Names the folder of the jobs.
    key
        Hash of all that the answers depend on: what a killed caller left under the same key is taken over.

    Raises
    ------
    MissingError
        Where submitit or Slurm is not installed.
    ResourceError
        Where Slurm refuses the jobs, or they end again and again with nothing done; their logs are left.
    """
    _check()
    name = f"{_prefix(folder)}-{key[:12]}"
    end_left(folder, but=name)
    desk = _Desk(folder=folder / JOBS / stage, name=name, site=site)
    try:
        _adopt(desk, set(whole.ids))
        held = set[str]().union(*(one.left for one in desk.chunks.values()))
        _lay_out(desk, replace(whole, ids=tuple(id_ for id_ in whole.ids if id_ not in held)))
        yield from _watch(desk)
        queue.wait_for_end(name)
    except ResourceError:
        queue.cancel(name)
        raise
    except BaseException:
        queue.cancel(name)
        shutil.rmtree(desk.folder, ignore_errors=True)
        raise
    shutil.rmtree(desk.folder, ignore_errors=True)


def end_left(folder: Path, *, but: str = "") -> bool:
    """End the jobs that a killed run left at work in a study's folder, all or all but those of a name; tell if any lived.

    Raises
    ------
    ResourceError
        Where jobs may be at work, and this machine cannot ask Slurm.
    """
    desks = folder / JOBS
    if not desks.is_dir() or not any(desks.iterdir()):
        return False
    if shutil.which("squeue") is None:
        do = "Run this command where Slurm's commands are, or remove that folder when no job is left."
        raise ResourceError(desks, found="Slurm jobs of this study may be at work", do=do)
    names = {name for name in queue.jobs_named(_prefix(folder)).values() if name != but}
    for name in names:
        queue.cancel(name)
    for desk in desks.iterdir():
        if not but or _name_of(desk) != but:
            shutil.rmtree(desk, ignore_errors=True)
    return bool(names)


def _check() -> None:
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise MissingError("submitit", found="not installed", do='Install it with pip install "espalier[slurm]".') from error
    if shutil.which("sbatch") is None or shutil.which("squeue") is None:
        raise MissingError("Slurm", found="no sbatch and squeue here", do="Run this command on a login node of the cluster.")


def _prefix(folder: Path) -> str:
    return f"espalier-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"


def _name_of(desk: Path) -> str:
    try:
        return (desk / "name").read_text(encoding="ascii")
    except OSError:
        return ""


def _adopt(desk: _Desk, wanted: set[str]) -> None:
    """Take over the chunks that an earlier caller of the same key left, with their jobs."""
    if _name_of(desk.folder) != desk.name:
        shutil.rmtree(desk.folder, ignore_errors=True)
        desk.folder.mkdir(parents=True, mode=0o700)
        (desk.folder / "name").write_text(desk.name, encoding="ascii")
        return
    jobs = dict(line.split() for line in _text(desk.folder / "submitted").splitlines() if len(line.split()) == 2)
    for path in desk.folder.glob("chunk-*.json"):
        number = _number(path)
        if left := wanted & set(read_chunk(desk.folder, number).ids):
            desk.chunks[number] = _Open(left=left, job=jobs.get(str(number), ""))
    for job in sorted(set(queue.jobs_named(desk.name)) - {one.job for one in desk.chunks.values()}):
        queue.ask(["scancel", "--quiet", job])  # submitted by a caller that was killed before it noted whose it is


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii") if path.is_file() else ""


def _lay_out(desk: _Desk, whole: Chunk) -> None:
    """Write chunks of ids and submit them, with those whose jobs have gone."""
    size = 1 if whole.resumes else desk.site.per_job(len(whole.ids))
    first = 1 + max((_number(path) for path in desk.folder.glob("chunk-*.json")), default=-1)
    for number, begin in enumerate(range(0, len(whole.ids), size), start=first):
        own = whole.ids[begin : begin + size]
        write_chunk(desk.folder, number, replace(whole, ids=own))
        desk.chunks[number] = _Open(left=set(own))
    queued = queue.jobs_named(desk.name)
    _submit(desk, [number for number, one in desk.chunks.items() if one.job not in queued])


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _submit(desk: _Desk, numbers: Sequence[int]) -> None:
    """Submit chunks as one array, and note their jobs before anything else."""
    import submitit

    site = desk.site
    if not numbers:
        return
    with _outside_of_jobs():
        try:
            python = f"{shlex.quote(site.python or sys.executable)} -P"
            executor = submitit.SlurmExecutor(folder=desk.folder / "log", max_num_timeout=1000, python=python)
            executor.update_parameters(**_parameters(desk))
            with executor.batch():
                jobs = [executor.submit(Errand(str(desk.folder), number)) for number in numbers]
        except Exception as error:
            words = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise ResourceError("Slurm", found=f"refused the jobs ({words[0]})", do="Mend the site profile.") from error
    with (desk.folder / "submitted").open("a", encoding="ascii") as stream:
        for number, job in zip(numbers, jobs, strict=True):
            desk.chunks[number].job = job.job_id
            desk.chunks[number].missing_since = None
            stream.write(f"{number} {job.job_id}\n")


def _parameters(desk: _Desk) -> dict[str, Any]:
    site = desk.site
    setup = [f"export {name}={shlex.quote(value)}" for name, value in site.variables.items()]
    setup += [f"module load {shlex.quote(name)}" for name in site.modules]
    told = {
        "job_name": desk.name,
        "partition": site.slurm.partition,
        "account": site.slurm.account,
        "qos": site.slurm.qos,
        "constraint": site.slurm.constraint,
        "cpus_per_task": site.cpus,
        "gpus_per_node": site.gpus or None,
        "mem": f"{round(site.memory_gb * 1000)}M",
        "time": site.minutes,
        "array_parallelism": site.jobs,
        "setup": [*setup, *site.setup] or None,
        "additional_parameters": {"requeue": True},
    }
    return {name: value for name, value in told.items() if value is not None}


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hide what Slurm told this process, where it is a job itself, but for where its settings lie."""
    own = {name: os.environ[name] for name in os.environ if name.startswith(("SLURM_", "SBATCH_", "SUBMITIT_"))}
    hidden = {name: value for name, value in own.items() if not name.startswith("SLURM_CONF")} if "SLURM_JOB_ID" in own else {}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _watch(desk: _Desk) -> Iterator[Finished]:
    """Yield what the journals tell until no chunk lacks anything; submit anew the chunks whose jobs have gone."""
    asked = time.monotonic()
    while True:
        for number in list(desk.chunks):
            one = desk.chunks[number]
            lines, one.offset = read_lines(journal_path(desk.folder, number), one.offset)
            for line in lines:
                if line.get("id") in one.left:
                    one.left.discard(line["id"])
                    one.starts = 0
                    yield finished_of(line)
            if not one.left:
                del desk.chunks[number]
        if not desk.chunks:
            return
        time.sleep(LOOK_S * min(20, max(1, len(desk.chunks) / 50)))  # a shared file system is spared a thousand looks a second
        if time.monotonic() - asked >= queue.ASK_S:
            _submit(desk, _gone(desk))
            asked = time.monotonic()


def _gone(desk: _Desk) -> list[int]:
    """Return the open chunks whose jobs have been out of the queue for a while: a journal may come late over a network."""
    queued, now, gone = queue.jobs_named(desk.name), time.monotonic(), []
    for number, one in desk.chunks.items():
        if one.job in queued:
            one.missing_since = None
        elif one.missing_since is None:
            one.missing_since = now
        elif now - one.missing_since >= queue.ASK_S / 2:
            one.starts += 1
            gone.append(number)
            if one.starts >= STARTS:
                found = f"job {one.job} ended {STARTS} times with nothing done"
                raise ResourceError("Slurm", found=found, do=f"Read why in {desk.folder / 'log'}, and mend the site profile.")
    return gone
