"""What the values of a mask mean where its file does not say: a list beside it, or that of a published data set."""

import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from espalier.errors import InputError

LABELS: Final = "labels.json"
DATASET: Final = "dataset.json"
"""nnU-Net's description of a data set, which it also writes beside its predictions."""
LISTS: Final = (LABELS, DATASET)
LARGEST_BYTES: Final = 1 << 20
RATIC: Final = "ratic"
_CT_RATE: Final = re.compile(r"(?:^|[/_])(ts_total|ts_lung_nodules|ts_pleural_pericard_effusion)(?=[/_])")
_RATIC: Final = re.compile(r"(?:^|/)segmentations/[0-9]{1,5}\.nii(?:\.gz)?$")


def names_beside(path: Path, root: Path) -> dict[int, str]:
    """Return the names in the nearest `labels.json` or `dataset.json` beside a mask or above it, up to `root`; or none.

    Raises
    ------
    InputError
        When such a file holds no list of names.
    """
    for folder in (path.parent, *path.parent.parents):
        for name in LISTS:
            if (folder / name).is_file():
                return read_labels_file(folder / name)
        if folder == root:
            break
    return {}


def published_list(name: str, root: Path) -> str:
    """Return which published list is that of a mask, by the folders in its path or before its flattened name; or "".

    Parameters
    ----------
    name
        The mask's path below `root`.
    root
        The folder of masks, whose own name counts too.
    """
    place = f"{root.name}/{name}"
    found = _CT_RATE.search(place)
    return found[1] if found else RATIC if _RATIC.search(place) else ""


@cache
def names_in_list(which: str) -> Mapping[int, str]:
    """Return a published list: what each value is called."""
    return dict(enumerate(_lists()[which], start=1))


def names_of(told: str, folder: Path) -> Mapping[int, str]:
    """Return a published list by its name, or the names in a JSON file relative to `folder`; raise as `read_labels_file`."""
    return names_in_list(told) if told in _lists() else read_labels_file(folder / told)


@cache
def known_names() -> frozenset[str]:
    """Return every name of the published lists."""
    return frozenset(name for names in _lists().values() for name in names)


def read_labels_file(path: Path) -> dict[int, str]:
    """Return the names of a `labels.json` or `dataset.json`, written as value to name or name to value.

    nnU-Net's `labels` are taken where there are any; its regions, which are several values each, are left out.

    Raises
    ------
    InputError
        When it holds no list of mask values and names.
    """
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(LARGEST_BYTES))
        return named_values(content["labels"] if isinstance(content.get("labels"), dict) else content)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            path, found="not a list of mask values and names", expected='{"1": "liver", …}', do="Correct that file."
        ) from error


def named_values(content: Mapping[Any, Any]) -> dict[int, str]:
    """Return value to name from a table of value to name, or of name to value; 0 is background and left out.

    Raises
    ------
    ValueError
        Where neither the keys nor the values are whole numbers from 0 to 255, or one value has two names.
    """
    names: dict[int, str] = {}
    for key, other in content.items():
        if isinstance(other, list):
            continue
        value, name = (key, other) if _is_value(key) else (other, key)
        if not _is_value(value) or not isinstance(name, str) or not 0 <= int(value) <= 255:
            raise ValueError(f"{key!r} and {other!r} are no mask value and its name")
        if names.setdefault(int(value), name) != name:
            raise ValueError(f"value {value} has two names")
    names.pop(0, None)
    return names


def _is_value(cell: object) -> bool:
    return (isinstance(cell, int) and not isinstance(cell, bool)) or (
        isinstance(cell, str) and len(cell) <= 3 and cell.isascii() and cell.isdigit()
    )


@cache
def _lists() -> dict[str, list[str]]:
    return tomllib.loads((files("espalier.masks") / "label_lists.toml").read_text(encoding="utf-8"))
