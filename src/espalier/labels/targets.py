"""From what reports say to the numbers trained on."""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import polars as pl
from jaxtyping import Float32

from espalier.labels.options import LabelOptions

State = Literal["present", "absent", "uncertain", "not_mentioned", "failed"]
SOFT: Final = 0.75


def target_of(state: str, options: LabelOptions, *, healthy: bool = False) -> tuple[float, float]:
    """Return the target in [0, 1] and its weight (0 or 1) for a state.

    Parameters
    ----------
    state
        What the report says of the finding; of the *injury* where `healthy` is set.
    options
        How uncertain and missing mentions are read.
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
