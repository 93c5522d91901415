"""Hostile bytes through the readers: nothing but Espalier's own errors may come out (atheris).

    python -m pip install 'atheris>=3'
    python benchmarks/fuzz.py scans|tables [SECONDS]

`scans` feeds mutated DICOM, NIfTI, NRRD, MetaImage, npz and archives from header to volume, `tables` feeds the CSV reader. What
is found is written down in fuzz.json; the inputs that once broke a reader live on in tests/cohort/test_fuzz.py.
"""

import datetime as dt
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["espalier"]):
    from espalier.cohort import elements, headers, pixels  # noqa: F401 - instrumented before they are used
    from espalier.cohort.csv_table import read_csv_table
    from espalier.cohort.read import read_path
    from espalier.errors import EspalierError
    from espalier.outputs import read_json, write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cohort"))
from demo import machine
from fuzz_seeds import SUFFIXES, scan_seeds, table_seeds

PLACE = Path(tempfile.mkdtemp(prefix="espalier-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def scans(data: bytes) -> None:
    """Read one hostile file: the first byte tells its kind, a slice of DICOM lies among two sound ones."""
    if not data:
        return
    suffix = SUFFIXES[data[0] % len(SUFFIXES)]
    path = PLACE / suffix.strip(".") / f"hostile{suffix}"
    path.write_bytes(data[1:])
    with suppress(EspalierError):
        read_path(path.parent if suffix == ".dcm" else path)


def tables(data: bytes) -> None:
    path = PLACE / "table.csv"
    path.write_bytes(data)
    with suppress(EspalierError):
        read_csv_table(path)


def main() -> None:
    what, seconds = sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 300.0
    corpus = PLACE / "corpus"
    corpus.mkdir()
    seeds = scan_seeds(PLACE / "seeds") if what == "scans" else table_seeds()
    for n, seed in enumerate(seeds):
        (corpus / f"seed-{n}").write_bytes(seed)
    for suffix in SUFFIXES:
        (PLACE / suffix.strip(".")).mkdir()
    for n, seed in enumerate(seed for seed in seeds if what == "scans" and seed[:1] == b"\0"):
        (PLACE / "dcm" / f"sound-{n}.dcm").write_bytes(seed[1:])
    begun, runs = time.monotonic(), 0

    def one(data: bytes) -> None:
        nonlocal runs
        runs += 1
        (scans if what == "scans" else tables)(data)
        if time.monotonic() - begun > seconds:
            record(what, runs, time.monotonic() - begun)
            os._exit(0)

    atheris.Setup([sys.argv[0], str(corpus), "-rss_limit_mb=4096", "-timeout=60", "-max_len=60000", "-verbosity=0"], one)
    atheris.Fuzz()


def record(what: str, runs: int, seconds: float) -> None:
    path = Path(__file__).with_suffix(".json")
    before = read_json(path, kind="benchmark")["rows"] if path.is_file() else []
    rows = [row for row in before if row["what"] != what]
    rows.append({"what": what, "ours": runs, "unit": "inputs, nothing but EspalierError came out", "seconds": round(seconds)})
    data = {"machine": machine(), "date": dt.datetime.now(tz=dt.UTC).date().isoformat(), "settings": {}, "rows": rows}
    write_json(path, data, kind="benchmark")
    print(rows)


if __name__ == "__main__":
    main()
