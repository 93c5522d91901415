"""This machine: a few worker processes that take ids on their standard input and answer with one JSON line each.

A worker that is killed costs one id, which is tried once more alone. Nothing here knows what a stage does.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Queue
from threading import Thread
from typing import Any, Final

TRIES: Final = 2


@dataclass(frozen=True, slots=True)
class Finished:
    """One id with the worker's answer, or with how the worker died where there is none."""

    id: str
    answer: dict[str, Any] | None
    death: str = ""


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
    waiting = deque((id_, 1) for id_ in ids)
    finished: Queue[Finished | None] = Queue()
    again: deque[str] = deque()
    crew = [
        Thread(target=_serve, args=(command, waiting, again, finished, threads), daemon=True)
        for _ in range(max(1, min(workers, len(waiting))))
    ]
    for thread in crew:
        thread.start()
    running = len(crew)
    while running:
        one = finished.get()
        if one is None:
            running -= 1
        else:
            yield one
    for id_ in again:
        yield _alone(command, id_, threads)


def _serve(
    command: Sequence[str], waiting: deque[tuple[str, int]], again: deque[str], finished: "Queue[Finished | None]", threads: int
) -> None:
    worker = None
    try:
        while True:
            try:
                id_, _ = waiting.popleft()
            except IndexError:
                return
            if worker is None or worker.poll() is not None:
                worker = _start(command, threads)
            one = _ask(worker, id_)
            if one.answer is None:
                again.append(id_)
                worker = None
            else:
                finished.put(one)
    finally:
        if worker is not None:
            _end(worker)
        finished.put(None)


def _alone(command: Sequence[str], id_: str, threads: int) -> Finished:
    worker = _start(command, threads)
    try:
        return _ask(worker, id_)
    finally:
        _end(worker)


def _start(command: Sequence[str], threads: int) -> "subprocess.Popen[str]":
    names = (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
        "POLARS_MAX_THREADS",
        "BLOSC_NTHREADS",
    )
    environment = os.environ | dict.fromkeys(names, str(threads))
    return subprocess.Popen(list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _ask(worker: "subprocess.Popen[str]", id_: str) -> Finished:
    assert worker.stdin is not None
    assert worker.stdout is not None
    try:
        worker.stdin.write(id_ + "\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
    except (BrokenPipeError, ValueError):
        line = ""
    if line.strip():
        return Finished(id_, json.loads(line))
    code = worker.wait()
    death = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return Finished(id_, None, death)


def _end(worker: "subprocess.Popen[str]") -> None:
    """Close the worker's input, which is its sign to leave; it also leaves by itself when this process dies."""
    with contextlib.suppress(OSError):
        if worker.stdin is not None:
            worker.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(timeout=10)
        return
    worker.kill()
