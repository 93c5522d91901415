"""One loop over scans: done, set aside, left; what is on disk is the state."""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from espalier.engines import local
from espalier.errors import FAILED, EspalierError, InputError, MissingError, ResourceError, ScanError
from espalier.stage import GIVE_UP_AFTER, Outcome, read_records, run_stage, write_set_aside

HERE = str(Path(__file__).parent)
sys.path.append(HERE)
hostile_work = importlib.import_module("hostile_work")
sys.path.remove(HERE)


@pytest.fixture(autouse=True)
def workers_find_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (HERE, os.environ.get("PYTHONPATH")))))


def note(folder: Path, scan: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    with (folder / "calls.txt").open("a") as stream:
        stream.write(scan + "\n")
    if scan == options.get("bad"):
        raise ScanError("a file", code="too_short", found="3 slices", expected="10", do="Export it again.")
    return [{"scan": scan, "value": options["value"]}]


def refuse(folder: Path, scan: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    raise ScanError("a file", code="unreadable", found="nothing for Ann^Example")


def refuse_bad(folder: Path, scan: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    return refuse(folder, scan, options) if scan.startswith("bad") else [{"scan": scan}]


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


def run_hostile(folder: Path, *scans: str, **limits: Any) -> Outcome:
    return run_stage("try", hostile_work.work, scans, folder=folder, keys=keys(*scans), options={}, **limits)


def reasons(outcome: Outcome) -> dict[str, str]:
    return {row["scan"]: row["reason"] for row in outcome.set_aside}


def records(folder: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in (folder / "records" / "try").iterdir()}


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (OSError, IndexError):
        return False


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_worker_that_dies_twice_costs_its_scan_alone(tmp_path: Path) -> None:
    outcome = run_hostile(tmp_path, "killed", "a", "segfault", "b", "leaves", workers=2)
    assert outcome.rows == [{"scan": "a"}, {"scan": "b"}]
    assert reasons(outcome) == dict.fromkeys(["killed", "segfault", "leaves"], "worker_died")
    assert [row["found"].rpartition(": ")[2] for row in outcome.set_aside] == [
        "killed by SIGKILL", "killed by SIGSEGV", "ended with exit code 7",
    ]  # fmt: skip
    assert set(records(tmp_path)) == {"killed", "a", "segfault", "b", "leaves"}


def test_where_every_seventh_scan_kills_its_worker_all_others_are_done_once(tmp_path: Path) -> None:
    scans = [f"killed-{n}" if n % 7 == 0 else f"a-{n}" for n in range(30)]
    outcome = run_hostile(tmp_path, *scans, workers=3)
    assert [row["scan"] for row in outcome.rows] == [scan for scan in scans if scan.startswith("a")]
    assert list(reasons(outcome)) == [scan for scan in scans if scan.startswith("killed")]
    assert {hostile_work.tries(tmp_path, row["scan"]) for row in outcome.rows} == {1}
    assert {hostile_work.tries(tmp_path, scan) for scan in reasons(outcome)} == {2}


def test_a_scan_that_hangs_is_set_aside_even_with_one_worker(tmp_path: Path) -> None:
    outcome = run_hostile(tmp_path, "hangs", timeout_s=1)
    assert reasons(outcome) == {"hangs": "timed_out"}
    assert not any(is_alive(int(path.name.partition("-")[2])) for path in tmp_path.glob("pid-*"))


def test_a_scan_that_needs_too_much_memory_is_set_aside(tmp_path: Path) -> None:
    outcome = run_hostile(tmp_path, "hog", "a", "large", memory_gb=0.25)
    assert reasons(outcome) == {"hog": "out_of_memory"}
    assert [row["scan"] for row in outcome.rows] == ["a", "large"]
    assert hostile_work.tries(tmp_path, "large") == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_memory_error_is_no_fault_of_the_run(tmp_path: Path, workers: int) -> None:
    outcome = run_hostile(tmp_path, "memory", "a", workers=workers)
    assert reasons(outcome) == {"memory": "out_of_memory"}
    assert outcome.done == 1


def test_a_dead_worker_s_scan_is_tried_anew_under_other_limits_only(tmp_path: Path) -> None:
    for limits in ({"workers": 2}, {"workers": 2}, {"workers": 2, "memory_gb": 1.0}):
        assert run_hostile(tmp_path, "leaves", "a", **limits).done == 1
    assert hostile_work.tries(tmp_path, "leaves") == 4
    assert hostile_work.tries(tmp_path, "a") == 1


def test_what_work_prints_reaches_neither_the_answers_nor_the_terminal(tmp_path: Path, capfd: Any) -> None:
    assert run_hostile(tmp_path, "rubbish", "a", workers=2).rows == [{"scan": "rubbish"}, {"scan": "a"}]
    assert capfd.readouterr() == ("", "")


def test_a_fault_of_the_work_itself_stops_the_run_and_tells_no_name(tmp_path: Path, capfd: Any) -> None:
    with pytest.raises(EspalierError, match="ValueError") as caught:
        run_hostile(tmp_path, "breaks", workers=2)
    assert hostile_work.CANARY not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_may_print_still_tells_no_name_of_a_fault(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "espalier.stage", "hostile_work:work", str(tmp_path), "{}"]
    ended = subprocess.run(command, check=False, input="breaks\nmemory\n", capture_output=True, text=True)
    assert json.loads(ended.stdout)["error"][2] == "ValueError at breaks"
    assert ended.stderr == ""
    assert ended.returncode == local.OUT_OF_MEMORY


def test_a_fault_of_the_work_itself_is_told_whole_where_the_user_debugs(tmp_path: Path, capfd: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("ESPALIER_DEBUG", "1")
    with pytest.raises(EspalierError):
        run_hostile(tmp_path, "breaks", workers=2)
    assert f"ValueError: {hostile_work.CANARY}" in capfd.readouterr().err


@pytest.mark.parametrize("writes", ["writes", "whole"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_stops_the_run_and_the_same_command_goes_on(tmp_path: Path, writes: str, workers: int) -> None:
    run_hostile(tmp_path, "a", workers=workers)
    with no_file_above(1_000_000), pytest.raises(ResourceError, match="same command") as caught:
        run_hostile(tmp_path, "a", writes, workers=workers)
    assert caught.value.exit_code == FAILED
    assert run_hostile(tmp_path, "a", writes, workers=workers).rows == [{"scan": "a"}, {"scan": writes}]
    assert hostile_work.tries(tmp_path, "a") == 1


def test_a_record_that_finds_no_room_stops_the_run_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with no_file_above(10), pytest.raises(ResourceError):
        run_hostile(tmp_path, "a", workers=2)
    assert list((tmp_path / "records" / "try").iterdir()) == []
    assert run_hostile(tmp_path, "a", workers=2).done == 1


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda sign: sign.name)
def test_a_stopped_run_leaves_no_worker_behind_and_whole_records(tmp_path: Path, sign: signal.Signals) -> None:
    scans = [*(f"a-{n}" for n in range(5)), "hangs-1", "hangs-2"]
    code = (
        "import signal, sys, hostile_work; from pathlib import Path; from espalier.stage import run_stage\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, wherever these tests run\n"
        f"run_stage('try', hostile_work.work, {scans}, folder=Path(sys.argv[1]), keys={keys(*scans)}, options={{}}, workers=2)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    wait_until(lambda: len(list((tmp_path / "records" / "try").glob("a-*.json"))) == 5)
    parent.send_signal(sign)
    parent.wait(timeout=60)
    workers = [int(path.name.partition("-")[2]) for path in tmp_path.glob("pid-*")]
    wait_until(lambda: not any(is_alive(pid) for pid in workers))
    assert {name: record["rows"] for name, record in records(tmp_path).items()} == {
        scan: [{"scan": scan}] for scan in scans[:5]
    }


def test_when_only_deaths_come_the_stage_gives_up_long_before_half_is_lost(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("espalier.stage.GIVE_UP_AFTER", 4)
    scans = [f"leaves-{n}" for n in range(20)]
    with pytest.raises(InputError, match=r"last 4 scans all failed \(4 worker_died\)"):
        run_hostile(tmp_path, *scans, workers=2)
    assert records(tmp_path) == {}


def test_a_stage_that_gives_up_tells_its_reasons_in_the_table_alone_and_tries_them_again(tmp_path: Path) -> None:
    scans = [f"s{n}" for n in range(40)]
    with pytest.raises(InputError, match="25 unreadable") as caught:
        run_stage("try", refuse, scans, folder=tmp_path, keys=keys(*scans), options={}, verb="ingest")
    assert "Ann^Example" not in str(caught.value)
    frame = pl.read_csv(tmp_path / "set_aside.csv", infer_schema=False)
    assert frame["scan"].to_list() == scans[:25]
    assert set(frame["stage"]) == {"ingest"}
    assert set(frame["found"]) == {"nothing for Ann^Example"}
    outcome = run_stage("try", note, scans, folder=tmp_path, keys=keys(*scans), options={"value": 1})
    assert outcome.done == outcome.fresh == 40


def test_scans_set_aside_long_before_the_end_do_not_stop_a_large_stage(tmp_path: Path) -> None:
    scans = [*(f"bad-{n}" for n in range(GIVE_UP_AFTER)), *(f"s{n}" for n in range(GIVE_UP_AFTER + 2))]
    outcome = run_stage("try", refuse_bad, scans, folder=tmp_path, keys=keys(*scans), options={})
    assert (outcome.done, len(outcome.set_aside)) == (GIVE_UP_AFTER + 2, GIVE_UP_AFTER)


def test_rows_can_stay_on_disk_and_be_read_one_record_at_a_time(tmp_path: Path) -> None:
    options = {"value": 1, "bad": "b"}
    outcome = run_stage("try", note, list("abc"), folder=tmp_path, keys=keys(*"abc"), options=options, collect=False)
    assert (outcome.rows, outcome.done, [row["scan"] for row in outcome.set_aside]) == ([], 2, ["b"])
    read = list(read_records("try", list("cba"), folder=tmp_path))
    assert [scan for scan, _ in read] == list("cba")
    assert [record.get("rows", [{}])[0].get("value") for _, record in read] == [1, None, 1]
    assert read[1][1]["set_aside"] == outcome.set_aside[0]


def test_a_record_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    run_stage("try", note, list("ab"), folder=tmp_path, keys=keys(*"ab"), options={"value": 1})
    record = tmp_path / "records" / "try" / "a.json"
    record.write_bytes(record.read_bytes()[:-3])
    run_stage("try", note, list("ab"), folder=tmp_path, keys=keys(*"ab"), options={"value": 1})
    assert calls(tmp_path) == list("aba")


def test_records_are_for_their_owner_only(tmp_path: Path) -> None:
    run_stage("try", note, ["a"], folder=tmp_path, keys=keys("a"), options={"value": 1})
    assert (tmp_path / "records" / "try" / "a.json").stat().st_mode & 0o777 == 0o600
