"""Here: a few worker processes that take ids on their standard input and answer with one JSON line each.

A worker that dies, hangs or takes too much memory costs one id, which is tried once more alone. Nothing here knows what
a stage does.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any, Final, Literal

from espalier.errors import ResourceError

THREAD_SETTINGS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
    "POLARS_MAX_THREADS",
    "BLOSC_NTHREADS",
)
OUT_OF_MEMORY: Final = 71
"""The exit code by which a worker says that it ran out of memory; `EX_OSERR` of `sysexits.h`."""
TICK_S: Final = 0.1
"""Limits and the caller's wish to stop are looked at this often."""
AGAIN_AT: Final = 8
"""So many ids wait for their second try before the others pause for it; if all ids die, the caller soon hears of it."""
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

Worker = subprocess.Popen[bytes]
Code = Literal["", "worker_died", "timed_out", "out_of_memory"]


@dataclass(frozen=True, slots=True)
class Finished:
    """One id with the worker's answer or, where there is none, how the worker died: in words and as a stable code."""

    id: str
    answer: dict[str, Any] | None
    death: str = ""
    code: Code = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    command: tuple[str, ...]
    threads: int
    timeout_s: float | None
    memory_gb: float | None
    gpus: tuple[str, ...]
    begin: Callable[[str], None] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Crew:
    """What the threads share, one thread for each worker process; without `again` there is no second try."""

    plan: _Plan
    waiting: deque[str]
    again: deque[str] | None
    finished: "Queue[Finished | Exception | None]"
    stop: Event


def run(
    command: Sequence[str],
    ids: Sequence[str],
    *,
    workers: int,
    threads: int = 1,
    timeout_s: float | None = None,
    memory_gb: float | None = None,
    gpus: Sequence[str] = (),
    begin: Callable[[str], None] | None = None,
) -> Generator[Finished]:
    """Feed `ids` to `workers` copies of `command` and yield each as it finishes.

    An id whose worker dies, or is killed for one of the limits, is tried once more with no other worker beside it and
    twice the memory; only then it is yielded without an answer.

    Parameters
    ----------
    command
        A program that reads ids, one a line, and prints for each a line with one JSON object that holds the `id`, so
        that no answer is taken for another's; all else goes to stderr. It runs in a process group of its own, which is
        killed as a whole.
    ids
        What to work on.
    workers
        Processes side by side.
    threads
        Value of `OMP_NUM_THREADS` and its like in each worker, so that workers do not fight for cores.
    timeout_s
        Longest time for one id, in seconds; the first id of a worker pays for the worker's start.
    memory_gb
        Most memory (10^9 bytes) that a worker and the processes it started may hold, without what they share with
        files. It is looked at ten times a second and only where there is a `/proc`.
    gpus
        Names of GPUs, one after the other the only one that a worker sees; without any they are left as they are.
    begin
        Called with each id when a worker takes it, from whichever thread.

    Raises
    ------
    ResourceError
        When a worker cannot be started.
    """
    own = {"command": tuple(command), "gpus": tuple(gpus)}
    plan = _Plan(**own, threads=threads, timeout_s=timeout_s, memory_gb=memory_gb, begin=begin)
    alone = replace(plan, memory_gb=2 * memory_gb if memory_gb else None)
    waiting, again = deque(ids), deque[str]()
    while waiting:
        yield from _crew(plan, waiting, again, size=min(workers, len(waiting)))
        while again:
            yield from _crew(alone, deque([again.popleft()]), None, size=1)


def _crew(plan: _Plan, waiting: deque[str], again: deque[str] | None, *, size: int) -> Generator[Finished]:
    """Let workers take ids until none waits or several wait for their second try; leave no worker behind."""
    crew = _Crew(plan=plan, waiting=waiting, again=again, finished=Queue(maxsize=max(1, 2 * size)), stop=Event())
    threads = [Thread(target=_serve, args=(crew, slot), daemon=True) for slot in range(max(1, size))]
    for thread in threads:
        thread.start()
    try:
        running = len(threads)
        while running:
            one = crew.finished.get()
            if isinstance(one, Exception):
                raise one
            if one is None:
                running -= 1
            else:
                yield one
    finally:
        crew.stop.set()
        while any(thread.is_alive() for thread in threads):
            with contextlib.suppress(Empty):
                crew.finished.get(timeout=TICK_S / 10)


