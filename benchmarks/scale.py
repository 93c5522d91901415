"""50,000 tiny stand-in scans through the loop over scans: CPU, memory and time to go on after a stop.

    python benchmarks/scale.py [SCANS]

The work on a scan is nothing, so that all that is measured is bookkeeping: the record of each, and finding out what is left.
CPU times count this process and its workers; memory is the highest that this process ever held.
"""

import datetime as dt
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[name] = "1"
sys.path.insert(0, str(Path(__file__).parent))
# Workers find the work by the name of this file.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))

import scale  # the work must have the same name here and in a worker
from demo import machine

from espalier.outputs import write_json
from espalier.stage import read_records, run_stage

SCANS = 50_000
STOP_AT = 0.6


def work(folder: Path, scan: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:  # noqa: ARG001
    return [{"scan": scan, "spacing_mm": [3.0, 1.5, 1.5], "sha256": {f"{scan}.b2nd": "0" * 64}}]


def measure(total: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    scans = [f"{n:016x}" for n in range(total)]
    keys = dict.fromkeys(scans, "0" * 64)
    first = scans[: int(STOP_AT * total)]

    def walk(folder: Path, some: list[str], workers: int) -> None:
        run_stage("tiny", scale.work, some, folder=folder, keys=keys, options={}, workers=workers, collect=False)

    for workers in (1, 2):
        with tempfile.TemporaryDirectory(prefix="espalier-scale-") as name:
            folder = Path(name)
            walk(folder, scans[:100], workers)  # imports and starts
            begun = peak_mb()
            with measured(rows, f"{workers} worker(s): first {len(first)} scans", len(first) - 100):
                walk(folder, first, workers)
            with measured(rows, f"{workers} worker(s): the rest, after a stop", total - len(first)):
                walk(folder, scans, workers)
            with measured(rows, f"{workers} worker(s): nothing left to do", total):
                walk(folder, scans, workers)
            grown = peak_mb() - begun
            rows.append({"what": f"{workers} worker(s): memory grown", "ours": round(grown, 1), "unit": "MB"})
            with measured(rows, f"{workers} worker(s): all records read", total):
                read = sum(len(record["rows"]) for _, record in read_records("tiny", scans, folder=folder))
            assert read == total
    return rows


@contextmanager
def measured(rows: list[dict[str, Any]], what: str, scans: int) -> Iterator[None]:
    cpu, wall = cpu_seconds(), time.perf_counter()
    yield
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    rows.append({"what": f"{what}: CPU per scan", "ours": round(1000 * cpu / scans, 3), "unit": "ms"})
    rows.append({"what": f"{what}: time in all", "ours": round(wall, 2), "unit": "s"})
    print(*rows[-2:], sep="\n", flush=True)


def cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    total = int(sys.argv[1]) if len(sys.argv) > 1 else SCANS
    data = {
        "machine": machine(),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "settings": {"scans": total, "threads": 1},
        "rows": measure(total),
    }
    if total >= SCANS:
        write_json(Path(__file__).with_suffix(".json"), data, kind="benchmark")


if __name__ == "__main__":
    main()
