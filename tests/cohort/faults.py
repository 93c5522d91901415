"""Every fault of real cohorts, one folder each, and how each must end; `python tests/cohort/faults.py OUT` writes them.

`espalier ingest OUT` then judges all of them in one run. A fault's folder is named after the function that writes it, and
its number is that of docs/reference/faults.md.
"""

import csv
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    __package__ = "tests.cohort"

from .fault_codecs import CODECS, CODECS_WITH_SETTINGS
from .fault_files import FILES, FILES_WITH_SETTINGS
from .fault_frames import FRAMES
from .fault_geometry import GEOMETRY, GEOMETRY_WITH_SETTINGS
from .fault_nifti import NIFTI, NIFTI_WITH_SETTINGS
from .fault_pixels import PIXELS
from .fault_scans import Expected

Write = Callable[[Path], Expected]
STUDY = '[cohort]\nsources = ["scans"]\nlayout = "mixed"\n'


def name_of(write: Write) -> str:
    """Return the folder of a fault: `01-missing-slice` for `fault_01_missing_slice`."""
    return write.__name__.removeprefix("fault_").replace("_", "-")


FAULTS: Mapping[str, Write] = {
    name_of(write): write
    for write in sorted((*GEOMETRY, *PIXELS, *FILES, *FRAMES, *CODECS, *NIFTI), key=lambda write: write.__name__)
}
"""Faults that are judged together, under the usual settings."""
WITH_SETTINGS: Mapping[str, tuple[Write, str]] = {
    name_of(write): (write, setting)
    for write, setting in (*GEOMETRY_WITH_SETTINGS, *FILES_WITH_SETTINGS, *CODECS_WITH_SETTINGS, *NIFTI_WITH_SETTINGS)
}
"""Faults that end in another way under a setting of `[cohort]`, which is given with each."""

ELSEWHERE: Mapping[int, tuple[str, ...]] = {
    54: ("mask_shape", "mask_position"),
    55: ("empty", "volume_small", "volume_large", "sides_swapped", "little_overlap"),
    56: ("worker_died", "timed_out", "out_of_memory"),
    57: (),
    59: (),
    60: (),
    61: (),
    62: (),
    63: ("conflicting_reports",),
    64: ("no_report", "no_scan"),
    65: (),
}
"""Codes of faults that are no scan's: tested in tests/masks, test_fault_machines.py and test_fault_tables.py."""


def write_faults(out: Path, faults: Mapping[str, Write] = FAULTS, *, setting: str = "") -> dict[str, Expected]:
    """Write a study of faults: `scans/<fault>/`, `study.toml` and `expected.csv`."""
    (out / "scans").mkdir(parents=True)
    expected = {name: write(out / "scans" / name) for name, write in faults.items()}
    (out / "study.toml").write_text(STUDY + setting + "\n", encoding="utf-8")
    with (out / "expected.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = csv.DictWriter(stream, ["fault", *(field.name for field in fields(Expected))])
        rows.writeheader()
        for name, one in expected.items():
            told = {key: " ".join(map(str, value)) if isinstance(value, tuple) else value for key, value in asdict(one).items()}
            rows.writerow({"fault": name, **told})
    return expected


if __name__ == "__main__":
    if len(sys.argv) != 2 or Path(sys.argv[1]).exists():
        sys.exit("usage: python tests/cohort/faults.py OUT, where OUT is a folder that is not there yet")
    written = write_faults(Path(sys.argv[1]))
    print(f"{len(written)} faults in {sys.argv[1]}. Next: espalier ingest {sys.argv[1]}")