def _serve(crew: _Crew, slot: int) -> None:
    """Serve one worker. The thread outlives it: the kernel takes the end of the thread for the end of the parent."""
    worker: Worker | None = None
    try:
        while not crew.stop.is_set() and len(crew.again or ()) < AGAIN_AT:
            try:
                id_ = crew.waiting.popleft()
            except IndexError:
                break
            if crew.plan.begin is not None:
                crew.plan.begin(id_)
            worker = worker or _start(crew.plan, slot)
            one = _ask(worker, id_, crew.plan, crew.stop)
            if one.answer is None:
                worker = None
            if one.answer is None and crew.again is not None:
                crew.again.append(id_)
            else:
                crew.finished.put(one)
    except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
        crew.finished.put(error)
    finally:
        if worker is not None:
            _end(worker, patience_s=0 if crew.stop.is_set() else 10)
        crew.finished.put(None)


def _start(plan: _Plan, slot: int) -> Worker:
    environment = os.environ | dict.fromkeys(THREAD_SETTINGS, str(plan.threads))
    if plan.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = plan.gpus[slot % len(plan.gpus)]
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(plan.command, stdin=pipe, stdout=pipe, bufsize=0, env=environment, process_group=0)
    except OSError as error:
        raise ResourceError(
            "a worker process",
            found=f"could not be started ({error.strerror})",
            do="Free memory and processes, then run the same command again.",
        ) from error


def _ask(worker: Worker, id_: str, plan: _Plan, stop: Event) -> Finished:
    """Return the worker's answer, or how it died; a worker without an answer is gone afterwards."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    ears = select.poll()
    ears.register(worker.stdout, select.POLLIN)
    begun, answer = time.monotonic(), bytearray()
    with contextlib.suppress(BrokenPipeError):
        worker.stdin.write(id_.encode() + b"\n")
    while not stop.is_set():
        if ears.poll(TICK_S * 1000):
            piece = os.read(worker.stdout.fileno(), 1 << 16)
            answer += piece
            if b"\n" in piece:
                return _understood(worker, id_, bytes(answer))
            if not piece:
                return _dead(worker, id_)
        elif _has_ended(worker) and not ears.poll(0):
            return _dead(worker, id_)
        if plan.timeout_s is not None and time.monotonic() - begun > plan.timeout_s:
            return _dead(worker, id_, f"killed after {plan.timeout_s:g} s", "timed_out")
        if plan.memory_gb is not None and _private_bytes(worker.pid) > plan.memory_gb * 1e9:
            return _dead(worker, id_, f"killed at {plan.memory_gb:g} GB of memory", "out_of_memory")
    return _dead(worker, id_, "stopped", "worker_died")


def _understood(worker: Worker, id_: str, answer: bytes) -> Finished:
    try:
        told = json.loads(answer)
    except ValueError:
        told = None
    if isinstance(told, dict) and told.get("id") == id_:
        return Finished(id_, told)
    return _dead(worker, id_, "killed since it answered with something else than one JSON object of its id", "worker_died")


def _dead(worker: Worker, id_: str, death: str = "", code: Code = "") -> Finished:
    """Bury a worker; without words of ours its exit code tells how it died."""
    exit_code = _end(worker, patience_s=0 if death else 1)
    if death:
        return Finished(id_, None, death, code)
    if exit_code == OUT_OF_MEMORY:
        return Finished(id_, None, "ended for want of memory", "out_of_memory")
    if exit_code < 0:
        name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
        return Finished(id_, None, f"killed by {name}", "worker_died")
    return Finished(id_, None, f"ended with exit code {exit_code}", "worker_died")


def _end(worker: Worker, *, patience_s: float) -> int:
    """Close the worker's input, which is its sign to leave, then kill what is left of its group; return its exit code."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.close()
    patient_until = time.monotonic() + patience_s
    while not _has_ended(worker) and time.monotonic() < patient_until:
        time.sleep(TICK_S / 10)
    # Killed before it is reaped: until then nobody else can have its number.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.stdout.close()
    # A worker that hangs in the kernel, as on a lost network disk, does not even die; the others go on without it.
    with contextlib.suppress(subprocess.TimeoutExpired):
        return worker.wait(timeout=5)
    return -signal.SIGKILL


def _has_ended(worker: Worker) -> bool:
    """Tell whether the worker is dead, without reaping it."""
    try:
        return os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _private_bytes(pid: int) -> int:
    """Return the memory of a process and of those below it, without what is shared with files; 0 where it is gone."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    children: list[str] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            children += (thread / "children").read_text(encoding="ascii").split()
    return (int(resident) - int(shared)) * PAGE_BYTES + sum(_private_bytes(int(child)) for child in children)


def die_with_parent() -> None:
    """Let the kernel kill this worker when the process that started it dies, so that no orphan goes on writing."""
    with contextlib.suppress(OSError, AttributeError):
        import ctypes

        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
