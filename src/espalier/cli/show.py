"""`espalier show PATH`."""

from pathlib import Path

from espalier.cli.speak import Told
from espalier.pipeline.describe import describe


def show(path: Path, *, scan: str | None = None) -> Told:
    """Tell what a file or folder of Espalier's is, and what stands in it; for cohort.parquet write its page, cohort.html.

    Parameters
    ----------
    path
        The file or folder.
    scan
        Tell why this scan of cohort.parquet was chosen, noted or set aside, and why not another series of its study. A
        scan's id, or its series UID, study UID, accession number or patient id as the tables hold them.
    """
    description = describe(path, scan=scan)
    return Told(lines=description.lines, data=description.data)
