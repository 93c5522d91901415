"""Where work runs: here, in Slurm jobs or on Ray. It changes no result, so the rooms above need not know."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from espalier.engines import local
from espalier.engines.chunk import Chunk, node_command
from espalier.engines.local import Finished
from espalier.engines.site import EngineName, Site


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """An engine, and by stage what a job gets there (`""`: all other stages)."""

    engine: EngineName = "local"
    sites: Mapping[str, Site] = field(default_factory=dict)

    def site(self, stage: str) -> Site:
        """Return what a job of a stage gets."""
        return self.sites.get(stage) or self.sites.get("") or Site()

    @property
    def is_here(self) -> bool:
        """Whether work runs in processes of this machine that the caller itself starts."""
        return self.engine == "local"


HERE: Final = Place()
_PLACE: ContextVar[Place] = ContextVar("place", default=HERE)


@contextmanager
def working_at(place: Place) -> Iterator[None]:
    """Let all scan-wise work of the block run at `place`."""
    token = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(token)


def place_of_work() -> Place:
    """Return where work runs."""
    return _PLACE.get()


def run(
    command: Sequence[str],
    ids: Sequence[str],
    *,
    stage: str,
    folder: Path,
    key: str,
    workers: int,
    threads: int = 1,
    timeout_s: float | None = None,
    memory_gb: float | None = None,
    gpus: Sequence[str] = (),
    resumes: bool = False,
) -> Generator[Finished]:
    """Feed `ids` to copies of `command` where work runs, and yield each as it finishes.

    Parameters
    ----------
    command, ids, threads, timeout_s, memory_gb
        As `local.run` takes them; the same everywhere.
    stage, folder, key
        Where jobs of a cluster leave what they have, and the hash of all that it depends on.
    workers, gpus
        Of this machine; on a cluster the site's profile says.
    resumes
        An id goes on where it stopped, and is a job of its own.
    """
    place = place_of_work()
    if place.is_here:
        yield from local.run(
            command, ids, workers=workers, threads=threads, timeout_s=timeout_s, memory_gb=memory_gb, gpus=gpus
        )
        return
    site = place.site(stage)
    whole = Chunk(
        command=node_command(command),
        ids=tuple(ids),
        workers=1 if resumes else site.side_by_side(threads),
        threads=threads,
        timeout_s=timeout_s,
        memory_gb=memory_gb,
        resumes=resumes,
    )
    if place.engine == "slurm":
        from espalier.engines import slurm

        yield from slurm.run(whole, site=site, folder=folder, stage=stage, key=key)
    else:
        from espalier.engines import ray

        yield from ray.run(whole, site=site)
