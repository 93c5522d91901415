"""Kill -9 at random moments of `ingest`, `label`, `segment` and `prepare`: the files must be those of a run that was not.

    python benchmarks/kills.py [KILLS] [MINUTES]

The cohort is made up, the masks are found by thresholds. In each study every stage is killed up to five times, at moments
drawn from the time that it takes when nobody kills it, before it may come to its end; then all files are compared, and a new
study begun. Stops after MINUTES and keeps the number of kills that were really done.
"""

import datetime as dt
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from demo import machine

from espalier.outputs import write_json
from espalier.phantom.cohort import make_phantom
from espalier.phantom.options import PhantomOptions

SEED, KILLS_PER_STAGE = 20, 5
PHANTOM = PhantomOptions(patients=24, anatomy="chest", form="mixed", seed=SEED, test=6, pixels=48, slice_mm=(4, 6))
STUDY = """
[cohort]
sources = ["{phantom}/nifti", "{phantom}/dicom"]
table = "{phantom}/scans.csv"
[labels]
reports = "{phantom}/reports.csv"
lexicon = "ct-rate"
[masks]
source = "threshold"
structures = "threshold"
[store]
spacing_mm = [8.0, 8.0, 8.0]
shape = [40, 48, 48]
"""
VERBS = ("ingest", "label", "segment", "prepare")


WORK = "import sys; from espalier.pipeline.stages import do; from espalier.study import read_study\n"
WORK += "do(read_study(sys.argv[1]), sys.argv[2], workers=2)"


def stage(study: Path, verb: str, kill_after: float | None = None) -> float | None:
    """Do one stage; return how long it took, or None where a kill met it."""
    command, told, begun = [sys.executable, "-c", WORK, str(study), verb], study.parent / "told.txt", time.monotonic()
    with (
        told.open("w") as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True) as process,
    ):
        try:
            process.wait(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return None
    if process.returncode:
        raise SystemExit(told.read_text())
    return time.monotonic() - begun


def contents(folder: Path) -> dict[str, str]:
    out = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in {"cost.json", ".lock", "masks_found.json"}:
            out[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return out


def main() -> None:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    until = time.monotonic() + 60 * (float(sys.argv[2]) if len(sys.argv) > 2 else 60)
    rng, met, studies, differing = random.Random(SEED), dict.fromkeys(VERBS, 0), 0, 0
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="espalier-kills-") as name:
        root = Path(name)
        make_phantom(root / "phantom", PHANTOM)
        (root / "study").mkdir()
        (root / "study" / "study.toml").write_text(STUDY.format(phantom=root / "phantom"))
        walked = root / "walked"
        shutil.copytree(root / "study", walked)
        longest = {verb: stage(walked, verb) or 0.0 for verb in VERBS}
        wanted = contents(walked)
        while sum(met.values()) < kills and time.monotonic() < until:
            shutil.rmtree(walked)
            shutil.copytree(root / "study", walked)  # at the same path: the tables name their sources
            for verb in VERBS:
                for _ in range(min(KILLS_PER_STAGE, kills - sum(met.values()))):
                    met[verb] += stage(walked, verb, rng.uniform(0.3, longest[verb])) is None
                stage(walked, verb)
            studies, made = studies + 1, contents(walked)
            differing += sum(made.get(one) != wanted.get(one) for one in {*made, *wanted})
            print(f"{sum(met.values())} kills, {studies} studies, {differing} files differ", flush=True)
    rows: list[dict[str, Any]] = [{"what": f"kills during {verb}", "ours": n, "unit": "kills"} for verb, n in met.items()]
    rows.append({"what": "kills in all", "ours": sum(met.values()), "unit": "kills", "goal": 100})
    rows.append({"what": "studies walked to their end", "ours": studies, "unit": "studies"})
    rows.append({"what": "files that differ from those of a run that was not killed", "ours": differing, "unit": "files"})
    data = {
        "machine": machine(),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "settings": {
            "patients": PHANTOM.patients,
            "files": len(wanted),
            "seconds": {verb: round(took, 1) for verb, took in longest.items()},
            "seed": SEED,
        },
        "rows": rows,
    }
    write_json(Path(__file__).with_suffix(".json"), data, kind="benchmark")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
