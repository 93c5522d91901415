"""A real Slurm of one node on loopback, with two partitions of which one preempts the other."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
CONFIG = """
ClusterName=espalier
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
MessageTimeout=30
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=60 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=high Nodes={host} MaxTime=60 State=UP PriorityTier=10 PreemptMode=OFF
"""


def wait_until(is_so: Callable[[], bool], *, within_s: float = 120) -> None:
    until = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < until, "it never came to pass"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """Run Slurm's daemons from a folder of their own, and let its commands find them."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ.get('PATH')}:/usr/sbin") is None]
    if missing or os.geteuid() != 0:
        why = f"{', '.join(missing)} missing: make system installs them" if missing else "it needs to be started as root"
        pytest.skip(f"Slurm is left out: {why}")
    folder = Path(tempfile.mkdtemp(prefix="espalier-slurm-"))
    daemons: list[subprocess.Popen[bytes]] = []
    patch = pytest.MonkeyPatch()
    patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    try:
        start(folder, daemons)
        yield folder
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            daemon.wait(timeout=30)
        patch.undo()
        shutil.rmtree(folder, ignore_errors=True)


def start(folder: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    folder.chmod(0o755)
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    config = CONFIG.format(host=host, folder=folder, controller=free_port(), node=free_port())
    (folder / "slurm.conf").write_text(config)
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    munge = {
        "socket": "munge.socket",
        "key-file": "munge.key",
        "pid-file": "munge.pid",
        "log-file": "munge.log",
        "seed-file": "seed",
    }
    commands = [
        ["munged", "--foreground", "--force", *(f"--{name}={folder / own}" for name, own in munge.items())],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D"],
    ]
    environment = os.environ | {"PATH": f"{os.environ.get('PATH')}:/usr/sbin"}
    for command in commands:
        with (folder / f"{command[0]}.out").open("wb") as out:
            daemons.append(subprocess.Popen(command, stdout=out, stderr=out, env=environment))
        if command[0] == "munged":
            wait_until((folder / "munge.socket").exists)
    wait_until(lambda: "idle" in said("sinfo", "--noheader", "--format=%t"))


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
