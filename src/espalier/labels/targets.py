"""From what reports say to the numbers trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Float32

from espalier.cohort.csv_table import nearest, said_columns
from espalier.errors import SettingsError
from espalier.labels.findings import finding_id
from espalier.labels.options import LabelOptions
from espalier.labels.probabilities import GRADED

State = Literal["present", "absent", "uncertain", "not_mentioned", "failed"]
Choice = TypeVar("Choice", bound=str)
SOFT: Final = 0.75


def target_of(state: str, options: LabelOptions, *, healthy: bool = False) -> tuple[float, float]:
    """Return the target in [0, 1] and its weight (0 or 1) for a state.

    Parameters
    ----------
    state
        What the report says of the finding; of the *injury* where `healthy` is set.
    options
        How uncertain and missing mentions are read; those of the finding, see `options_by_finding`.
    healthy
        Whether the column says that a structure is unharmed, as RATIC's `liver_healthy`: its target is the complement.
    """
    target, weight = _target_of(state, options)
    return (1.0 - target if healthy else target), weight


def _target_of(state: str, options: LabelOptions) -> tuple[float, float]:
    if state == "present":
        return 1.0, 1.0
    if state == "absent":
        return 0.0, 1.0
    if state == "uncertain":
        value = {"ones": 1.0, "zeros": 0.0, "ignore": 0.0, "soft": SOFT}[options.uncertain]
        return value, float(options.uncertain != "ignore")
    if state == "not_mentioned":
        return 0.0, float(options.not_mentioned == "zeros")
    return 0.0, 0.0


def options_by_finding(options: LabelOptions, findings: Sequence[str]) -> dict[str, LabelOptions]:
    """Return for each finding the options with what `uncertain_of` and `not_mentioned_of` say of it.

    Parameters
    ----------
    options
        The options of the study.
    findings
        What the lexicon or the table can tell.

    Raises
    ------
    SettingsError
        Where a name is no finding, or a column of a structure whose columns are trained together.
    """
    own = dict.fromkeys(findings, options)
    for name, value in _settled(options.uncertain_of, findings, setting="[labels.uncertain_of]").items():
        own[name] = replace(own[name], uncertain=value)
    for name, value in _settled(options.not_mentioned_of, findings, setting="[labels.not_mentioned_of]").items():
        own[name] = replace(own[name], not_mentioned=value)
    return own


def named_findings(names: Sequence[str], findings: Sequence[str], *, setting: str) -> dict[str, tuple[str, ...]]:
    """Return which findings each name stands for: one, by id or title, or all columns of a trauma structure.

    Parameters
    ----------
    names
        As a study names them: "Lung nodule", `lung_nodule`, `liver`.
    findings
        Those that there are.
    setting
        Where the names stand, for the message.

    Raises
    ------
    SettingsError
        Where a name is none of them; the nearest is named.
    """
    known: dict[str, tuple[str, ...]] = {}
    for finding in findings:
        known[finding_id(finding)] = (finding,)
        if structure := _structure_of(finding, findings):
            known[structure] = (*known.get(structure, ()), finding)
    for name in names:
        if finding_id(name) not in known:
            likely = nearest(name, tuple(known))
            do = f"Did you mean {likely}?" if likely else f"Name some of {said_columns(tuple(known)[:20])}."
            raise SettingsError(setting, found=f"no finding {name!r}", expected="a finding of the lexicon or table", do=do)
    return {name: known[finding_id(name)] for name in names}


def _settled(own: Mapping[str, Choice], findings: Sequence[str], *, setting: str) -> dict[str, Choice]:
    named = named_findings(tuple(own), findings, setting=setting)
    out: dict[str, Choice] = {}
    for name, each in named.items():
        structure = _structure_of(each[0], findings)
        if structure and len(each) == 1:
            found = f"{name!r}, one of several columns of {structure}"
            do = f"Write {structure} instead."
            raise SettingsError(setting, found=found, expected="the structure: its columns are trained together", do=do)
        if out.keys() & set(each):
            raise SettingsError(setting, found=f"{name!r} names a finding twice", do="Leave one of the two out.")
        out |= dict.fromkeys(each, own[name])
    return out


def _structure_of(finding: str, findings: Sequence[str]) -> str:
    """Return the structure that a column grades, or "" where the finding is one by itself."""
    match = GRADED.fullmatch(finding)
    return match["structure"] if match and f"{match['structure']}_healthy" in findings else ""


def target_arrays(
    labels: pl.DataFrame, scans: Sequence[str], findings: Sequence[str]
) -> tuple[Float32[np.ndarray, "n f"], Float32[np.ndarray, "n f"]]:
    """Return targets and weights of `scans` × `findings`, in the given orders.

    Parameters
    ----------
    labels
        Rows with `scan`, `finding`, `target` in [0, 1] and `weight`, as in `labels.parquet`.
    scans, findings
        The rows and columns of the result.

    Returns
    -------
    Targets and weights, each (n, f) float32; where a scan has no row of a finding, both are 0.
    """
    targets = np.zeros((len(scans), len(findings)), dtype=np.float32)
    weights = np.zeros_like(targets)
    rows = pl.DataFrame({"scan": list(scans), "row": range(len(scans))}, schema={"scan": pl.String, "row": pl.Int64})
    columns = pl.DataFrame(
        {"finding": list(findings), "column": range(len(findings))}, schema={"finding": pl.String, "column": pl.Int64}
    )
    found = labels.join(rows, on="scan").join(columns, on="finding")
    row, column = found["row"].to_numpy(), found["column"].to_numpy()
    targets[row, column] = found["target"].to_numpy()
    weights[row, column] = found["weight"].to_numpy()
    return targets, weights
