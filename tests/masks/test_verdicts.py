from pathlib import Path

import polars as pl
import pytest

from espalier.errors import MissingError
from espalier.masks.verdicts import NO_FAULT, REASONS, TAINTS, scan_verdict, scan_verdicts, scan_weights, verdict_on
from espalier.outputs import write_table


def row(*reasons: str, ml: float = 100.0) -> dict[str, object]:
    return {"volume_ml": ml, "verdict": verdict_on(reasons), "reasons": list(reasons)}


def test_a_fault_that_taints_the_scan_drops_it_whatever_the_other_structures_are() -> None:
    assert scan_verdict([row(), row("sides_swapped"), row("volume_small")]) == "drop"
    assert scan_verdict([row(), row("misplaced")]) == "drop"


def test_an_odd_or_empty_structure_weighs_the_scan_down() -> None:
    assert scan_verdict([row(), row("volume_small")]) == "down_weight"
    assert scan_verdict([row(), row("empty", ml=0.0)]) == "down_weight"


def test_what_the_scan_does_not_show_is_no_fault() -> None:
    assert scan_verdict([row(), row("not_shown", ml=0.0)]) == "trust"


def test_nothing_at_all_is_dropped() -> None:
    assert scan_verdict([row("not_shown", ml=0.0), row("not_shown", ml=0.0)]) == "drop"
    assert scan_verdict([]) == "drop"


def test_reasons_that_taint_or_are_no_fault_are_reasons() -> None:
    assert set(REASONS) >= TAINTS | NO_FAULT
    assert not TAINTS & NO_FAULT


def test_scans_get_their_weight_in_the_order_of_the_table(tmp_path: Path) -> None:
    rows = [{"scan": scan, **own} for scan, own in (("b", row()), ("b", row("holes")), ("a", row()), ("c", row("not_air")))]
    write_table(tmp_path / "masks.parquet", pl.DataFrame(rows), kind="masks")
    assert list(scan_verdicts(tmp_path).items()) == [("b", "down_weight"), ("a", "trust"), ("c", "drop")]
    assert scan_weights(tmp_path) == {"b": 0.5, "a": 1.0, "c": 0.0}


def test_before_segment_the_stage_to_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="segment"):
        scan_weights(tmp_path)
