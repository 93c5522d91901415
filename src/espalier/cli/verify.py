"""`espalier verify PATH`."""

from pathlib import Path

from espalier.cli.speak import Told
from espalier.pipeline.describe import verify_path


def verify(path: Path) -> Told:
    """Rehash a store, a bundle or a whole study's folder against what was recorded when it was made."""
    checked = verify_path(path)
    return Told(
        lines=tuple(f"{name}: {count} files as recorded" for name, count in checked.items()), data={"verified": checked}
    )
