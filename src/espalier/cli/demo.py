"""`espalier demo`."""

from pathlib import Path

from espalier.cli.speak import Told
from espalier.cli.study_file import WORKERS, Workers
from espalier.pipeline.demo import walk


def demo(out: Path = Path("demo"), *, workers: Workers = WORKERS) -> Told:
    """Walk the whole way on a made-up cohort: three arms, the comparison page, a bundle, one prediction; no downloads.

    Parameters
    ----------
    out
        A folder for everything; called again, the demo goes on where it stopped.
    """
    result = walk(out, workers=workers)
    return Told(lines=tuple(result["lines"]), data=result)
