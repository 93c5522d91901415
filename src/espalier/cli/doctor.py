"""`espalier doctor`."""

from espalier.cli.speak import Told
from espalier.pipeline.doctor import examine


def doctor() -> Told:
    """Tell what this machine can do, and what to install for the rest."""
    findings = examine()
    width = max(len(name) for name in findings)
    return Told(lines=tuple(f"{name:<{width}}  {words}" for name, words in findings.items()), data=findings)
