"""A whole made-up cohort on disk: scans as DICOM and NIfTI, reports, splits, and the truth behind them."""

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from espalier.errors import ResourceError
from espalier.masks.files import Masks, write_masks
from espalier.masks.structures import STRUCTURES
from espalier.outputs import hash_of, key_of, locked, sweep, write_csv, write_json
from espalier.phantom.findings import FINDINGS
from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import Scan, make_patient
from espalier.phantom.scanner import Person
from espalier.phantom.write import series_uid, write_dicom, write_nifti
from espalier.stage import Summary, run_stage

PHANTOM: Final = "phantom.json"
VERSION: Final = 3
"""Counts changes of the drawing: a cohort of an older drawing is made anew."""
EVERY: Final = 20
"""In a mixed cohort one patient in so many is written as DICOM."""
SCAN_COLUMNS: Final = (
    "file",
    "patient",
    "study",
    "accession",
    "age_years",
    "sex",
    "manufacturer",
    "kernel",
    "slice_mm",
)
MADE: Final = ("dicom", "nifti", "truth", "records", "scans.csv", "reports.csv", "splits.csv", PHANTOM)


def make_phantom(out: Path, options: PhantomOptions, *, workers: int = 1) -> Summary:
    """Make a cohort in the folder `out`; called again, it goes on where it stopped, or does nothing.

    Writes `phantom.json` last, `dicom/<patient>/<study>/<series>/NNN.dcm`, `nifti/<patient>/<study>/<series>.nii.gz`,
    `scans.csv` (the NIfTI scans: what DICOM would say in its tags), `reports.csv`, `splits.csv`, and in `truth/`
    `labels.csv`, `details.csv` and `masks/<series>.nii.gz`, where `<series>` is the stem of the NIfTI file or the
    SeriesInstanceUID. A cohort of other options in `out` is replaced.

    Raises
    ------
    ResourceError
        Another run is at work in `out`, a worker was killed twice, or the disk is full.
    """
    key = hash_of("phantom", VERSION, options)
    done = Summary(
        verb="phantom", done=options.patients, words=f"{options.patients} made-up patients ({options.anatomy})", wrote=(out,)
    )
    if key_of(out / PHANTOM) == key:
        shutil.rmtree(out / "records", ignore_errors=True)
        return done
    with locked(out):
        _clear_other(out, key)
        sweep(out)
        numbers = [f"{number:05d}" for number in range(options.patients)]
        outcome = run_stage(
            "phantom",
            write_patient,
            numbers,
            folder=out,
            keys=dict.fromkeys(numbers, key),
            options=dataclasses.asdict(options),
            workers=workers,
        )
        if outcome.set_aside:
            first = outcome.set_aside[0]
            raise ResourceError(out, found=f"patient {first['scan']}: {first['found']}", do=first["do"])
        _write_tables(out, options, outcome.rows)
        write_json(out / PHANTOM, {"options": dataclasses.asdict(options)}, kind="phantom", key=key)
        shutil.rmtree(out / "records")
    return done


def write_patient(folder: Path, number: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Make patient `number`, write the scans and masks, and return one row for the tables; the work of `run_stage`."""
    settings = PhantomOptions(**{**options, "slice_mm": tuple(options["slice_mm"])})
    patient = make_patient(int(number), settings)
    as_dicom = settings.form == "dicom" or (settings.form == "mixed" and int(number) % EVERY == 0)
    write = _write_as_dicom if as_dicom else _write_as_nifti
    scans = [row for scan in patient.scans for row in write(folder, patient.person, scan, settings)]
    truth, person = patient.truth, patient.person
    return [
        {
            "patient": person.patient,
            "accession": person.accession,
            "report": patient.report,
            "findings": dict(truth.findings),
            "details": {**truth.details, "look_alikes": " ".join(truth.look_alikes)},
            "scans": scans,
        }
    ]


def _write_as_dicom(folder: Path, person: Person, scan: Scan, options: PhantomOptions) -> list[dict[str, str]]:
    series = folder / "dicom" / person.patient / person.study / f"series-{scan.series.number}"
    write_dicom(series, scan, person, seed=options.seed, anatomy=options.anatomy)
    _write_truth(folder, series_uid(person, scan.series, options.seed), scan, options)
    return []


def _write_as_nifti(folder: Path, person: Person, scan: Scan, options: PhantomOptions) -> list[dict[str, str]]:
    stem = f"{person.patient}_{scan.series.number}_{scan.series.kernel}"
    file = f"{person.patient}/{person.study}/{stem}.nii.gz"
    write_nifti(folder / "nifti" / file, scan.hu, scan.series.grid.affine)
    _write_truth(folder, stem, scan, options)
    values = (
        file,
        person.patient,
        person.study,
        person.accession,
        person.age_years,
        person.sex,
        person.manufacturer,
        scan.series.kernel,
        f"{scan.series.slice_mm:g}",
    )
    return [dict(zip(SCAN_COLUMNS, map(str, values), strict=True))]


def _write_truth(folder: Path, name: str, scan: Scan, options: PhantomOptions) -> None:
    structures = STRUCTURES["abdomen" if options.anatomy == "trauma" else "chest"]
    names = dict(enumerate(structures, start=1))
    write_masks(folder / "truth" / "masks" / f"{name}.nii.gz", Masks(scan.masks, scan.series.grid.affine, names))


def _write_tables(out: Path, options: PhantomOptions, rows: Sequence[Mapping[str, Any]]) -> None:
    write_csv(out / "scans.csv", [scan for row in rows for scan in row["scans"]], SCAN_COLUMNS)
    write_csv(out / "reports.csv", rows, ("accession", "report"))
    splits = ["train"] * (options.patients - options.test) + ["test"] * options.test
    told = [{"patient": row["patient"], "split": split} for row, split in zip(rows, splits, strict=True)]
    write_csv(out / "splits.csv", told, ("patient", "split"))
    labels = [{"accession": row["accession"], **row["findings"]} for row in rows]
    write_csv(out / "truth" / "labels.csv", labels, ("accession", *FINDINGS[options.anatomy]))
    details = [
        {"accession": row["accession"], "detail": name, "value": str(value)}
        for row in rows
        for name, value in row["details"].items()
    ]
    write_csv(out / "truth" / "details.csv", details, ("accession", "detail", "value"))


def _clear_other(out: Path, key: str) -> None:
    """Remove what other options left: all of it where the cohort was whole or its records carry another key."""
    kept = next(iter(sorted((out / "records" / "phantom").glob("*.json"))), None)
    if kept is not None and key_of(kept) == key and not (out / PHANTOM).exists():
        return
    for name in MADE:
        path = out / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
