"""A real Slurm: what it does with a stage's scans is what this machine does, whatever becomes of its jobs."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from espalier.engines import slurm, slurm_queue
from espalier.engines.place import Place, working_at
from espalier.engines.site import Site, SlurmOptions
from espalier.errors import ResourceError
from espalier.stage import Outcome, run_stage

HERE = str(Path(__file__).parent)
sys.path.append(HERE)
far_work = importlib.import_module("far_work")
sys.path.remove(HERE)

RUNS: list[subprocess.Popen[bytes]] = []
SITE = Site(cpus=1, memory_gb=0.5, minutes=50, jobs=2, scans_per_job=4, slurm=SlurmOptions(partition="low"))


@pytest.fixture(autouse=True)
def jobs_find_the_work(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start Slurm, and ask it more often than its users would like."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (HERE, os.environ.get("PYTHONPATH")))))
    monkeypatch.setattr(slurm_queue, "ASK_S", 1.0)


def walk(folder: Path, *scans: str, site: Site | None = SITE, **more: Any) -> Outcome:
    keys = {scan: f"{scan}-1" for scan in scans}
    place = Place(engine="slurm", sites={"": site}) if site else Place()
    with working_at(place):
        return run_stage("try", far_work.work, scans, folder=folder, keys=keys, options=more, workers=2)


@pytest.fixture(autouse=True)
def no_run_is_left() -> Iterator[None]:
    yield
    while RUNS:
        RUNS[-1].kill()
        RUNS.pop().wait()


def started(folder: Path, scans: list[str], more: str = "") -> subprocess.Popen[bytes]:
    """Start a run of its own process, as a user would."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path; import far_work\n"
        "from espalier.engines.place import Place, working_at; from espalier.engines.site import RayOptions, Site, SlurmOptions\n"
        "from espalier.stage import run_stage\n"
        f"place = Place(engine='slurm', sites={{'': {SITE!r}}})\n"
        "with working_at(place):\n"
        f"    run_stage('try', far_work.work, {scans}, folder=Path({str(folder)!r}), "
        f"keys={{scan: f'{{scan}}-1' for scan in {scans}}}, options={{{more}}}, workers=2)\n"
    )
    RUNS.append(subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL))
    return RUNS[-1]


def records(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "records" / "try").glob("*.json")}


def jobs(folder: Path) -> list[str]:
    return list(slurm_queue.jobs_named(slurm._prefix(folder)))


def out_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("out-*"))


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < until, "it never came to pass"
        time.sleep(0.1)


def test_a_stage_gives_the_same_records_and_outputs_on_slurm_as_here(tmp_path: Path) -> None:
    scans = [*(f"a-{n}" for n in range(9)), "bad-1", "bad-2"]
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    local, far = walk(here, *scans, site=None), walk(there, *scans)
    assert far == local
    assert records(there) == records(here)
    assert out_files(there) == out_files(here)
    assert all(far_work.tries(there, scan) != ["none"] for scan in scans)
    assert len({far_work.tries(there, scan)[0] for scan in scans}) == 3
    assert not (there / "jobs" / "try").exists()


def test_the_profile_s_variables_and_setup_reach_the_node(tmp_path: Path) -> None:
    touch = f"touch {tmp_path / 'set-up'}"
    own = Site(minutes=5, variables={"FROM_PROFILE": "a 'quoted' word"}, setup=(touch,), slurm=SlurmOptions(partition="high"))
    outcome = walk(tmp_path, "a-1", site=own)
    assert outcome.rows[0]["variable"] == "a 'quoted' word"
    assert (tmp_path / "set-up").exists()


def test_a_preempted_chunk_goes_on_where_it_stopped(tmp_path: Path) -> None:
    scans = [f"slow-{n}" for n in range(8)]
    run = started(tmp_path, scans, "'seconds': 3")
    wait_until(lambda: len(list(tmp_path.glob("out-slow-*"))) >= 2)
    urgent = ["sbatch", "--partition=high", "--ntasks=2", "--output=/dev/null", "--wrap", "sleep 3"]
    subprocess.run(urgent, check=True, stdout=subprocess.DEVNULL)
    for job in jobs(tmp_path):
        start_again(job)
    assert "preempted JobId" in controller_log()
    assert run.wait(timeout=300) == 0
    assert {name for name, record in records(tmp_path).items() if b"set_aside" in record} == set()
    assert len(records(tmp_path)) == len(scans)
    again = [scan for scan in scans if len(far_work.tries(tmp_path, scan)) > 1]
    assert 1 <= len(again) <= 4  # those that the two jobs were at; what was finished is not done again


def controller_log() -> str:
    return (Path(os.environ["SLURM_CONF"]).parent / "slurmctld.log").read_text(errors="replace")


def start_again(job: str) -> None:
    """Let a job that was put back start when there is room; Slurm itself waits two minutes."""
    asked = ["squeue", "--noheader", f"--jobs={job}", "--format=%T %r"]
    wait_until(lambda: "PENDING BeginTime" in subprocess.run(asked, capture_output=True, text=True, check=False).stdout)
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)


