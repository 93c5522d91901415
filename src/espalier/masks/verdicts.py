"""What the checks come to: a verdict on each structure, one on each scan, and the weight a scan's masks have in training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from espalier.outputs import read_table

Verdict = Literal["trust", "down_weight", "drop"]

REASONS: Final[Mapping[str, str]] = {
    "empty": "nothing is there, though the scan shows where it should be",
    "not_shown": "nothing is there, and the scan does not show where it should be",
    "sides_swapped": "left stands on the right",
    "out_of_order": "stands to another structure as it does in nobody",
    "misplaced": "the masks do not lie on the edges that the scan shows",
    "not_air": "the lungs hold no air",
    "air_inside": "holds air, as it does in nobody",
    "wrong_hu": "has HU that it has in nobody",
    "outside_body": "lies in the air around the patient",
    "outside_scan": "lies outside the scan in part",
    "volume_small": "smaller than plausible, and not cut by the field of view",
    "volume_large": "larger than plausible",
    "cut_flat": "ends at a plane within unchanged tissue",
    "holes": "encloses holes",
    "fragments": "lies about in crumbs",
    "lung_left_out": "the scan shows lung that no mask holds",
    "sources_disagree": "a second source has it elsewhere",
}
"""Every reason that `check_masks` gives, in words; `not_shown` is no fault."""

NO_FAULT: Final = frozenset({"not_shown"})
TAINTS: Final = frozenset(
    {"sides_swapped", "out_of_order", "misplaced", "not_air", "air_inside", "wrong_hu", "outside_body", "outside_scan"}
)
"""What is wrong in this way in one structure puts all masks of the scan in doubt."""

WEIGHTS: Final[Mapping[Verdict, float]] = {"trust": 1.0, "down_weight": 0.5, "drop": 0.0}
TABLE: Final = "masks.parquet"


def verdict_on(reasons: Sequence[str]) -> Verdict:
    """Return the verdict on a structure."""
    if (TAINTS | {"empty"}) & set(reasons):
        return "drop"
    return "down_weight" if set(reasons) - NO_FAULT else "trust"


def scan_verdict(rows: Sequence[Mapping[str, Any]]) -> Verdict:
    """Return the verdict on a scan from the rows of its structures.

    A scan is dropped when a fault of one structure puts them all in doubt, or when nothing is there at all. Where one
    structure is empty or odd, as after an operation, the others still teach: the scan is weighted down.
    """
    reasons = {reason for row in rows for reason in row["reasons"]}
    if TAINTS & reasons or not any(row["volume_ml"] > 0 for row in rows):
        return "drop"
    return "trust" if all(row["verdict"] == "trust" for row in rows) else "down_weight"


def scan_verdicts(folder: Path) -> dict[str, Verdict]:
    """Return the verdict on every scan with masks, in the order of the table; raise `MissingError` before `segment`."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_table(folder / TABLE, kind="masks").to_dicts():
        rows.setdefault(row["scan"], []).append(row)
    return {scan: scan_verdict(own) for scan, own in rows.items()}


def scan_weights(folder: Path) -> dict[str, float]:
    """Return how much the masks of each scan count in training, from 0 to 1; raise `MissingError` before `segment`."""
    return {scan: WEIGHTS[verdict] for scan, verdict in scan_verdicts(folder).items()}
