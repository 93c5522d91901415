"""Virtual environments of segmenters, whose pins fight with ours: made whole or not at all, and found by name.

What an environment `NAME` holds stands in `pins/NAME.toml`: the packages that are asked for, and a version of each package.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

from espalier.errors import MissingError, ResourceError, UseError
from espalier.outputs import hash_of, key_of, locked, write_json

VARIABLE: Final = "ESPALIER_ENVIRONMENTS"
"""The environment variable that names another place for environments than the user's data folder."""

STDERR: Final = 2
COMPLETE: Final = "environment.json"
"""Written last into an environment; one without it is taken for absent."""


def environment_names() -> tuple[str, ...]:
    """Return the names of the environments that can be made."""
    return tuple(sorted(p.name.removesuffix(".toml") for p in _pins_folder().iterdir() if p.name.endswith(".toml")))


def environments_folder() -> Path:
    """Return where environments lie: `ESPALIER_ENVIRONMENTS`, else `espalier/environments` in the user's data folder."""
    if given := os.environ.get(VARIABLE):
        return Path(given).absolute()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data).absolute() / "espalier" / "environments"


def environment_python(name: str, *, given: str | None = None, folder: Path) -> Path:
    """Return the Python of an environment.

    Parameters
    ----------
    name
        One of `environment_names`.
    given
        A virtual environment to take instead, relative to `folder`.
    folder
        The study's folder.

    Raises
    ------
    MissingError
        When it is not there, was not made to its end, or was made with other pins.
    """
    root = folder / given if given is not None else environments_folder() / name
    python = root / "bin" / "python"
    do = f"Run `espalier doctor --install {name}`."
    if given is not None:
        if not python.is_file():
            raise MissingError(root, found="no bin/python in it", expected="a virtual environment", do="Correct its path.")
        return python
    made_with = key_of(root / COMPLETE)
    if made_with is None or not python.is_file():
        raise MissingError(root, found=f"no environment of {name}", expected="one with pinned versions", do=do)
    if made_with != _key(name):
        raise MissingError(root, found=f"an environment of {name} with other pins", expected="those of this version", do=do)
    return python


def installed_versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of those of `packages` that an environment holds, without starting its Python."""
    places = [str(p) for p in sorted(python.parent.parent.glob("lib*/python3*/site-packages"))]
    wanted = {name.lower().replace("_", "-"): name for name in packages}
    found = {}
    for distribution in importlib.metadata.distributions(path=places):
        name = str(distribution.metadata["Name"]).lower().replace("_", "-")
        if name in wanted:
            found[wanted[name]] = distribution.version
    return found


def install_environment(name: str) -> Path:
    """Make an environment with its pinned versions by pip, in the place of an older one, and return its folder.

    Its Python is of the version that runs this. pip's own settings hold: mirrors, proxies, cache.

    Raises
    ------
    UseError
        For an unknown name.
    ResourceError
        When pip fails, or another process is making environments; nothing half-made is left then.
    """
    recipe = _recipe(name)
    root = environments_folder() / name
    with locked(environments_folder()):
        if key_of(root / COMPLETE) == _key(name):
            return root
        shutil.rmtree(root, ignore_errors=True)
        try:
            _install(root, recipe)
            told = {"name": name, "pins": recipe["pins"], "python": sys.version.split()[0]}
            write_json(root / COMPLETE, told, kind="folder", key=_key(name))
        except BaseException:
            shutil.rmtree(root, ignore_errors=True)
            raise
    return root


def describe_environment(name: str) -> str:
    """Return a line that says where an environment is and what it holds, or how to make it."""
    try:
        python = environment_python(name, folder=Path())
    except MissingError as error:
        return f"{error.found}: espalier doctor --install {name}"
    packages = _recipe(name)["packages"][:2]
    held = ", ".join(f"{package} {version}" for package, version in installed_versions(python, packages).items())
    return f"{held} in {python.parent.parent}"


def _install(root: Path, recipe: Mapping[str, list[str]]) -> None:
    root.mkdir(parents=True)
    constraints = root / "constraints.txt"
    constraints.write_text("\n".join(recipe["pins"]) + "\n", encoding="utf-8")
    python = str(root / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--constraint", str(constraints)]
    for command in ([sys.executable, "-m", "venv", str(root)], [*pip, *recipe["packages"]]):
        # Progress is for people; stdout belongs to what the verb says in the end.
        if subprocess.run(command, stdout=STDERR, check=False).returncode:
            raise ResourceError(
                root,
                found=f"`{' '.join(command[1:4])}` failed",
                expected="all packages with their pinned versions",
                do="Read what it said above, mend the cause (network, mirror, room on the disk), then run the same again.",
            )


def _recipe(name: str) -> Mapping[str, list[str]]:
    if name not in environment_names():
        known = ", ".join(environment_names())
        raise UseError(name, found="no environment of this name", expected=f"one of {known}", do="Correct the name.")
    return tomllib.loads((_pins_folder() / f"{name}.toml").read_text(encoding="utf-8"))


def _key(name: str) -> str:
    return hash_of(name, dict(_recipe(name)))


def _pins_folder() -> Path:
    return Path(str(files("espalier.masks") / "pins"))
