"""RAD-ChestCT as it was downloaded: volumes in `.npz` that are HU already, and the table that knows the patients.

Draelos et al. 2021, <https://zenodo.org/records/6406114>. Each array is resampled to 0.8 mm, its axes run to inferior,
posterior and left; slope and intercept in the table belong to the DICOM files and must not be applied again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from espalier.cohort.cells import number_of, plain_id
from espalier.cohort.files import Single
from espalier.cohort.headers import About
from espalier.cohort.hints import Hints, hints_text
from espalier.cohort.published_cells import AXIAL, age_of, kernel_of, maker_of, told, vector_of
from espalier.cohort.published_layout import (
    Cells,
    Layout,
    Told,
    aside,
    find_table,
    not_in_layout,
    read_rows,
    rows_without_files,
    single_file_series,
    without_torn_patients,
)
from espalier.cohort.series import Series
from espalier.outputs import safe_id
from espalier.stage import Rows

NAME: Final = "rad-chestct"
VOLUME: Final = re.compile(r"(?:^|_)(?P<volume>(?P<split>trn|val|tst)[0-9]+)\.npz$", re.ASCII)
SPLITS: Final[Mapping[str, str]] = {"trn": "train", "val": "train", "tst": "test"}
"""Published results train on `trn` and `val` together (2,646 volumes) and test on `tst` (984; Li et al. 2025, data)."""
SPACING_MM: Final = 0.8
AXES: Final = "IPL"
EDGE_HU: Final = 8
"""What the published resampling writes beyond the scan: the number of its voxel type in place of a HU."""
METADATA: Final = ("ct_scan_metadata_complete_35747.csv", "ct_scan_metadata_complete.csv")
SUMMARY: Final = ("summary_3630.csv",)
COLUMNS: Final = (
    "MRN_DEID", "Subset_Assigned", "PatientAge", "PatientSex", "Manufacturer", "ConvolutionKernel", "SliceThickness",
    "ProtocolName", "zdiffs_all_equal", "orig_orientation", "final_spacing",
)  # fmt: skip


def find_series(files: Sequence[Single], *, source: Path) -> Layout:
    """Return what is there of RAD-ChestCT.

    Parameters
    ----------
    files
        The single files of one source; any part of the data set.
    source
        The folder that was downloaded; the tables are looked for in it, beside it and above it.

    Raises
    ------
    InputError
        When the metadata table cannot be read.
    """
    kept, rows = _named(files)
    table = read_rows(find_table(source, *METADATA), "NoteAcc_DEID", COLUMNS, kept)
    series: list[Series] = []
    notes: dict[str, tuple[str, ...]] = {}
    for name, one in kept.items():
        cells = table.rows.get(name, {})
        if _is_turned(cells):
            rows.append(_turned(one, name))
            continue
        found = single_file_series(one, name, "npz", _about(name, cells), of=NAME)
        series.append(replace(found, hints=hints_text(Hints(spacing_mm=(SPACING_MM,) * 3, axes=AXES, edge_hu=EDGE_HU))))
        notes[found.scan] = _notes(cells)
    whole, torn = without_torn_patients(series)
    absent, words = _absent(table, kept, source)
    return Layout(
        series=whole,
        set_aside=[*rows, *torn, *absent],
        notes={scan: own for scan, own in notes.items() if own},
        words=words,
    )


def has_its_names(files: Sequence[Single]) -> bool:
    """Tell whether the files are named as those of RAD-ChestCT: at least nine of ten."""
    return bool(files) and sum(VOLUME.search(_last(one)) is not None for one in files) >= 0.9 * len(files)


def _named(files: Sequence[Single]) -> tuple[dict[str, Single], Rows]:
    kept: dict[str, Single] = {}
    rows: Rows = []
    for one in sorted(files, key=lambda file: file.name):
        match = VOLUME.search(_last(one))
        if match is None:
            rows.append(not_in_layout(one, of="RAD-ChestCT", expected="a name such as trn19675.npz"))
        elif kept.setdefault(match["volume"], one) is not one:
            found, do, scan = "the same volume lies here twice", "Nothing: the other file is used.", _scan(match["volume"])
            rows.append(aside(one.path.as_posix(), "series_twice", found, expected="each volume once", do=do, scan=scan))
    return kept, rows


def _about(name: str, cells: Cells) -> About:
    return About(
        patient=plain_id(told(cells.get("MRN_DEID", ""))) or name,
        study_uid=name,
        series_uid=name,
        accession=name,
        age_years=age_of(told(cells.get("PatientAge", ""))),
        sex=told(cells.get("PatientSex", "")).upper()[:1],
        manufacturer=maker_of(cells.get("Manufacturer", "")),
        kernel=kernel_of(cells.get("ConvolutionKernel", "")),
        slice_mm=number_of(told(cells.get("SliceThickness", ""))),
        description=" ".join(filter(None, (told(cells.get("ProtocolName", "")), told(cells.get("Subset_Assigned", ""))))),
        official_split=SPLITS[name[:3]],
    )


def _notes(cells: Cells) -> tuple[str, ...]:
    spacing = cells.get("final_spacing", "")
    numbers = vector_of(spacing, 3) or vector_of(spacing, 1)
    found = {
        "patient_unknown": not told(cells.get("MRN_DEID", "")),
        "uneven_slices_resampled": told(cells.get("zdiffs_all_equal", "")).lower() in {"false", "0", "no"},
        "spacing_differs": numbers is not None and any(abs(mm - SPACING_MM) > 0.01 for mm in numbers),
    }
    return tuple(code for code, is_so in found.items() if is_so)


def _is_turned(cells: Cells) -> bool:
    """Tell whether the table says that the scan did not lie as all published ones, whose axes are therefore known."""
    orientation = vector_of(cells.get("orig_orientation", ""), 6)
    return orientation is not None and not np.allclose(orientation, AXIAL, atol=0.01)


def _turned(one: Single, name: str) -> dict[str, str]:
    found, do = "an orientation in the metadata for which the array's axes are not known", "Leave it out."
    code, expected = "orientation_not_published", "slices with rows to the left and columns to the back"
    return aside(one.path.as_posix(), code, found, expected=expected, do=do, scan=_scan(name))


def _absent(table: Told, kept: Mapping[str, Single], source: Path) -> tuple[Rows, tuple[str, ...]]:
    """Return what the tables promise and the source lacks; the metadata describe ten times as many scans as are public."""
    public = read_rows(find_table(source, *SUMMARY), "NoteAcc_DEID", (), ())
    rows, words = rows_without_files(public, kept, of=NAME)
    if table.table is None:
        words = (*words, "CT_Scan_Metadata_Complete_35747.csv is not here: each scan counts as a patient of its own")
    return rows, words


def _scan(name: str) -> str:
    return safe_id(NAME, name)


def _last(one: Single) -> str:
    return one.name.rpartition("/")[2]
