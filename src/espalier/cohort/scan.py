"""One chosen scan read wholly, judged, and told as a row of the cohort (the work of the stage `ingest`)."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from espalier.cohort.checks import Checked, axis_along_body, check_volume
from espalier.cohort.discover import files_of
from espalier.cohort.hints import read_hints
from espalier.cohort.looks import keep_look
from espalier.cohort.options import CohortOptions
from espalier.cohort.plans import read_plan
from espalier.cohort.read import read_files
from espalier.cohort.twins import thumbnail
from espalier.cohort.volume import Reading
from espalier.errors import ScanError
from espalier.stage import Rows

STAGE: Final = "ingest"
SETTINGS: Final = ("max_slice_mm", "min_slices", "body_part", "lossy")
IDENTIFIERS: Final = ("patient", "study_uid", "series_uid", "accession")
DESCRIPTION: Final = ("age_years", "sex", "manufacturer", "kernel", "contrast", "site", "official_split")


def settings_of(options: CohortOptions) -> dict[str, Any]:
    """Return the settings that decide whether a scan that was read is used."""
    return {name: getattr(options, name) for name in SETTINGS}


def check_scan(folder: Path, scan: str, options: Mapping[str, Any]) -> Rows:
    """Read one chosen scan wholly and return its row of the cohort.

    Raises
    ------
    ScanError
        When it cannot be used; `source` is the scan's, relative to the study where it lies below it.
    """
    plan = read_plan(folder, STAGE, scan)
    settings = CohortOptions(sources=(plan["source"],), **options)
    try:
        reading = _reading(plan, folder, scan)
        if "lossy" in reading.notes and settings.lossy == "set_aside":
            raise _lossy(plan["source"])
        axis = 0 if plan["format"] == "dicom" else axis_along_body(reading.volume)
        checked = check_volume(
            reading.volume,
            settings,
            source=plan["source"],
            axis=axis,
            widest_gap_mm=reading.widest_gap_mm,
            contrast=plan["about"]["contrast"],
        )
    except ScanError as error:
        raise ScanError(plan["source"], code=error.code, found=error.found, expected=error.expected, do=error.do) from error
    keep_look(folder, scan, reading.volume, thumbnail(reading.volume))
    return [_row(plan, scan, reading, checked, axis)]


def _reading(plan: Mapping[str, Any], folder: Path, scan: str) -> Reading:
    if plan["problem"] == "uid_of_two_patients":
        do = "Give each patient's series a UID of its own."
        found = "one series UID for two patients"
        raise ScanError(plan["source"], code=plan["problem"], found=found, expected="one patient", do=do)
    names: Sequence[str] = plan["names"] or (files_of(folder, plan, scan) if plan["units"] else [])
    source = folder / plan["source"]
    return read_files(source, form=plan["format"], files=names, hints=read_hints(plan["hints"]), below=folder / "records")


def _lossy(source: str) -> ScanError:
    found, do = "compressed with loss", 'Export it without loss, or write lossy = "note" in [cohort].'
    return ScanError(source, code="lossy", found=found, expected="pixels as the scanner made them", do=do)


def _row(plan: Mapping[str, Any], scan: str, reading: Reading, checked: Checked, axis: int) -> dict[str, Any]:
    volume = reading.volume
    about = plan["about"]
    notes = list(dict.fromkeys([*plan["notes"], *reading.notes, *checked.notes]))
    digest = hashlib.sha256(np.ascontiguousarray(volume.voxels).data)
    digest.update(volume.affine.tobytes())
    return {
        "scan": scan,
        **{name: about[name] for name in (*IDENTIFIERS, *DESCRIPTION)},
        "source": plan["source"],
        **dict(zip(("shape_z", "shape_y", "shape_x"), volume.shape, strict=True)),
        **dict(zip(("spacing_z_mm", "spacing_y_mm", "spacing_x_mm"), volume.spacing_mm, strict=True)),
        "verdict": "noted" if notes else "sound",
        "notes": notes,
        "slice_mm": about["slice_mm"] or volume.spacing_mm[axis],
        "stem": plan["stem"],
        "format": plan["format"],
        "files": list(reading.files),
        "hints": plan["hints"],
        "voxels_sha256": digest.hexdigest(),
        **checked.columns,
    }
