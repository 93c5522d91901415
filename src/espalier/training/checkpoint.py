"""Where a run goes on after it was killed: whole files with their own hash, the last two kept."""

import hashlib
import io
from pathlib import Path
from typing import Any, Final

import torch

from espalier.outputs import written_whole

KEPT: Final = 2
MAGIC: Final = b"espalier checkpoint 1 "


def save_checkpoint(folder: Path, state: dict[str, Any], *, step: int, key: str) -> Path:
    """Write the state after `step` steps and remove all but the last two.

    Parameters
    ----------
    folder
        Of the run's checkpoints.
    state
        Tensors and plain values; nothing that needs code to be read.
    step
        Steps done.
    key
        Hash of all that the run depends on; a checkpoint of another key is never read.
    """
    stream = io.BytesIO()
    torch.save({"key": key, "step": step, "state": state}, stream)
    payload = stream.getbuffer()
    path = folder / f"step-{step:08d}.pt"
    with written_whole(path) as partial, partial.open("wb") as file:
        file.write(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n")
        file.write(payload)
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path, *, key: str) -> dict[str, Any] | None:
    """Return the newest sound state of this key, or None; broken files and other keys are passed over and removed."""
    for path in _newest_first(folder):
        content = _read(path)
        if content is not None and content["key"] == key:
            state: dict[str, Any] = content["state"]
            return state
        path.unlink(missing_ok=True)
    return None


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"), reverse=True)


def _read(path: Path) -> dict[str, Any] | None:
    whole = path.read_bytes()
    start = len(MAGIC) + 64 + 1
    hashed = whole[len(MAGIC) : start - 1]
    payload = whole[start:]
    if whole[: len(MAGIC)] != MAGIC or hashlib.sha256(payload).hexdigest().encode() != hashed:
        return None
    content: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return content
