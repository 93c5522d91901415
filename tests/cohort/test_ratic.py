from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from espalier.cohort.dicom import index_folder
from espalier.cohort.pseudonyms import pseudonym_of, pseudonymised
from espalier.cohort.published_layout import NAMED_ROWS, Layout
from espalier.cohort.ratic import enrich, is_beside_its_tables
from espalier.cohort.read import read_files
from espalier.cohort.series import Series, choose

from .conftest import DicomSeries, body_hu
from .published import write_table

COLUMNS = ("patient_id", "series_id", "aortic_hu", "incomplete_organ")
FIRST = "10004"


@pytest.fixture
def ratic(write_series: DicomSeries, tmp_path: Path) -> Path:
    """Two series of one patient, one of another, in RATIC's folders, and the table of series."""
    for patient, series in ((FIRST, "21057"), (FIRST, "51033"), ("10005", "18667")):
        folder = tmp_path / "train_images" / patient / series
        write_series(folder, patient=patient, series=series, SeriesInstanceUID=f"1.2.3.{patient}.{series}", AccessionNumber="")
    rows = [(FIRST, "21057", "146.0", "0"), (FIRST, "51033", "454.75", "1"), ("10005", "18667", "-1024.0", "0")]
    write_meta(tmp_path, rows)
    return tmp_path


def write_meta(root: Path, rows: list[tuple[str, str, str, str]]) -> None:
    write_table(root / "train_series_meta.csv", COLUMNS, [dict(zip(COLUMNS, row, strict=True)) for row in rows])


def found(source: Path, **other: Any) -> Layout:
    return enrich(index_folder(source), source=source, **other)


def by_series(layout: Layout) -> dict[str, Series]:
    return {s.about.series_uid.rpartition(".")[2]: s for s in layout.series}


def test_both_series_of_a_patient_are_one_study_and_labels_find_it_by_the_patient(ratic: Path) -> None:
    abouts = {own: s.about for own, s in by_series(found(ratic)).items()}
    assert {own: about.patient for own, about in abouts.items()} == {"21057": FIRST, "51033": FIRST, "18667": "10005"}
    assert abouts["21057"].study_uid == abouts["51033"].study_uid == abouts["21057"].accession == FIRST


def test_the_series_with_more_contrast_in_the_aorta_is_the_late_arterial_one_and_is_chosen(ratic: Path) -> None:
    layout = found(ratic)
    arterial, other = (by_series(layout)[own].about for own in ("51033", "21057"))
    assert arterial.contrast == "late arterial phase, 455 HU in the aorta"
    assert other.contrast == "another phase, 146 HU in the aorta"
    chosen = [c.series.about.series_uid for c in choose(layout.series) if c.chosen and c.series.about.patient == FIRST]
    assert chosen == [f"1.2.3.{FIRST}.51033"]


def test_a_value_that_is_no_measurement_says_nothing_of_the_phase(ratic: Path) -> None:
    assert by_series(found(ratic))["18667"].about.contrast == ""


def test_structures_that_are_cut_off_are_noted(ratic: Path) -> None:
    layout = found(ratic)
    assert layout.notes == {by_series(layout)["51033"].scan: ("incomplete_structure",)}


def test_there_is_no_official_split(ratic: Path) -> None:
    assert found(ratic).splits == {}


def test_a_series_without_a_row_is_noted_and_a_row_without_a_series_named(ratic: Path) -> None:
    write_meta(ratic, [(FIRST, "21057", "146.0", "0"), (FIRST, "51033", "454.75", "0"), ("10007", "47578", "326.0", "0")])
    layout = found(ratic)
    assert layout.notes == {by_series(layout)["18667"].scan: ("not_in_metadata",)}
    (row,) = layout.set_aside
    assert (row["source"], row["reason"]) == ("47578", "missing_file")


def test_a_part_of_the_data_set_is_no_fault(ratic: Path) -> None:
    write_meta(ratic, [("1", str(n), "100.0", "0") for n in range(NAMED_ROWS + 1)])
    layout = found(ratic)
    assert layout.set_aside == []
    assert layout.words == (f"{NAMED_ROWS + 1} of {NAMED_ROWS + 1} rows of train_series_meta.csv have no file here",)


@pytest.mark.parametrize("below", [".", "train_images", f"train_images/{FIRST}"])
def test_the_source_may_be_any_folder_of_the_download(below: str, ratic: Path) -> None:
    assert is_beside_its_tables(ratic / below)
    layout = enrich([s for s in index_folder(ratic) if FIRST in s.source + s.names[0]], source=ratic / below)
    assert {own: s.about.contrast[:4] for own, s in by_series(layout).items()} == {"21057": "anot", "51033": "late"}


def test_without_tables_the_folders_still_say_whose_a_series_is(ratic: Path) -> None:
    (ratic / "train_series_meta.csv").unlink()
    layout = found(ratic)
    assert {s.about.patient for s in layout.series} == {FIRST, "10005"}
    assert (layout.notes, layout.set_aside, is_beside_its_tables(ratic)) == ({}, [], False)


def test_a_header_that_names_another_patient_than_the_folder_is_noted(write_series: DicomSeries, ratic: Path) -> None:
    write_series(ratic / "train_images/10009/7", patient="12345", series="7", SeriesInstanceUID="1.2.3.10009.7")
    layout = found(ratic / "train_images")
    odd = by_series(layout)["7"]
    assert odd.about.patient == "10009"
    assert "patient_differs" in layout.notes[odd.scan]


def test_with_a_key_no_id_of_a_folder_comes_through_and_the_ids_still_agree(ratic: Path) -> None:
    key = b"k" * 32
    plain = index_folder(ratic)
    hidden = [s.__class__(**{**_fields(s), "about": pseudonymised(s.about, key)}) for s in plain]
    layout = enrich(hidden, source=ratic, key=key)
    told = {s.about.patient for s in layout.series}
    assert told == {pseudonym_of("patient", patient, key) for patient in (FIRST, "10005")}
    assert {code for codes in layout.notes.values() for code in codes} == {"incomplete_structure"}
    assert not any(FIRST in text for s in layout.series for text in (s.about.study_uid, s.about.accession, s.about.series_uid))


def _fields(series: Series) -> dict[str, Any]:
    return {name: getattr(series, name) for name in Series.__dataclass_fields__}


def test_a_series_whose_folders_say_nothing_is_known_by_its_uid(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "scans", patient=FIRST, series="1", SeriesInstanceUID=f"1.2.3.{FIRST}.21057")
    write_meta(tmp_path, [(FIRST, "21057", "146.0", "1")])
    layout = found(tmp_path)
    assert list(layout.notes.values()) == [("incomplete_structure",)]


def test_stored_values_with_unused_bits_come_out_as_hu(write_series: DicomSeries, tmp_path: Path) -> None:
    def change(dataset: pydicom.FileDataset, n: int) -> None:
        stored = body_hu()[n].astype(np.int16) & 0x0FFF  # 12 bits in two's complement; the four above them are left at 0
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
        dataset.RescaleIntercept = 0
        dataset.PixelData = stored.tobytes()
        dataset.compress(RLELossless, generate_instance_uid=False)

    folder = write_series(tmp_path / "train_images/1/2", patient="1", series="2", change=change)
    (series,) = index_folder(folder)
    volume = read_files(folder, form="dicom", files=series.names).volume
    assert np.array_equal(volume.voxels, body_hu())
