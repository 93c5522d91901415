"""Any other segmenter: a command in an environment of its own that reads a scan as NIfTI and writes its mask."""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from espalier.cohort.volume import Volume
from espalier.engines import local
from espalier.errors import InputError, ScanError, SettingsError
from espalier.masks.command_words import STUDY, Template, environment_of, named_in, read_template
from espalier.masks.given import Given, MaskFile, given_masks
from espalier.masks.label_lists import known_names, named_values, names_beside, names_of
from espalier.masks.matching import FOLDER
from espalier.masks.naming import parts_of, words_of
from espalier.masks.options import CommandOptions
from espalier.masks.placement import refuse_elsewhere
from espalier.masks.totalsegmentator import write_scan
from espalier.masks.volumes import is_volume, open_folder, read_label_volume, reader_of, without_suffix
from espalier.outputs import hash_file, hash_of, written_whole

WORDS_KEPT: Final = 8192
"""Bytes of what a command printed last that are kept where it went wrong."""
MOST_FILES: Final = 10_000
"""A folder of more files that a command names is no model, and is not hashed."""
RECORDS: Final = Path("records", "command")


def command_masks(volume: Volume, structures: Sequence[str], *, options: CommandOptions, scan: str, folder: Path) -> Given:
    """Run the command on one scan and return the masks that it wrote, with values by the order of `structures`.

    It runs in a folder of its own, which is its working directory and is gone afterwards; what it prints is kept only where
    it goes wrong, in `records/command/`, for its owner alone.

    Parameters
    ----------
    volume
        As read; it is written turned upright, in HU, neither clipped nor resampled.
    structures
        The wanted ones; parts are joined.
    options
        The command.
    scan
        Its id, for messages and for the name of the file of last words.
    folder
        The study's folder.

    Raises
    ------
    ScanError
        `command_exit`, `command_no_output`, `mask_values_unnamed`, `mask_without_structure`, and what reading and placing
        existing masks raises.
    SettingsError
        As `command_key`.
    """
    template = read_template(options, folder=folder)
    place = Path(tempfile.mkdtemp(prefix=".partial-command-", dir=folder))
    try:
        (place / "scans").mkdir()
        (place / template.scan).parent.mkdir(parents=True, exist_ok=True)
        if template.mask.suffix == "":
            (place / template.mask).mkdir(exist_ok=True)
        write_scan(volume, place / template.scan, window_hu=None, spacing_mm=None)
        _run(template, place, options=options, scan=scan, folder=folder)
        written = _written(place, template, structures, scan)
        given = given_masks([_opened(written, place / template.mask, _labels(options, folder), scan)], structures)
    except ScanError as error:  # the files are gone when this is read
        raise ScanError(scan, code=error.code, found=error.found, expected=error.expected, do=error.do) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
    notes = refuse_elsewhere(given.masks, volume.grid, source=scan)
    made_by = {"segmenter": template.program.name, "command": hash_of(template.words)}
    return Given(replace(given.masks, made_by=made_by), (*given.notes, *notes))


def command_key(options: CommandOptions, *, folder: Path) -> Mapping[str, Any]:
    """Return what the masks depend on besides the scan, as far as it can be seen from outside.

    These are the command's words, the names of its values, the bytes of its program and of every file and folder that its
    words name by an absolute path, and the versions in its environment. What a program fetches from elsewhere is not seen.

    Raises
    ------
    SettingsError
        When the command cannot be run: no such program, no such environment, an unknown placeholder, labels that are none.
    """
    template = read_template(options, folder=folder)
    words = [word.replace(f"{{{STUDY}}}", str(folder)) for word in template.words[1:]]
    named = named_in(words, options.variables)
    return {
        "words": list(template.words),
        "variables": hash_of(dict(options.variables)),
        "labels": {str(value): name for value, name in sorted(_labels(options, folder).items())},
        "program": hash_file(template.program),
        "environment": _packages(template.program.parent.parent),
        "named": [_content(path) for path in named],
    }


