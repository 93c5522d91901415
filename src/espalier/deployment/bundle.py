"""A bundle: all that a site needs to classify scans, and nothing that could have been changed unseen."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from espalier.errors import InputError, MissingError
from espalier.geometry import Shape
from espalier.outputs import COMPLETION, hash_file, read_json, verify_folder
from espalier.settings import parse
from espalier.store.options import StoreOptions

RECORD: Final = "bundle.json"
MODEL: Final = "model.onnx"
CARD: Final = "card.md"
INTENDED_USE: Final = "research"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """What stands in a bundle whose every byte was compared with its recorded hash.

    Parameters
    ----------
    folder
        Where it lies.
    hash
        SHA-256 of its completion record, which holds the hashes of all its files: the bundle's identity.
    arm, seed
        Of the run it was made from.
    run_hash
        SHA-256 of the run's weights.
    findings
        In the order of the answers; `any_injury` of trauma runs is derived and has no logit.
    thresholds
        Probability from which on a finding is called present, chosen on validation scans.
    store
        How a scan becomes an array.
    crop
        Voxels along z, y, x that the network reads, from the centre.
    structures
        What the masks of the training named; empty for a run without masks.
    versions
        Of the libraries it was made with.
    intended_use
        "research".
    """

    folder: Path
    hash: str
    arm: str
    seed: int
    run_hash: str
    findings: tuple[str, ...]
    thresholds: Mapping[str, float]
    store: StoreOptions
    crop: Shape
    structures: tuple[str, ...]
    versions: Mapping[str, str]
    intended_use: str

    @property
    def model(self) -> Path:
        """The network as ONNX."""
        return self.folder / MODEL


def open_bundle(path: Path) -> Bundle:
    """Return a bundle after comparing every file with its hash.

    Raises
    ------
    MissingError
        When there is no bundle at `path`.
    AlteredError
        When a file was changed, added or removed.
    InputError
        When its record does not say what a bundle must say.
    VersionError
        When a newer Espalier wrote it.
    """
    if not (path / COMPLETION).is_file():
        raise MissingError(
            path, found="no complete bundle", expected=f"a folder with {COMPLETION}", do="Run `espalier export`."
        )
    verify_folder(path, kind="bundle")
    record = read_json(path / RECORD, kind="bundle")
    try:
        return _bundle(path, record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            path / RECORD,
            found=f"a record that cannot be read ({type(error).__name__}: {error})",
            expected="what `espalier export` writes",
            do="Export the bundle again.",
        ) from error


def _bundle(path: Path, record: Mapping[str, Any]) -> Bundle:
    z, y, x = (int(side) for side in record["crop"])
    findings = tuple(str(f) for f in record["findings"])
    return Bundle(
        folder=path,
        hash=hash_file(path / COMPLETION),
        arm=str(record["arm"]),
        seed=int(record["seed"]),
        run_hash=str(record["run_hash"]),
        findings=findings,
        thresholds={finding: float(record["thresholds"][finding]["value"]) for finding in findings},
        store=parse(StoreOptions, record["store"], source=path / RECORD),
        crop=(z, y, x),
        structures=tuple(str(s) for s in record["structures"]),
        versions={str(k): str(v) for k, v in record["versions"].items()},
        intended_use=str(record["intended_use"]),
    )
