"""Predictions of all arms and seeds over the same scans, or a refusal that says how they differ."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from espalier.errors import InputError
from espalier.evaluation.predictions import Predictions, predictions_path, read_predictions

NAMED: Final = 5
"""How many differing scans a message names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """What every arm and seed says of the same scans.

    Attributes
    ----------
    targets, weights
        Shape (scans, findings).
    probabilities
        Shape (arms, seeds, scans, findings).
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    findings: tuple[str, ...]
    scans: tuple[str, ...]
    patients: tuple[str, ...]
    targets: Float[np.ndarray, "n f"]
    weights: Float[np.ndarray, "n f"]
    probabilities: Float[np.ndarray, "k s n f"]


def read_pairs(folder: Path, *, arms: Sequence[str], seeds: Sequence[int], split: str = "test") -> Pairs:
    """Return the predictions of all arms and seeds in one order.

    Raises
    ------
    MissingError
        When an arm and seed has not been evaluated.
    InputError
        When two of them differ in their scans, patients, findings or targets.
    """
    paths = [predictions_path(folder, arm, seed, split) for arm in arms for seed in seeds]
    first = read_predictions(paths[0])
    aligned = []
    for path in paths:
        own = read_predictions(path)
        _check_same(path, own, first)
        order = _order(own.scans, first.scans)
        columns = _order(own.findings, first.findings)
        _check_targets(path, own, first, order, columns)
        aligned.append(own.probabilities[np.ix_(order, columns)])
    shape = (len(arms), len(seeds), len(first.scans), len(first.findings))
    return Pairs(
        arms=tuple(arms),
        seeds=tuple(seeds),
        findings=first.findings,
        scans=first.scans,
        patients=first.patients,
        targets=first.targets,
        weights=first.weights,
        probabilities=np.stack(aligned).reshape(shape),
    )


def _order(own: Sequence[str], wanted: Sequence[str]) -> list[int]:
    place = {name: i for i, name in enumerate(own)}
    return [place[name] for name in wanted]


def _check_same(path: Path, own: Predictions, first: Predictions) -> None:
    for what, mine, theirs in (("scans", own.scans, first.scans), ("findings", own.findings, first.findings)):
        if set(mine) != set(theirs):
            more, fewer = sorted(set(mine) - set(theirs)), sorted(set(theirs) - set(mine))
            raise InputError(
                path,
                found=f"other {what} than the first arm: {_named(more, 'more')}, {_named(fewer, 'fewer')}",
                expected=f"the same {what} in every arm and seed",
                do="Run `espalier evaluate` for every arm on the present store and splits.",
            )
    if dict(zip(own.scans, own.patients, strict=True)) != dict(zip(first.scans, first.patients, strict=True)):
        raise InputError(
            path,
            found="scans that belong to other patients than in the first arm",
            do="Run `espalier evaluate` for every arm on the present cohort.",
        )


def _check_targets(path: Path, own: Predictions, first: Predictions, order: list[int], columns: list[int]) -> None:
    differ = (own.targets[np.ix_(order, columns)] != first.targets) | (own.weights[np.ix_(order, columns)] != first.weights)
    if differ.any():
        scans = [first.scans[i] for i in np.flatnonzero(differ.any(axis=1))]
        raise InputError(
            path,
            found=f"other targets than the first arm for {_named(scans, 'scans')}",
            expected="the same labels in every arm and seed",
            do="Run `espalier evaluate` for every arm on the present labels.",
        )


def _named(names: Collection[str], word: str) -> str:
    shown = ", ".join(list(names)[:NAMED]) + (", …" if len(names) > NAMED else "")
    return f"{len(names)} {word}" + (f" ({shown})" if names else "")
