"""Ray on a cluster of this machine alone: what it does with a stage's scans is what this machine does without it."""

import importlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from espalier.engines import ray as engine
from espalier.engines.chunk import Chunk
from espalier.engines.place import Place, working_at
from espalier.engines.site import RayOptions, Site
from espalier.errors import ResourceError
from espalier.stage import Outcome, run_stage

ray = pytest.importorskip("ray")
HERE = str(Path(__file__).parent)
sys.path.append(HERE)
far_work = importlib.import_module("far_work")
sys.path.remove(HERE)

SITE = Site(cpus=1, memory_gb=0.5, jobs=2, scans_per_job=3, variables={"FROM_PROFILE": "a word"})


@pytest.fixture(autouse=True)
def tasks_find_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (HERE, os.environ.get("PYTHONPATH")))))
    # Tests that ran before may have loaded Ray without the engine's own setting.
    monkeypatch.setattr("ray._private.ray_constants.ENABLE_RAY_CLUSTER", False)
    monkeypatch.setattr("ray._private.services.ray_constants.ENABLE_RAY_CLUSTER", False)


def walk(folder: Path, *scans: str, site: Site | None = SITE, **more: Any) -> Outcome:
    keys = {scan: f"{scan}-1" for scan in scans}
    with working_at(Place(engine="ray", sites={"": site}) if site else Place()):
        return run_stage("try", far_work.work, scans, folder=folder, keys=keys, options=more, workers=2)


def listening() -> Iterator[tuple[str, int]]:
    """Yield address and port of all that listens, in TCP of both kinds."""
    for name, family, size in (("tcp", socket.AF_INET, 8), ("tcp6", socket.AF_INET6, 32)):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                address, _, port = words[1].partition(":")
                packed = b"".join(bytes.fromhex(address[n : n + 8])[::-1] for n in range(0, size, 8))
                yield socket.inet_ntop(family, packed), int(port, 16)


def test_a_stage_gives_the_same_records_and_outputs_on_ray_as_here(tmp_path: Path) -> None:
    scans = [*(f"a-{n}" for n in range(7)), "bad-1", "dies-1"]
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    local, far = walk(here, *scans, site=None), walk(there, *scans)
    assert {row.pop("variable") for row in far.rows} == {"a word"}
    assert {row.pop("variable") for row in local.rows} == {None}
    assert far == local
    assert sorted(path.name for path in there.glob("out-*")) == sorted(path.name for path in here.glob("out-*"))
    assert not ray.is_initialized()


def test_a_cluster_of_this_machine_listens_on_loopback_only_and_asks_for_a_token() -> None:
    before = set(listening())
    with engine._cluster(SITE):
        opened = set(listening()) - before
        assert len(opened) >= 4
        assert {address for address, _ in opened} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert os.environ["RAY_AUTH_MODE"] == "token"
    assert "RAY_USAGE_STATS_ENABLED" not in os.environ


def test_a_lost_task_costs_the_scan_it_was_at_one_more_try_and_no_other_scan() -> None:
    lost = "import sys, os, signal, json\nfor line in sys.stdin:\n    id_ = line.strip()\n"
    lost += "    if id_ == 'c': os.kill(int(open(f'/proc/{os.getppid()}/stat').read().split()[0]), signal.SIGKILL)\n"
    lost += "    print(json.dumps({'id': id_}), flush=True)"
    whole = Chunk(command=(sys.executable, "-c", lost), ids=tuple("abcde"))
    finished = {one.id: one for one in engine.run(whole, site=SITE)}
    assert set(finished) == set("abcde")
    assert {id_ for id_, one in finished.items() if one.answer is None} == {"c"}
    assert finished["c"].code == "worker_died"


def test_a_caller_that_leaves_early_ends_the_cluster(tmp_path: Path) -> None:
    whole = Chunk(command=(sys.executable, "-m", "espalier.stage", "far_work:work", str(tmp_path), "{}"), ids=("a-1", "slow-1"))
    finished = engine.run(whole, site=SITE)
    assert next(finished).answer is not None
    finished.close()
    assert not ray.is_initialized()


def test_an_address_without_a_cluster_is_told() -> None:
    whole = Chunk(command=("true",), ids=("a",))
    with pytest.raises(ResourceError, match="no cluster there"):
        list(engine.run(whole, site=Site(ray=RayOptions(address="127.0.0.1:1"))))
