"""Templates of commands: words in which `{scan}`, `{mask}` and the like stand for files that each scan has of its own."""

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from espalier.errors import SettingsError
from espalier.masks.options import CommandOptions

PLACEHOLDER: Final = re.compile(r"\{([a-z_]+)(?::([^{}]*))?\}")
READ: Final = ("scan", "scan_folder", "folder")
WRITTEN: Final = ("mask", "mask_folder", "folder")
STUDY: Final = "study"
NAMED: Final = ("scan_folder", "folder")
"""Placeholders that may say under which name the scan lies in the folder: `{scan_folder:CT_scan.nii.gz}`."""
NNUNET_NAME: Final = "scan_0000.nii.gz"
"""The first channel of a scan as nnU-Net wants it named."""
SETTING: Final = "[masks.command] command"


@dataclass(frozen=True, kw_only=True, slots=True)
class Template:
    """A command as words, the program as a file, and where the scan lies and the mask is looked for in a scan's own folder."""

    words: tuple[str, ...]
    program: Path
    scan: PurePosixPath
    mask: PurePosixPath

    def filled(self, place: Path, study: Path) -> list[str]:
        """Return the words of the command for one scan.

        Parameters
        ----------
        place
            The scan's own folder.
        study
            The study's.
        """
        own = {
            "scan": place / self.scan,
            "scan_folder": place / "scans",
            "mask": place / self.mask,
            "mask_folder": place / self.mask,
            "folder": place / "scans",
            STUDY: study,
        }
        words = [PLACEHOLDER.sub(lambda found: str(own[found[1]]), word) for word in self.words[1:]]
        return [str(self.program), *words]


def read_template(options: CommandOptions, *, folder: Path) -> Template:
    """Return a command that can be run.

    Parameters
    ----------
    options
        `command`, `environment` and `variables` are used.
    folder
        The study's, to which a program and an environment with `/` in their names are relative.

    Raises
    ------
    SettingsError
        When there is no command, a placeholder is unknown, it reads no scan or writes no mask, or there is no such program.
    """
    try:
        words = tuple(shlex.split(options.command))
    except ValueError as error:
        raise _wrong(f"words that do not end ({error})", "quotes in pairs") from error
    if not words:
        raise _wrong("no command", "a program and its words, with {scan} and {mask}")
    found = [(name, told) for word in words for name, told in PLACEHOLDER.findall(word)]
    names = {name for name, _ in found}
    if unknown := sorted(names - {*READ, *WRITTEN, STUDY}):
        raise _wrong(f"{{{unknown[0]}}}", f"one of {', '.join(f'{{{n}}}' for n in dict.fromkeys((*READ, *WRITTEN, STUDY)))}")
    for role, wanted in (("reads no scan", READ), ("writes no mask", WRITTEN)):
        own = [name for name in wanted if name in names]
        if len(own) != 1:
            what = role if not own else f"{' and '.join(f'{{{n}}}' for n in own)} at once"
            raise _wrong(f"a command that {role}" if not own else what, f"one of {', '.join(f'{{{n}}}' for n in wanted)}")
    if PLACEHOLDER.search(words[0].replace(f"{{{STUDY}}}", "")):
        raise _wrong("a program whose name changes with the scan", "a program")
    scan = _scan_name(found)
    mask = PurePosixPath("mask.nii.gz" if "mask" in names else "masks" if "mask_folder" in names else "scans")
    return Template(words=words, program=_program(words[0], options, folder), scan=scan, mask=mask)


def environment_of(options: CommandOptions, *, folder: Path) -> dict[str, str]:
    """Return the environment variables that the command sees.

    Those of this process, without what says where this process's own packages are; then the virtual environment, whose
    programs are found first; then the study's own variables.
    """
    ours = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP"}
    variables = {name: value for name, value in os.environ.items() if name not in ours}
    if options.environment is not None:
        root = folder / options.environment
        variables |= {"VIRTUAL_ENV": str(root), "PATH": f"{root / 'bin'}{os.pathsep}{variables.get('PATH', os.defpath)}"}
    return variables | dict(options.variables)


def _scan_name(found: Sequence[tuple[str, str]]) -> PurePosixPath:
    """Return where the scan lies in its own folder; refuse a name that leads out of it, or is no NIfTI file's."""
    told = {name for placeholder, name in found if name and placeholder in NAMED}
    odd = [f"{{{placeholder}:{name}}}" for placeholder, name in found if name and placeholder not in NAMED]
    if odd or len(told) > 1:
        raise _wrong(odd[0] if odd else "two names for the scan", "one name, in {scan_folder:NAME} or {folder:NAME}")
    if not any(placeholder in NAMED for placeholder, _ in found):
        return PurePosixPath("scan.nii.gz")
    name = PurePosixPath(told.pop() if told else NNUNET_NAME)
    if name.is_absolute() or ".." in name.parts or not name.name.endswith((".nii", ".nii.gz")):
        raise _wrong(f"the name {name}", "a file ending in .nii or .nii.gz within its folder")
    return "scans" / name


def _program(word: str, options: CommandOptions, folder: Path) -> Path:
    word = word.replace(f"{{{STUDY}}}", str(folder))
    path = environment_of(options, folder=folder).get("PATH", os.defpath)
    if options.environment is not None and not (folder / options.environment / "bin").is_dir():
        found, do = "no bin/ in it", "Correct its path, or make the environment."
        raise SettingsError("[masks.command] environment", found=found, expected="a virtual environment", do=do)
    found_at = shutil.which(str(folder / word) if "/" in word else word, path=path)
    if found_at is None:
        where = "in its environment or on PATH" if "/" not in word else "there"
        do = "Install it, correct its name, or name its environment in [masks.command] environment."
        raise SettingsError(SETTING, found=f"no program {word} {where}", expected="a program that can be run", do=do)
    return Path(found_at).absolute()


def _wrong(found: str, expected: str) -> SettingsError:
    return SettingsError(SETTING, found=found, expected=expected, do="Correct the command.")


def named_in(words: Sequence[str], variables: Mapping[str, str]) -> list[Path]:
    """Return the files and folders that a command's words and variables name by absolute paths, as `-m /models/lungs`."""
    told = [part for word in (*words, *variables.values()) for part in (word, word.rpartition("=")[2])]
    return sorted({Path(part) for part in told if part.startswith("/") and Path(part).exists()})
