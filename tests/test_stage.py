"""One loop over scans: done, set aside, left; what is on disk is the state."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from espalier.errors import InputError, MissingError, ScanError
from espalier.stage import run_stage, write_set_aside


def note(folder: Path, scan: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    with (folder / "calls.txt").open("a") as stream:
        stream.write(scan + "\n")
    if scan == options.get("bad"):
        raise ScanError("a file", code="too_short", found="3 slices", expected="10", do="Export it again.")
    return [{"scan": scan, "value": options["value"]}]


def refuse(folder: Path, scan: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    raise ScanError("a file", code="unreadable", found="nothing")


def needs_more(folder: Path, scan: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    raise MissingError("a package", found="not installed", do="Install it.")


def keys(*scans: str, value: int = 1) -> dict[str, str]:
    return {scan: f"{scan}-{value}" for scan in scans}


def calls(folder: Path) -> list[str]:
    return (folder / "calls.txt").read_text().split()


def test_a_bad_scan_is_set_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    outcome = run_stage("try", note, list("abc"), folder=tmp_path, keys=keys(*"abc"), options={"value": 1, "bad": "b"})
    assert [row["scan"] for row in outcome.rows] == ["a", "c"]
    assert outcome.set_aside[0] | {} == {
        "source": "a file", "scan": "b", "reason": "too_short", "found": "3 slices", "expected": "10", "do": "Export it again.",
    }  # fmt: skip


def test_a_scan_with_a_record_of_the_present_settings_is_not_touched_again(tmp_path: Path) -> None:
    for _ in range(2):
        run_stage("try", note, list("abc"), folder=tmp_path, keys=keys(*"abc"), options={"value": 1, "bad": "b"})
    assert calls(tmp_path) == list("abc")
    changed = {**keys(*"ab"), "c": "new"}
    outcome = run_stage("try", note, list("abc"), folder=tmp_path, keys=changed, options={"value": 2})
    assert calls(tmp_path) == list("abcc")
    assert [row["value"] for row in outcome.rows] == [1, 2]


def test_when_nothing_works_the_stage_stops_and_says_why(tmp_path: Path) -> None:
    scans = [f"s{n}" for n in range(40)]
    with pytest.raises(InputError, match="all failed"):
        run_stage("try", refuse, scans, folder=tmp_path, keys=keys(*scans), options={})


def test_a_missing_package_stops_the_stage_with_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="not installed"):
        run_stage("try", needs_more, ["a"], folder=tmp_path, keys=keys("a"), options={})


def test_each_stage_keeps_its_own_rows_of_what_is_set_aside(tmp_path: Path) -> None:
    row = {"source": "s", "scan": "a", "reason": "r", "found": "=1+1", "expected": "", "do": ""}
    write_set_aside(tmp_path, "ingest", [row])
    write_set_aside(tmp_path, "segment", [row | {"scan": "b"}])
    write_set_aside(tmp_path, "ingest", [])
    frame = pl.read_csv(tmp_path / "set_aside.csv", infer_schema=False)
    assert frame["scan"].to_list() == ["b"]
    assert frame["found"].to_list() == ["'=1+1"]
