"""The files of a segmenter's model, known by their hashes: checked before anything of them is unpickled."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from espalier.errors import AlteredError, InputError, MissingError
from espalier.outputs import hash_file, inside

SUMS: Final = "weights.sha256"
"""In the folder of weights, as `sha256sum` writes it: the hashes that are wanted, from whoever vouches for them."""
LINE: Final = re.compile(r"([0-9a-fA-F]{64}) [ *](.+)")


def hash_weights(weights: Path, names: Sequence[str], *, do: str) -> dict[str, str]:
    """Return the SHA-256 of each file of a model, by its name relative to the folder of weights.

    Parameters
    ----------
    weights
        The folder of weights. Where it holds a `weights.sha256`, that must name each of the files with its hash.
    names
        The files.
    do
        How to get them.

    Raises
    ------
    MissingError
        When one is not there.
    AlteredError
        When one is not what `weights.sha256` says.
    """
    for name in names:
        if not (weights / name).is_file():
            raise MissingError(weights / name, found="no such file of weights", expected="the model of the task", do=do)
    hashes = {name: hash_file(weights / name) for name in names}
    if (weights / SUMS).is_file():
        check_hashes(weights, hashes, _read_sums(weights / SUMS), do=f"Get the weights again, or correct {SUMS}.")
    return hashes


def check_hashes(weights: Path, hashes: Mapping[str, str], expected: Mapping[str, str], *, do: str) -> None:
    """Raise `AlteredError` where a file has another hash than the expected one, or none is known for it."""
    for name, found in hashes.items():
        if expected.get(name) != found:
            wanted = f"{expected[name][:12]}…" if name in expected else "a hash that is known"
            raise AlteredError(weights / name, found=f"its SHA-256 is {found[:12]}…", expected=wanted, do=do)


def _read_sums(path: Path) -> dict[str, str]:
    sums = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        told = LINE.fullmatch(line.rstrip())
        if told is None:
            raise InputError(
                path, found="a line that is no hash and name", expected="what `sha256sum` writes", do="Make it anew."
            )
        name = inside(path.parent, told[2]).relative_to(path.parent.resolve()).as_posix()
        sums[name] = told[1].lower()
    return sums