def _run(template: Template, place: Path, *, options: CommandOptions, scan: str, folder: Path) -> None:
    log = place / "printed"
    # TMPDIR stays as it is: nnU-Net's sockets would not fit into the path of a study that lies deep.
    environment = environment_of(options, folder=folder)
    with log.open("wb") as printed:
        # In this worker's process group, so that whoever kills the worker kills the command with it.
        try:
            ended = subprocess.run(
                template.filled(place, folder),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                cwd=place,
                env=environment,
                check=False,
                preexec_fn=local.die_with_parent,
            )
        except OSError as error:
            found = f"could not be started ({error.strerror or type(error).__name__})"
            raise SettingsError(
                "[masks.command] command", found=found, do="Correct it, then run the same command again."
            ) from error
    last_words = folder / RECORDS / f"{scan}.log"
    if ended.returncode == 0:
        last_words.unlink(missing_ok=True)
        return
    _keep_last_words(log, last_words)
    code = ended.returncode
    how = f"ended with exit code {code}" if code > 0 else f"was killed by {signal.strsignal(-code) or -code}"
    raise ScanError(
        scan,
        code="command_exit",
        found=f"the command {how}",
        expected="exit code 0",
        do=f"Read what it printed last in {(RECORDS / last_words.name).as_posix()}.",
    )


def _keep_last_words(log: Path, path: Path) -> None:
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - WORDS_KEPT))
        last = stream.read()
    with written_whole(path, private=True) as partial:
        partial.write_bytes(last)


def _written(place: Path, template: Template, structures: Sequence[str], scan: str) -> str:
    """Return the file that holds the mask, or the folder that holds one for each structure, below a scan's own folder."""
    root = place / template.mask
    scan_file = place / template.scan
    below = sorted(root.rglob("*")) if root.is_dir() else [root]
    files = [path for path in below if is_volume(path.name) and path.is_file() and path != scan_file]
    if len(files) == 1:
        return files[0].relative_to(place).as_posix()
    known = {words_of(one) for structure in structures for one in parts_of(structure)} | {words_of(n) for n in known_names()}
    folders = sorted({path.parent for path in files if words_of(without_suffix(path.name)) in known})
    if len(folders) == 1:
        return folders[0].relative_to(place).as_posix() + FOLDER
    found = f"{len(files)} masks in {len({path.parent for path in files})} folders" if files else "no mask"
    raise ScanError(
        scan,
        code="command_no_output",
        found=f"the command ended well and wrote {found}",
        expected="one NIfTI file, or a folder of one for each structure",
        do="Let it write where {mask} or {mask_folder} stands.",
    )


def _opened(written: str, root: Path, labels: Mapping[int, str], scan: str) -> MaskFile:
    """Return the mask that was written; its names are the study's, else its own, else those of a list beside it."""
    path = root.parent / written
    if written.endswith(FOLDER):
        return open_folder(path, [one.name for one in path.iterdir() if is_volume(one.name)])
    masks = read_label_volume(path)
    try:
        names = labels or masks.names or names_beside(path, root if root.is_dir() else root.parent)
    except InputError as error:
        found, do = "a list of names beside the mask that is none", "Name the values in [masks.command] labels."
        raise ScanError(scan, code="mask_values_unnamed", found=found, expected="a list of names", do=do) from error
    unnamed = sorted(set(np.unique(masks.voxels).tolist()) - {0, *names})
    if unnamed:
        raise ScanError(
            scan,
            code="mask_values_unnamed",
            found=f"{len(unnamed)} values without a name, the first {unnamed[0]}",
            expected="a name for each",
            do="Name every value in [masks.command] labels.",
        )
    return MaskFile(path, (names,), reader_of(masks))


def _labels(options: CommandOptions, folder: Path) -> Mapping[int, str]:
    """Return what the study calls the values: a table of its own, a JSON file, or a published list by its name; or nothing."""
    try:
        if isinstance(options.labels, str):
            return names_of(options.labels, folder)
        return named_values(options.labels) if options.labels else {}
    except (ValueError, KeyError, InputError) as error:
        found = error.found if isinstance(error, InputError) else str(error)
        expected = 'name = value, a JSON file of such, or the name of a published list, as "ts_total"'
        raise SettingsError("[masks.command] labels", found=found, expected=expected, do="Correct them.") from error


def _packages(root: Path) -> list[str]:
    """Return the Python packages of an environment with their versions; none where it is no environment."""
    places = sorted(root.glob("lib*/python3*/site-packages")) if (root / "pyvenv.cfg").is_file() else []
    return sorted({one.name.removesuffix(".dist-info") for place in places for one in place.glob("*.dist-info")})


def _content(path: Path) -> list[str]:
    """Return the hashes of a file, or of all below a folder, by their names in it."""
    if path.is_file():
        return [hash_file(path)]
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return [f"{one.relative_to(path).as_posix()} {hash_file(one)}" for one in files] if len(files) <= MOST_FILES else []
