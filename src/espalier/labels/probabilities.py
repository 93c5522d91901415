"""From a network's logits to one probability per finding, derived findings included."""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float

from espalier.errors import InputError

ANY_INJURY: Final = "any_injury"
GRADED: Final = re.compile(r"(?P<structure>.+)_(?:healthy|low|high|injury)")


def probabilities_of(
    logits: Float[np.ndarray, "n c"], findings: Sequence[str]
) -> tuple[Float[np.ndarray, "n f"], Float[np.ndarray, "n f"]]:
    """Return logits and probabilities with one column per finding, in float64.

    Findings are yes or no by themselves (sigmoid), but for the grades of one structure (`liver_healthy`, `liver_low`,
    `liver_high`), which exclude each other (softmax), and `any_injury`, which is derived: one minus the product of every
    structure's healthy probability (Li et al. 2025, L_RATIC). A derived finding's logit is NaN.

    Raises
    ------
    InputError
        When the logits have another number of columns than the findings that are not derived.
    """
    groups = groups_of(findings)
    derived = derives_any_injury(findings)
    own = [f for f in range(len(findings)) if not (derived and findings[f] == ANY_INJURY)]
    if logits.shape[1] != len(own):
        raise InputError(
            "the run's network",
            found=f"{logits.shape[1]} logits for each scan",
            expected=f"{len(own)}, one for each finding",
            do="Train the run again with the present findings.",
        )
    whole = np.full((len(logits), len(findings)), np.nan)
    whole[:, own] = logits
    out = np.empty_like(whole)
    for group in groups:
        out[:, group] = _softmax(whole[:, group]) if len(group) > 1 else _sigmoid(whole[:, group])
    if derived:
        healthy = [f for f in own if findings[f].endswith("_healthy")]
        out[:, findings.index(ANY_INJURY)] = 1 - out[:, healthy].prod(axis=1)
    return whole, out


def outputs_of(findings: Sequence[str]) -> int:
    """Return how many logits a network gives for these findings: one each, none for a derived one."""
    return len(findings) - int(derives_any_injury(findings))


def derives_any_injury(findings: Sequence[str]) -> bool:
    """Tell whether `any_injury` follows from the grades of the other findings and so has no logit of its own."""
    return ANY_INJURY in findings and any(len(group) > 1 for group in groups_of(findings))


def groups_of(findings: Sequence[str]) -> list[list[int]]:
    """Return columns that exclude each other together, every other column alone."""
    graded = {name.removesuffix("_healthy") for name in findings if name.endswith("_healthy")}
    groups: dict[str, list[int]] = {}
    for f, name in enumerate(findings):
        match = GRADED.fullmatch(name)
        own = match["structure"] if match and match["structure"] in graded else f"={name}"
        groups.setdefault(own, []).append(f)
    return list(groups.values())


def _sigmoid(logits: Float[np.ndarray, "n f"]) -> Float[np.ndarray, "n f"]:
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1, small) / (1 + small)


def _softmax(logits: Float[np.ndarray, "n g"]) -> Float[np.ndarray, "n g"]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
