"""`espalier doctor`."""

from typing import Annotated

from cyclopts import Parameter

from espalier.cli.speak import Told
from espalier.masks.environments import install_environment
from espalier.pipeline.doctor import examine


def doctor(*, install: Annotated[tuple[str, ...], Parameter(negative=(), consume_multiple=False)] = ()) -> Told:
    """Tell what this machine can do, and what to install for the rest.

    Parameters
    ----------
    install
        First make a segmenter's own virtual environment with pinned versions, for instance `totalsegmentator` (7 GB).
    """
    for name in install:
        install_environment(name)
    findings = examine()
    width = max(len(name) for name in findings)
    return Told(lines=tuple(f"{name:<{width}}  {words}" for name, words in findings.items()), data=findings)
