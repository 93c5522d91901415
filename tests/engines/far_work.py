"""Work for jobs on a cluster; the scan's id says how it goes. Nodes import it."""

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espalier.errors import ScanError


def work(folder: Path, scan: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    way, *_ = scan.split("-")
    with (folder / f"tried-{scan}").open("a") as stream:
        stream.write(f"{os.environ.get('SLURM_JOB_ID', 'none')}\n")
    if way == "bad":
        raise ScanError("a file", code="too_short", found="3 slices", expected="10", do="Export it again.")
    if way == "slow":
        time.sleep(options.get("seconds", 0.3))
    if way == "ends":  # its whole job, without a word
        subprocess.run(["scancel", "--signal=KILL", "--full", os.environ["SLURM_JOB_ID"]], check=False)
        time.sleep(60)
    if way == "dies":
        os._exit(7)
    (folder / f"out-{scan}").write_text(scan)
    return [{"scan": scan, "threads": os.environ["OMP_NUM_THREADS"], "variable": os.environ.get("FROM_PROFILE")}]


def tries(folder: Path, scan: str) -> list[str]:
    path = folder / f"tried-{scan}"
    return path.read_text().split() if path.is_file() else []
