"""`espalier show PATH`."""

from pathlib import Path

from espalier.cli.speak import Told
from espalier.pipeline.describe import describe


def show(path: Path) -> Told:
    """Tell what a file or folder of Espalier's is, and what stands in it."""
    data = describe(path)
    return Told(lines=tuple(f"{key}: {value}" for key, value in data.items()), data=data)
