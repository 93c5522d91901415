from dataclasses import replace
from pathlib import Path

import pydicom
import pytest

from espalier.cohort.dicom import index_folder
from espalier.cohort.headers import About
from espalier.cohort.series import Series, best_series, choose, is_sharp

from .conftest import DicomSeries, uid

ABOUT = About(patient="P", study_uid="S", kernel="B30f")
PLAIN = Series(scan="b", source="x", format="dicom", about=ABOUT, slices=100, spacing_z_mm=1.0, coverage_mm=300.0, names=("f",))


@pytest.mark.parametrize(
    ("worse", "won", "lost"),
    [
        ({"problem": "missing_slice"}, "the geometry is whole", "the geometry is broken"),
        ({"slices": 5}, "enough slices", "too few slices"),
        ({"spacing_z_mm": 12.0}, "slices close enough", "slices too far apart"),
        ({"axial": False}, "axial", "not axial"),
        ({"spacing_z_mm": 5.0}, "thinner slices", "thicker slices"),
        ({"coverage_mm": 100.0}, "covers more of the body", "covers less of the body"),
        ({"derived": True}, "original", "derived from another series"),
        ({"about": replace(ABOUT, kernel="B70f")}, "soft kernel", "sharp kernel"),
        ({"slices": 90}, "most slices", "fewer slices"),
        ({"about": replace(ABOUT, number=4)}, "lowest series number", "higher series number"),
    ],
)
def test_each_rule_decides_in_its_turn_and_is_recorded(worse: dict[str, object], won: str, lost: str) -> None:
    rival = replace(PLAIN, scan="a", **worse)
    choices = {c.series.scan: c for c in choose([rival, PLAIN])}
    assert (choices["b"].chosen, choices["b"].why) == (True, won)
    assert (choices["a"].chosen, choices["a"].why) == (False, lost)
    assert best_series([rival, PLAIN]) is PLAIN


def test_studies_are_chosen_apart_and_all_can_be_kept() -> None:
    other = replace(PLAIN, scan="c", about=replace(ABOUT, study_uid="T"))
    assert [c.chosen for c in choose([PLAIN, other])] == [True, True]
    assert [c.why for c in choose([PLAIN, replace(PLAIN, scan="d")], keep="all")] == ["all series are kept"] * 2


def test_thinner_than_three_millimetres_is_not_better() -> None:
    fine = replace(PLAIN, scan="a", spacing_z_mm=0.6, about=replace(ABOUT, kernel="B70f"))
    assert best_series([fine, PLAIN]) is PLAIN


@pytest.mark.parametrize(
    ("kernel", "sharp"), [("B30f", False), ("Bl57d\\3", True), ("LUNG", True), ("STANDARD", False), ("L", True), ("B", False)]
)
def test_kernels_are_told_by_their_makers_names(kernel: str, sharp: bool) -> None:
    assert is_sharp(kernel) == sharp


def test_two_phases_under_one_uid_become_two_series(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "one", AcquisitionNumber=1)

    def second(dataset: pydicom.Dataset, n: int) -> None:
        dataset.SOPInstanceUID = uid("second", n)

    write_series(tmp_path / "two", AcquisitionNumber=2, change=second)
    series = index_folder(tmp_path)
    assert [s.slices for s in series] == [14, 14]
    assert len({s.scan for s in series}) == 2
    assert {s.names[0] for s in series} == {"one/slice_000.dcm", "two/slice_000.dcm"}


def test_slabs_with_acquisition_numbers_of_their_own_stay_one_series(write_series: DicomSeries, tmp_path: Path) -> None:
    def number(dataset: pydicom.Dataset, n: int) -> None:
        dataset.AcquisitionNumber = n // 5

    (series,) = index_folder(write_series(tmp_path / "a", change=number))
    assert series.slices == 14
    assert not series.problem


def test_empty_ids_are_not_shared(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "a", study="S1", PatientID="")
    write_series(tmp_path / "b", study="S2", PatientID="")
    assert len({s.about.patient for s in index_folder(tmp_path)}) == 2
