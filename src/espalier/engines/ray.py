"""Ray: chunks of ids as tasks that stream their answers back, on a cluster of this machine alone or on a site's own.

A cluster that is started here listens on loopback only, has no dashboard and tells nobody that it is used.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from espalier.engines.chunk import TRIES, Chunk, run_chunk
from espalier.engines.gpus import visible_gpus
from espalier.engines.local import Finished
from espalier.engines.site import Site
from espalier.errors import MissingError, ResourceError

ALONE: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's only switch by which all its servers listen on loopback: otherwise it takes the address other machines see.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
WAIT_S: Final = 1.0


@dataclass(kw_only=True, slots=True)
class _Task:
    """A chunk at work, with what it lacks; tasks are told apart by themselves."""

    chunk: Chunk
    left: list[str]


def run(whole: Chunk, *, site: Site) -> Generator[Finished]:
    """Work on ids in Ray tasks and yield each as it finishes.

    Parameters
    ----------
    whole
        All ids, and the command and limits of each task's work. All nodes see the study's folder at the same path.
    site
        What one task gets, and which cluster is used.

    Raises
    ------
    MissingError
        Where Ray is not installed.
    ResourceError
        Where there is no cluster at the site's address, or none can be started.
    """
    with _cluster(site):
        size = 1 if whole.resumes else site.per_job(len(whole.ids))
        waiting = [replace(whole, ids=whole.ids[n : n + size]) for n in range(0, len(whole.ids), size)][::-1]
        yield from _watch(waiting, site)


def _watch(waiting: list[Chunk], site: Site) -> Iterator[Finished]:
    """Keep as many tasks at work as the site wants; an id with which a node was lost is tried once more alone."""
    import ray

    tasks: dict[Any, _Task] = {}
    tries: dict[str, int] = {}
    try:
        while waiting or tasks:
            while waiting and len(tasks) < site.jobs:
                chunk = waiting.pop()
                tasks[_start(chunk, site)] = _Task(chunk=chunk, left=list(chunk.ids))
            for stream in ray.wait(list(tasks), num_returns=1, timeout=WAIT_S)[0]:
                task = tasks[stream]
                try:
                    one = ray.get(next(stream))
                except StopIteration:
                    del tasks[stream]
                except ray.exceptions.RayError:
                    del tasks[stream]
                    yield from _lost(task, waiting, tries)
                else:
                    task.left.remove(one.id)
                    yield one
    finally:
        for stream in tasks:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(stream, force=True)


def _start(chunk: Chunk, site: Site) -> Any:
    import ray

    resources = {
        "num_cpus": site.cpus,
        "num_gpus": site.gpus,
        "memory": int(site.memory_gb * 1e9) if site.ray.address else None,
    }
    environment = {"env_vars": dict(site.variables)} if site.variables else None
    task = ray.remote(_work).options(max_retries=0, num_returns="streaming", runtime_env=environment, **resources)
    return task.remote(chunk)


def _work(chunk: Chunk) -> Iterator[Finished]:
    yield from run_chunk(chunk, chunk.ids)


def _lost(task: _Task, waiting: list[Chunk], tries: dict[str, int]) -> Iterator[Finished]:
    """Put back what a lost task did not finish; those it was at come alone, and not more than twice."""
    at_work, others = task.left[: task.chunk.workers], task.left[task.chunk.workers :]
    if others:
        waiting.append(replace(task.chunk, ids=tuple(others)))
    for id_ in at_work:
        tries[id_] = tries.get(id_, 0) + 1
        if tries[id_] < TRIES:
            waiting.insert(0, replace(task.chunk, ids=(id_,)))
        else:
            yield Finished(id_, None, "its Ray task was lost twice", "worker_died")


@contextmanager
def _cluster(site: Site) -> Iterator[None]:
    """Hold a connection to the site's cluster, or a cluster of this machine alone."""
    own = ALONE if site.ray.address is None else {}
    before = {name: os.environ.get(name) for name in own}
    os.environ |= own
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        _connect(site)
        # Ray takes the signal for itself, and keeps it.
        signal.signal(signal.SIGTERM, on_term)
        yield
    finally:
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _connect(site: Site) -> None:
    try:
        import ray
    except ImportError as error:
        raise MissingError("ray", found="not installed", do='Install it with pip install "espalier[ray]".') from error
    address = site.ray.address
    if address is None:
        cpus = min(site.jobs * site.cpus, max(site.cpus, os.cpu_count() or 1))
        told: dict[str, Any] = {
            "address": "local",
            "num_cpus": cpus,
            "num_gpus": len(visible_gpus()),
            "include_dashboard": False,
        }
    else:
        told = {"address": address}
        _knock(address)
    try:
        ray.init(**told, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _no_cluster(address) from error
    if address is None and not ray.util.get_node_ip_address().startswith("127."):
        found = "this process loaded Ray before, so that other machines could reach the cluster"
        raise ResourceError(
            "Ray", found=found, do="Run the work in a process of its own, or name a cluster in the site profile."
        )


def _knock(address: str) -> None:
    """Raise where nobody listens; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "/" in host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=20).close()
    except OSError as error:
        raise _no_cluster(address) from error


def _no_cluster(address: str | None) -> ResourceError:
    if address is None:
        return ResourceError("Ray", found="a cluster of this machine could not be started", do="Use --on local.")
    return ResourceError(address, found="no cluster there", do="Mend [ray] address in the site profile.")
