"""Work on scans that kills, hangs, hogs or pollutes its worker; the scan's id says how. Worker processes import it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espalier.outputs import written_whole

CANARY = "CANARY^NAME"


def work(folder: Path, scan: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    (folder / f"try-{scan}-{os.getpid()}").touch()
    way = scan.partition("-")[0]
    if way in WAYS:
        WAYS[way](folder)
    return [{"scan": scan}]


def tries(folder: Path, scan: str) -> int:
    return len(list(folder.glob(f"try-{scan}-*")))


def hang(folder: Path) -> None:
    (folder / f"pid-{os.getpid()}").touch()
    time.sleep(600)


def hang_with_a_child(folder: Path) -> None:
    child = subprocess.Popen(["sleep", "600"])
    (folder / f"pid-{child.pid}").touch()
    time.sleep(600)


def take_300_mb(folder: Path) -> None:
    held = b"x" * 300_000_000
    time.sleep(0.6)
    assert held


def take_1_gb(folder: Path) -> None:
    held = [b"x" * 50_000_000 for _ in range(20) if time.sleep(0.05) is None]
    time.sleep(600)
    assert held


def run_out_of_memory(folder: Path) -> None:
    raise MemoryError


def print_rubbish(folder: Path) -> None:
    print(f"{CANARY} on Python's stdout")
    print(f"{CANARY} on Python's stderr", file=sys.stderr)
    warnings.warn(CANARY, stacklevel=1)
    os.write(1, f"{CANARY} on the process's stdout\n".encode())
    subprocess.run(["echo", CANARY], check=True)


def break_down(folder: Path) -> None:
    raise ValueError(CANARY)


def write_2_mb(folder: Path) -> None:
    (folder / "big.bin").write_bytes(bytes(2_000_000))


def write_2_mb_whole(folder: Path) -> None:
    with written_whole(folder / "big.bin") as partial:
        partial.write_bytes(bytes(2_000_000))


WAYS = {
    "killed": lambda folder: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda folder: ctypes.string_at(0),
    "leaves": lambda folder: os._exit(7),
    "hangs": hang,
    "parent": hang_with_a_child,
    "hog": take_1_gb,
    "large": take_300_mb,
    "memory": run_out_of_memory,
    "rubbish": print_rubbish,
    "breaks": break_down,
    "writes": write_2_mb,
    "whole": write_2_mb_whole,
}
