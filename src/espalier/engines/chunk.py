"""What one job of a cluster does: work on its ids with local worker processes, and keep a journal that outlives it.

The journal has one JSON object a line: an id that was `begun`, a `Finished`, or that the job was `told` to leave. A job that
was preempted, ran out of time or lost its node reads it and goes on where it stopped.
"""

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from espalier.engines import local
from espalier.engines.gpus import visible_gpus
from espalier.engines.local import Finished
from espalier.outputs import written_whole

PYTHON: Final = "{python}"
"""Stands for the node's own Python in a command."""
TRIES: Final = 2
"""An id with which so many jobs ended without notice has no further try."""

Note = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Some ids and how to work on them.

    Attributes
    ----------
    command, ids, workers, threads, timeout_s, memory_gb
        As `local.run` takes them; `PYTHON` in the command is the node's.
    resumes
        An id goes on where it stopped, so that a job that leaves it unfinished is no sign against it.
    """

    command: tuple[str, ...]
    ids: tuple[str, ...]
    workers: int = 1
    threads: int = 1
    timeout_s: float | None = None
    memory_gb: float | None = None
    resumes: bool = False


@dataclass(kw_only=True, slots=True)
class Told:
    """What a journal tells: the ids that are finished, and with which ids jobs ended without notice, how often."""

    finished: dict[str, Finished] = field(default_factory=dict)
    tries: Counter[str] = field(default_factory=Counter)


def chunk_path(folder: Path, number: int) -> Path:
    """Return where a chunk lies in the folder of its jobs."""
    return folder / f"chunk-{number}.json"


def journal_path(folder: Path, number: int) -> Path:
    """Return where the journal of a chunk lies."""
    return folder / f"journal-{number}.jsonl"


def write_chunk(folder: Path, number: int, chunk: Chunk) -> None:
    """Write what one job has to do."""
    text = json.dumps({name: getattr(chunk, name) for name in Chunk.__slots__})
    with written_whole(chunk_path(folder, number), private=True) as partial:
        partial.write_text(text, encoding="utf-8")


def read_chunk(folder: Path, number: int) -> Chunk:
    """Return what one job has to do."""
    told = json.loads(chunk_path(folder, number).read_text(encoding="utf-8"))
    return Chunk(**told | {"command": tuple(told["command"]), "ids": tuple(told["ids"])})


def work(folder: Path, number: int) -> Iterator[Finished]:
    """Work on the ids of a chunk that its journal does not have yet, note each, and yield it."""
    chunk = read_chunk(folder, number)
    with _journal(journal_path(folder, number)) as note:
        told = tell(journal_path(folder, number))
        note({"started": True})
        for one in _given_up(chunk, told):
            note(_plain(one))
            told.finished[one.id] = one
        left = [id_ for id_ in chunk.ids if id_ not in told.finished]
        # Those that a job ended with come last: what is sound does not wait for them.
        left.sort(key=lambda id_: told.tries[id_])
        for one in run_chunk(chunk, left, begin=lambda id_: note({"begun": id_})):
            note(_plain(one))
            yield one


def run_chunk(chunk: Chunk, ids: Sequence[str], *, begin: Callable[[str], None] | None = None) -> Iterator[Finished]:
    """Work on ids as a chunk says, with local worker processes under its limits."""
    command = [sys.executable if word == PYTHON else word for word in chunk.command]
    limits: dict[str, Any] = {
        "timeout_s": chunk.timeout_s,
        "memory_gb": chunk.memory_gb,
        "threads": chunk.threads,
        "gpus": visible_gpus(),
    }
    with closing(local.run(command, ids, workers=chunk.workers, begin=begin, **limits)) as finished:
        yield from finished


def node_command(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command in which this Python stands for the node's own."""
    return tuple(PYTHON if word == sys.executable else word for word in command)


def note_leaving(folder: Path, number: int) -> None:
    """Note that a job was told to leave, so that the ids it was at are not to blame."""
    descriptor = os.open(journal_path(folder, number), os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, b'\n{"told": "leave"}\n')
    finally:
        os.close(descriptor)


def tell(path: Path) -> Told:
    """Return what a journal tells; lines that were cut short count for nothing."""
    told, begun = Told(), set[str]()
    for line in read_lines(path, 0)[0]:
        if "id" in line:
            told.finished[line["id"]] = finished_of(line)
            begun.discard(line["id"])
        elif "begun" in line:
            begun.add(line["begun"])
        elif "told" in line:
            begun.clear()
        elif "started" in line:
            told.tries.update(begun)
            begun.clear()
    told.tries.update(begun)
    return told


def read_lines(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """Return the whole lines of a journal from `offset` on, and where the next ones begin."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            read = stream.read()
    except FileNotFoundError:
        return [], offset
    whole = read[: read.rfind(b"\n") + 1]
    lines = []
    for line in whole.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in lines if isinstance(line, dict)], offset + len(whole)


def finished_of(line: Mapping[str, Any]) -> Finished:
    """Return the `Finished` that a journal's line holds."""
    return Finished(line["id"], line["answer"], line["death"], line["code"])


def _plain(one: Finished) -> dict[str, Any]:
    return {"id": one.id, "answer": one.answer, "death": one.death, "code": one.code}


def _given_up(chunk: Chunk, told: Told) -> Iterator[Finished]:
    for id_ in chunk.ids:
        if id_ not in told.finished and told.tries[id_] >= TRIES and not chunk.resumes:
            yield Finished(id_, None, "its job ended without a word twice", "worker_died")


@contextmanager
def _journal(path: Path) -> Iterator[Note]:
    """Yield a function that adds a line, which is on the disk when it returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(line: Mapping[str, Any]) -> None:
        # One write: threads do not mix their lines. It begins anew, since a killed job may have left half a line.
        os.write(descriptor, b"\n" + json.dumps(line).encode() + b"\n")
        if "id" in line:
            os.fsync(descriptor)

    try:
        yield note
    finally:
        os.close(descriptor)


class Errand:
    """A chunk as submitit calls it on a node; its `checkpoint` is called when the job's time is nearly over."""

    def __init__(self, folder: str, number: int) -> None:
        self.folder = folder
        self.number = number
        self.finished = 0

    def __call__(self) -> None:
        """Do the chunk."""
        folder = Path(self.folder)
        # Slurm says beforehand that it will preempt; the work goes on until it does.
        signal.signal(signal.SIGTERM, lambda *_: note_leaving(folder, self.number))
        for _ in work(folder, self.number):
            self.finished += 1

    def checkpoint(self) -> object:
        """Return what submitit puts back in the queue."""
        from submitit.helpers import DelayedSubmission

        folder = Path(self.folder)
        if self.finished or read_chunk(folder, self.number).resumes:
            note_leaving(folder, self.number)
        return DelayedSubmission(Errand(self.folder, self.number))
