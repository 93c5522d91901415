"""Tables of a made-up cohort, full of canaries where identifiers stand."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from espalier.cohort.looks import keep_look
from espalier.cohort.table import COHORT, write_cohort, write_series_table
from espalier.cohort.volume import Volume
from espalier.stage import write_set_aside

CANARIES = ("Zqpatient", "Zqstudy", "Zqseries", "Zqsource", "Zqstem", "Zqaccession", "Zqfile", "Zqdescription", "Zqsite",
    "Zqfound", "Zqname")  # fmt: skip


def cohort_row(n: int, **other: Any) -> dict[str, Any]:
    row = {
        "scan": f"{n:016x}",
        "patient": f"Zqpatient{n}",
        "study_uid": f"Zqstudy{n}",
        "series_uid": f"Zqseries{n}",
        "source": f"scans/Zqsource{n}",
        "shape_z": 100,
        "shape_y": 512,
        "shape_x": 512,
        "spacing_z_mm": 3.0,
        "spacing_y_mm": 0.75,
        "spacing_x_mm": 0.75,
        "verdict": "sound",
        "notes": [],
        "age_years": 60.0,
        "sex": "F",
        "manufacturer": "Maker",
        "kernel": "B30f",
        "slice_mm": 3.0,
        "contrast": "",
        "site": "Zqsite",
        "stem": f"Zqstem{n}",
        "accession": f"Zqaccession{n}",
        "format": "dicom",
        "files": [f"Zqfile{n}_{i}.dcm" for i in range(3)],
        "coverage_mm": 300.0,
        "hu_p01": -1000.0,
        "hu_median": -700.0,
        "hu_p99": 300.0,
    }
    return row | other


def series_row(n: int, **other: Any) -> dict[str, Any]:
    own = cohort_row(n)
    row = {name: own[name] for name in ("scan", "patient", "study_uid", "series_uid", "source", "format", "kernel")}
    row |= {"description": "Zqdescription", "slices": 100, "spacing_z_mm": 3.0, "coverage_mm": 300.0, "axial": True}
    return row | {"problem": "", "chosen": True, "why": "the only series"} | other


def aside_row(n: int, reason: str, do: str) -> dict[str, str]:
    return {
        "source": f"scans/Zqsource{n}/Zqname{n}.nii.gz",
        "scan": f"{n:016x}",
        "reason": reason,
        "found": "Zqfound",
        "expected": "a scan",
        "do": do,
    }


def write_tables(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    series: Sequence[Mapping[str, Any]] = (),
    aside: Sequence[Mapping[str, Any]] = (),
) -> Path:
    write_set_aside(folder, "ingest", aside)
    write_series_table(folder, series, key="key")
    write_cohort(folder, rows, key="key")
    return folder / COHORT


def give_look(folder: Path, scan: str, *, seed: int = 0) -> None:
    hu = np.random.default_rng(seed).normal(0, 100, (12, 16, 16)).astype(np.int16)
    keep_look(folder, scan, Volume(hu, np.eye(4)[[2, 1, 0, 3]]), np.zeros((16, 16, 16), dtype=np.int16))
