"""Espalier trains CT diagnosis models against a lattice of free anatomy, and proves whether the lattice helped."""

from importlib import import_module
from typing import Any, Final

__version__: Final = "0.1.0"

_WHERE: Final = {
    "EspalierError": "espalier.errors",
    "Volume": "espalier.cohort.volume",
    "mask_loss": "espalier.training.mask_loss",
    "open_store": "espalier.store.read",
    "open_bundle": "espalier.deployment.bundle",
    "preprocess": "espalier.store.preprocess",
    "read_study": "espalier.study",
}
__all__ = sorted([*_WHERE, "__version__"])


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that `import espalier` loads no heavy library."""
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'espalier' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