def test_a_job_whose_time_is_nearly_over_is_put_back_and_goes_on(tmp_path: Path) -> None:
    scans = [f"slow-{n}" for n in range(4)]
    run = started(tmp_path, scans, "'seconds': 1.5")
    wait_until(lambda: len(list(tmp_path.glob("out-slow-*"))) >= 2)
    (job,) = jobs(tmp_path)
    subprocess.run(["scancel", "--signal=USR2", job], check=True)  # as Slurm does before the end of a job's time
    start_again(job)
    assert run.wait(timeout=300) == 0
    assert len(records(tmp_path)) == len(scans)
    assert sum(len(far_work.tries(tmp_path, scan)) for scan in scans) == len(scans) + 1


def test_a_stopped_run_ends_its_jobs_and_the_next_goes_on(tmp_path: Path) -> None:
    scans = [f"slow-{n}" for n in range(6)]
    run = started(tmp_path, scans, "'seconds': 1.0")
    wait_until(lambda: len(records(tmp_path)) >= 2)
    run.send_signal(signal.SIGINT)
    run.wait(timeout=120)
    assert jobs(tmp_path) == []
    assert not (tmp_path / "jobs" / "try").exists()
    kept = records(tmp_path)
    assert len(kept) >= 2
    outcome = walk(tmp_path, *scans, seconds=0.0)
    assert outcome.done == 6
    assert outcome.fresh == 6 - len(kept)


def test_the_jobs_of_a_killed_run_are_found_again_and_nothing_is_done_twice(tmp_path: Path) -> None:
    scans = [f"slow-{n}" for n in range(8)]
    run = started(tmp_path, scans, "'seconds': 1.0")
    wait_until(lambda: len(list(tmp_path.glob("out-slow-*"))) >= 2)
    run.kill()
    run.wait()
    before = jobs(tmp_path)
    assert before
    outcome = walk(tmp_path, *scans, seconds=1.0)
    assert outcome.done == 8
    assert [len(far_work.tries(tmp_path, scan)) for scan in scans] == [1] * 8
    assert jobs(tmp_path) == []


def test_the_jobs_of_a_killed_run_under_other_settings_are_ended(tmp_path: Path) -> None:
    run = started(tmp_path, ["slow-1", "slow-2"], "'seconds': 60")
    wait_until((tmp_path / "tried-slow-1").exists)
    run.kill()
    run.wait()
    outcome = walk(tmp_path, "slow-1", "slow-2", seconds=0.1)
    assert outcome.done == 2
    assert len(far_work.tries(tmp_path, "slow-1")) == 2


def test_a_run_on_this_machine_ends_the_jobs_of_a_killed_one_first(tmp_path: Path) -> None:
    run = started(tmp_path, ["slow-1"], "'seconds': 60")
    wait_until((tmp_path / "tried-slow-1").exists)
    run.kill()
    run.wait()
    assert slurm.end_left(tmp_path)
    assert jobs(tmp_path) == []
    assert list((tmp_path / "jobs").iterdir()) == []


def test_a_scan_that_ends_its_whole_job_has_one_more_try_and_costs_no_other(tmp_path: Path) -> None:
    outcome = walk(tmp_path, "a-1", "ends-1", "a-2", "a-3", "a-4")
    assert [row["scan"] for row in outcome.rows] == ["a-1", "a-2", "a-3", "a-4"]
    assert {row["scan"]: row["reason"] for row in outcome.set_aside} == {"ends-1": "worker_died"}
    assert len(set(far_work.tries(tmp_path, "ends-1"))) == 2


def test_a_dead_worker_is_told_as_here_and_its_scan_tried_anew_on_another_site(tmp_path: Path) -> None:
    for site in (SITE, SITE, Site(minutes=50, memory_gb=1.0)):
        assert [row["reason"] for row in walk(tmp_path, "dies-1", "a-1", site=site).set_aside] == ["worker_died"]
    assert len(far_work.tries(tmp_path, "dies-1")) == 4
    assert len(far_work.tries(tmp_path, "a-1")) == 1


def test_a_profile_that_slurm_refuses_is_told_in_slurm_s_words(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"refused the jobs .*partition"):
        walk(tmp_path, "a-1", site=Site(slurm=SlurmOptions(partition="nowhere")))


def test_jobs_that_end_with_nothing_done_stop_the_run_and_leave_their_log(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="3 times with nothing done") as caught:
        walk(tmp_path, "a-1", site=Site(minutes=5, python="/no/such/python"))
    log = Path(caught.value.do.partition("Read why in ")[2].partition(",")[0])
    assert "/no/such/python" in "".join(path.read_text() for path in log.glob("*.err"))


def test_what_jobs_leave_is_for_their_owner_only(tmp_path: Path) -> None:
    run = started(tmp_path, ["slow-1"], "'seconds': 60")
    wait_until((tmp_path / "tried-slow-1").exists)
    run.kill()
    run.wait()
    assert (tmp_path / "jobs" / "try").stat().st_mode & 0o077 == 0
    chunk = json.loads((tmp_path / "jobs" / "try" / "chunk-0.json").read_text())
    assert chunk["ids"] == ["slow-1"]
    slurm.end_left(tmp_path)
