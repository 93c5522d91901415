"""Run the demo as a new user would and keep what it showed: python benchmarks/demo.py [FOLDER]

A phantom result. It shows the mechanism and is no evidence about patients.
"""

import datetime as dt
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from espalier.outputs import write_json

ESPALIER = [sys.executable, "-m", "espalier.cli"]


def machine() -> dict[str, object]:
    import os

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {"processor": model, "processors": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="espalier-demo-"))
    begun = time.monotonic()
    out = subprocess.run([*ESPALIER, "demo", str(folder), "--json"], stdout=subprocess.PIPE, text=True, check=True)
    seconds = time.monotonic() - begun
    told = json.loads(out.stdout)
    comparison = json.loads((folder / "comparison" / "comparison.json").read_text(encoding="utf-8"))
    rows = [{"what": f"macro AUROC, {arm}", "ours": value, "unit": "AUROC"} for arm, value in told["arms"].items()]
    rows += [{"what": f"{arm} minus plain", "ours": value, "unit": "AUROC"} for arm, value in told["differences"].items()]
    rows += [{"what": f"{arm} minus placebo", "ours": value, "unit": "AUROC"} for arm, value in told["against_placebo"].items()]
    for arm, difference in comparison["differences"].items():
        for finding, values in difference["findings"].items():
            rows.append({"what": f"{arm} minus plain, {finding}", "ours": values["auroc"], "unit": "AUROC"})
    for arm, cost in comparison["cost"].items():
        plain = comparison["cost"]["plain"]["seconds_per_step"]
        rows.append({"what": f"time per step, {arm}", "ours": cost["seconds_per_step"], "other": plain,
                     "ratio": cost["seconds_per_step"] / plain, "unit": "s"})  # fmt: skip
    rows.append({"what": "whole demo", "ours": round(seconds, 1), "unit": "s"})
    data = {
        "machine": machine(),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
        "settings": {"recipe": "demo", "cohort": "made-up trauma patients, seed 2026, 400 to train and validate, 300 to test"},
        "rows": rows,
    }
    write_json(Path(__file__).with_suffix(".json"), data, kind="benchmark")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
