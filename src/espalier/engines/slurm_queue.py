"""What Slurm's own commands say of jobs, by the name that they were given; no accounting is needed."""

import contextlib
import getpass
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Final

from espalier.errors import ResourceError

ASK_S: Final = 10.0
"""Slurm is asked this often."""
PATIENCE_S: Final = 900.0
"""So long Slurm may give no answer before the caller gives up."""
STUCK: Final = {"BadConstraints", "PartitionTimeLimit", "JobHoldMaxRequeue", "launch_failed_requeued_held"}
"""Reasons for which a job waits for ever."""


def jobs_named(name: str) -> Mapping[str, str]:
    """Return this user's jobs whose names begin with `name`, by id, with their whole names.

    Raises
    ------
    ResourceError
        Where one of them will never start, or Slurm gives no answer for long.
    """
    command = ["squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%i|%r|%j"]
    jobs = {}
    for line in ask(command, patience_s=PATIENCE_S).splitlines():
        job, reason, own = line.strip().split("|", maxsplit=2)
        if own.startswith(name):
            jobs[job] = own
            if reason in STUCK:
                raise ResourceError("Slurm", found=f"job {job} will never start ({reason})", do="Mend the site profile.")
    return jobs


def cancel(name: str) -> None:
    """End all jobs of a name, and wait until they are gone."""
    until = time.monotonic() + 60
    while (jobs := _ids(name)) and time.monotonic() < until:
        # The first signal ends what runs at once: submitit's jobs would otherwise sit out Slurm's whole KillWait.
        for more in (["--signal=KILL", "--full"], []):
            ask(["scancel", "--quiet", *more, *jobs])
        time.sleep(0.5)


def wait_for_end(name: str) -> None:
    """Let jobs that are finished leave; end them where they stay."""
    until = time.monotonic() + 30
    while _ids(name) and time.monotonic() < until:
        time.sleep(0.5)
    cancel(name)


def _ids(name: str) -> list[str]:
    told = ask(["squeue", "--noheader", f"--user={getpass.getuser()}", f"--name={name}", "--format=%F"])
    return sorted(set(told.split()))


def ask(command: Sequence[str], *, patience_s: float = 0) -> str:
    """Return what one of Slurm's commands says; one that is away for a moment is asked again."""
    until = time.monotonic() + patience_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
            if asked.returncode == 0 or not patience_s:
                return asked.stdout
        if time.monotonic() >= until:
            raise ResourceError("Slurm", found="gives no answer", do="Run the same command again when it does.")
        time.sleep(ASK_S)
