"""Here: a few worker processes that take ids on their standard input and answer with one JSON line each.

A worker that is killed costs one id, which is tried once more alone. Nothing here knows what a stage does.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from queue import Queue
from threading import Thread
from typing import Any, Final

THREAD_SETTINGS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "POLARS_MAX_THREADS",
    "BLOSC_NTHREADS",
)

Worker = subprocess.Popen[str]


@dataclass(frozen=True, slots=True)
class Finished:
    """One id with the worker's answer, or with how the worker died where there is none."""

    id: str
    answer: dict[str, Any] | None
    death: str = ""


@dataclass(frozen=True, slots=True)
class _Crew:
    """What the threads share, one thread for each worker process."""

    command: tuple[str, ...]
    threads: int
    waiting: deque[str]
    again: deque[str] = field(default_factory=deque)
    workers: list[Worker] = field(default_factory=list)
    finished: "Queue[Finished | None]" = field(default_factory=Queue)


def run(command: Sequence[str], ids: Sequence[str], *, workers: int, threads: int = 1) -> Iterator[Finished]:
    """Feed `ids` to `workers` copies of `command` and yield each as it finishes.

    Parameters
    ----------
    command
        A program that reads ids, one a line, and prints one JSON object a line; all else goes to stderr.
    ids
        What to work on.
    workers
        Processes side by side.
    threads
        Value of `OMP_NUM_THREADS` and its like in each worker, so that workers do not fight for cores.
    """
    crew = _Crew(command=tuple(command), threads=threads, waiting=deque(ids))
    size = max(1, min(workers, len(ids)))
    try:
        yield from _drained(crew, size)
        while crew.again:
            crew.waiting.append(crew.again.popleft())
            yield from _drained(crew, 1, last_try=True)
    finally:
        crew.waiting.clear()
        for worker in crew.workers:
            worker.kill()
            _close(worker)


def _drained(crew: _Crew, size: int, *, last_try: bool = False) -> Iterator[Finished]:
    threads = [Thread(target=_serve, args=(crew, last_try), daemon=True) for _ in range(size)]
    for thread in threads:
        thread.start()
    running = len(threads)
    while running:
        one = crew.finished.get()
        if one is None:
            running -= 1
        else:
            yield one


def _serve(crew: _Crew, last_try: bool) -> None:
    worker: Worker | None = None
    try:
        while crew.waiting:
            try:
                id_ = crew.waiting.popleft()
            except IndexError:
                return
            if worker is None:
                worker = _start(crew)
            one = _ask(worker, id_)
            if one.answer is None:
                worker = None
            if one.answer is None and not last_try:
                crew.again.append(id_)
            else:
                crew.finished.put(one)
    finally:
        if worker is not None:
            _end(worker)
        crew.finished.put(None)


def _start(crew: _Crew) -> Worker:
    environment = os.environ | dict.fromkeys(THREAD_SETTINGS, str(crew.threads))
    worker = subprocess.Popen(crew.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    crew.workers.append(worker)
    return worker


def _ask(worker: Worker, id_: str) -> Finished:
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(id_ + "\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
    except (BrokenPipeError, ValueError):
        line = ""
    if line.endswith("\n"):
        return Finished(id_, json.loads(line))
    code = worker.wait()
    death = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return Finished(id_, None, death)


def _end(worker: Worker) -> None:
    """Close the worker's input, which is its sign to leave, and wait for it."""
    assert worker.stdin is not None
    with contextlib.suppress(OSError):
        worker.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(timeout=10)


def _close(worker: Worker) -> None:
    for stream in (worker.stdin, worker.stdout):
        with contextlib.suppress(OSError):
            assert stream is not None
            stream.close()
    worker.wait()


def die_with_parent() -> None:
    """Let the kernel kill this worker when the process that started it dies, so that no orphan goes on writing."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
