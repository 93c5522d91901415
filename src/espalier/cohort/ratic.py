"""RATIC as it was downloaded: DICOM by patient and series, and tables that know the phase and cut-off structures.

Rudie et al. 2024 (RSNA 2023 Abdominal Trauma Detection). Labels belong to the patient, of whom there are one or two series;
the one with more contrast in the aorta is the late arterial phase. There is no official split. Stored values with unused
bits are mended by the decoder, as for any DICOM.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

from espalier.cohort.archives import is_archive_name
from espalier.cohort.cells import number_of, plain_id
from espalier.cohort.pseudonyms import pseudonym_of
from espalier.cohort.published_cells import maker_of
from espalier.cohort.published_layout import Layout, Told, find_table, read_rows, rows_without_files
from espalier.cohort.series import Series

NAME: Final = "ratic"
META: Final = ("train_series_meta.csv", "test_series_meta.csv")
COLUMNS: Final = ("patient_id", "aortic_hu", "incomplete_organ")
AORTIC_HU: Final = (-200.0, 1000.0)
"""Values beyond these (-1024 and 1411 occur) are no measurement."""

LONGEST_ID: Final = 5
"""Ids of patients and series run from 19 to 65508."""


@dataclass(frozen=True, slots=True)
class _Meta:
    """What the tables say: HU in the aorta by patient and series, which series are cut off, and whose each series is."""

    tables: Sequence[Told]
    aortic_hu: Mapping[str, Mapping[str, float]]
    incomplete: frozenset[str]
    patients: Mapping[str, str]


def enrich(series: Sequence[Series], *, source: Path, key: bytes | None = None) -> Layout:
    """Return DICOM series with what RATIC's folders and tables say of them.

    Both series of a patient become one study, so that one of them is chosen where the study asks for one; `contrast` says
    which phase it is, and the late arterial one has the lowest number.

    Parameters
    ----------
    series
        As grouped by their headers.
    source
        The folder that was downloaded, or one below it, as `train_images`.
    key
        The secret of `[cohort] pseudonyms`, by which the headers' identifiers were replaced already.

    Raises
    ------
    InputError
        When a table cannot be read.
    """
    places = [_folders(one) for one in series]
    meta = _read_meta(source)
    enriched: list[Series] = []
    notes: dict[str, tuple[str, ...]] = {}
    for one, (patient, own) in zip(series, places, strict=True):
        codes = {
            "patient_differs": bool(patient) and _hidden("patient", patient, key) != one.about.patient,
            "incomplete_structure": own in meta.incomplete,
            "not_in_metadata": bool(meta.tables) and own not in meta.patients,
        }
        enriched.append(_enriched(one, patient, own, meta, key))
        notes[one.scan] = tuple(code for code, is_so in codes.items() if is_so)
    absent = [rows_without_files(table, {own for _, own in places}, of=NAME) for table in meta.tables[:1]]
    return Layout(
        series=enriched,
        set_aside=[row for rows, _ in absent for row in rows],
        notes={scan: own for scan, own in notes.items() if own},
        words=tuple(word for _, words in absent for word in words),
    )


def is_beside_its_tables(source: Path) -> bool:
    """Tell whether RATIC's table of series lies in, beside or above a source."""
    return find_table(source, META[0]) is not None


def _enriched(one: Series, patient: str, own: str, meta: _Meta, key: bytes | None) -> Series:
    about = replace(one.about, manufacturer=maker_of(one.about.manufacturer))
    if patient:
        told, study, accession = (_hidden(name, patient, key) for name in ("patient", "study_uid", "accession"))
        about = replace(about, patient=told, study_uid=study, accession=accession)
    by_series = meta.aortic_hu.get(meta.patients.get(own, ""), {})
    if own in by_series:
        ordered = sorted(by_series, key=lambda other: (-by_series[other], other))
        phase = "" if len(ordered) == 1 else "late arterial phase, " if ordered[0] == own else "another phase, "
        about = replace(about, contrast=f"{phase}{by_series[own]:.0f} HU in the aorta", number=1 + ordered.index(own))
    return replace(one, about=about)


def _read_meta(source: Path) -> _Meta:
    paths = [path for name in META if (path := find_table(source, name)) is not None]
    tables = [read_rows(path, "series_id", COLUMNS, None) for path in paths]
    patients: dict[str, str] = {}
    aortic_hu: dict[str, dict[str, float]] = {}
    incomplete: set[str] = set()
    for own, cells in ((own, cells) for table in tables for own, cells in table.rows.items()):
        patient = plain_id(cells.get("patient_id", ""))
        hu = number_of(cells.get("aortic_hu", ""))
        patients[own] = patient
        if hu is not None and AORTIC_HU[0] <= hu <= AORTIC_HU[1]:
            aortic_hu.setdefault(patient, {})[own] = hu
        if number_of(cells.get("incomplete_organ", "")) == 1:
            incomplete.add(own)
    return _Meta(tables, aortic_hu, frozenset(incomplete), patients)


def _folders(one: Series) -> tuple[str, str]:
    """Return patient and series by the folders above the slices, else by the end of the series UID, else nothing."""
    folders = () if is_archive_name(one.source) else PurePosixPath(one.source).parts
    folders += PurePosixPath(one.names[0]).parts[:-1] if one.names else ()
    for parts in (folders, one.about.series_uid.split(".") if not one.about.series_uid.startswith("2.25.") else ()):
        last = parts[-2:]
        if len(last) == 2 and all(part.isascii() and part.isdigit() and len(part) <= LONGEST_ID for part in last):
            return last[0], last[1]
    return "", ""


def _hidden(column: str, value: str, key: bytes | None) -> str:
    return pseudonym_of(column, value, key) if key else value
