"""What a cluster's site profile says: how much one job gets, how many run side by side, and how a node is made ready."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from espalier.errors import SettingsError
from espalier.settings import merged, parse, read_toml

EngineName = Literal["local", "slurm", "ray"]
STAGES: Final = frozenset({"ingest", "label", "segment", "prepare", "train", "evaluate"})
SCANS_PER_JOB: Final = 200
JOBS_IN_ALL: Final = 1000
"""Slurm's own default for the longest array is 1001."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmOptions:
    """What Slurm asks for; what is left out is left to the cluster's own defaults."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RayOptions:
    """Which Ray cluster is used.

    Attributes
    ----------
    address
        Of a running cluster (`host:port`, or `auto` on one of its nodes). Without one a cluster is started on this
        machine alone, reachable from nowhere else, and ended with the run.
    """

    address: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """What one job gets, and how many there are.

    Attributes
    ----------
    cpus, gpus
        Of one job.
    memory_gb
        Of one job, in 10^9 bytes.
    minutes
        Longest time of one job. One that needs more is put back in the queue and goes on where it stopped.
    jobs
        At most so many run side by side.
    workers
        Processes side by side in one job; one for each GPU, else one for each CPU, when left out.
    scans_per_job
        So many scans are worked on by one job, one after another, so that a model is loaded once for all of them.
    modules
        Names that a node loads by `module load` first.
    setup
        Lines of bash that a node runs first, as `source /shared/espalier/bin/activate`.
    python
        The Python of the nodes, where it is not at the path of this one.
    variables
        Environment variables of the nodes.
    slurm, ray
        What one of the two alone understands.
    stages
        Per stage the settings that differ for it: `[stages.train] gpus = 1`.
    """

    cpus: int = 1
    gpus: int = 0
    memory_gb: float = 8.0
    minutes: int = 240
    jobs: int = 50
    workers: int | None = None
    scans_per_job: int | None = None
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    python: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    slurm: SlurmOptions = field(default_factory=SlurmOptions)
    ray: RayOptions = field(default_factory=RayOptions)
    stages: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("cpus", "memory_gb", "minutes", "jobs", "workers", "scans_per_job"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise ValueError(f"{name} is {value}: it must be above 0")
        if self.gpus < 0:
            raise ValueError(f"gpus is {self.gpus}: it must not be negative")
        if unknown := sorted(set(self.stages) - STAGES):
            raise ValueError(f"stages.{unknown[0]} is no stage: name one of {', '.join(sorted(STAGES))}")

    def side_by_side(self, threads: int) -> int:
        """Return how many worker processes of so many threads one job runs."""
        return self.workers or self.gpus or max(1, self.cpus // threads)

    def per_job(self, ids: int) -> int:
        """Return how many ids one job works on, so that each place in the cluster gets several jobs."""
        wanted = self.scans_per_job or min(SCANS_PER_JOB, -(-ids // (4 * self.jobs)))
        return max(1, wanted, -(-ids // JOBS_IN_ALL))


def default_profile() -> Path:
    """Return where a user's own site profile lies."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "espalier" / "site.toml"


def read_site(path: Path | None) -> Mapping[str, Site]:
    """Return the profile by stage; under `""` what holds for all others.

    Parameters
    ----------
    path
        A TOML file; None reads the user's own (`~/.config/espalier/site.toml`), or takes the defaults without one.

    Raises
    ------
    SettingsError
        For every mistake of the file at once.
    """
    file = path or default_profile()
    if path is None and not file.is_file():
        return {"": Site()}
    tables = read_toml(file)
    shared = parse(Site, tables, source=file)
    whole = {name: value for name, value in tables.items() if name != "stages"}
    sites = {"": shared}
    for stage, own in shared.stages.items():
        if not isinstance(own, Mapping) or "stages" in own:
            raise SettingsError(file, found=f"[stages.{stage}] is no table of settings", do="Write it as a table.")
        sites[stage] = parse(Site, merged(whole, own), source=file)
    return sites
