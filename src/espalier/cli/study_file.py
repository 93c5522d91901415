"""The arguments that every verb on a study shares."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from espalier.engines.place import HERE, Place
from espalier.engines.site import EngineName, read_site
from espalier.errors import UseError

StudyPath = Annotated[Path, Parameter(help="The study file, or the folder it lies in.")]
Changes = Annotated[
    tuple[str, ...],
    Parameter(name="--set", help="Change one setting: --set training.epochs=2", negative=(), consume_multiple=False),
]
Workers = Annotated[int, Parameter(help="Processes side by side; changes no result.")]
WORKERS = os.cpu_count() or 1
On = Annotated[EngineName, Parameter(name="--on", help="Where the work runs; changes no result.")]
SitePath = Annotated[
    Path | None,
    Parameter(name="--site", help="The profile of the cluster; else ~/.config/espalier/site.toml, where there is one."),
]


def place_of(on: EngineName, site: Path | None) -> Place:
    """Return where the work runs, with what the site's profile says.

    Raises
    ------
    UseError
        For a profile that no work on this machine would read.
    """
    if on == "local":
        if site is not None:
            raise UseError("--site", found="work on this machine", expected="--on slurm or ray", do="Add one, or drop --site.")
        return HERE
    return Place(engine=on, sites=read_site(site))
