from pathlib import Path

import pytest

from espalier.cohort.ingest import ingest
from espalier.cohort.one_scan import explain_scan
from espalier.cohort.options import CohortOptions
from espalier.cohort.table import COHORT, write_duplicates
from espalier.errors import UseError
from espalier.outputs import safe_id

from .conftest import DicomSeries, uid
from .made_up_tables import CANARIES, aside_row, cohort_row, series_row, write_tables

GAP = "Export the series again: slices are missing."


def id_of(n: int) -> str:
    return str(cohort_row(n)["scan"])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a cohort: study 0 has a used and a passed-over series, study 2 lost one, study 4 lost all."""
    rows = [cohort_row(0, verdict="noted", notes=["thick_slices", "lossy"]), cohort_row(2, accession="")]
    series = [
        series_row(0, why="soft kernel"),
        series_row(1, study_uid="Zqstudy0", patient="Zqpatient0", kernel="B70f", chosen=False, why="sharp kernel"),
        series_row(2, why="most slices"),
        series_row(3, study_uid="Zqstudy2", patient="Zqpatient2", chosen=False, why="fewer slices"),
        series_row(4, patient="Zqpatient2", problem="missing_slice", slices=None, spacing_z_mm=None, coverage_mm=None),
    ]
    aside = [aside_row(3, "not_hu", "Rename Zqname3.nii.gz."), aside_row(4, "missing_slice", GAP), aside_row(9, "corrupt", GAP)]
    return write_tables(tmp_path, rows, series=series, aside=aside)


def test_a_used_scan_tells_its_notes_its_size_and_the_rule(table: Path) -> None:
    lines, data = explain_scan(table, id_of(0))
    assert lines[:5] == [
        f"Scan {id_of(0)} is used: noted (thick_slices, lossy).",
        "  thick_slices: more than 5 mm between slices",
        "  lossy: compressed with loss",
        "100 × 512 × 512 voxels of 3 × 0.75 × 0.75 mm (z × y × x), dicom, 3 files.",
        "It was chosen from the 2 series of its study: soft kernel.",
    ]
    assert lines[6].split() == [">", id_of(0), "100", "3", "300", "B30f", "yes", "–", "yes", "soft", "kernel"]
    assert lines[7].split() == [id_of(1), "100", "3", "300", "B70f", "yes", "–", "no", "sharp", "kernel"]
    assert (data["used"], data["verdict"], data["files"], list(data["notes"])) == (True, "noted", 3, ["thick_slices", "lossy"])
    assert [one["chosen"] for one in data["series"]] == [True, False]


def test_a_series_that_was_not_chosen_names_the_one_that_is_used(table: Path) -> None:
    lines, data = explain_scan(table, id_of(1))
    assert lines[0] == f"Scan {id_of(1)} is not chosen: sharp kernel."
    assert lines[1].startswith(f"Scan {id_of(0)} of its study is used instead.")
    assert (data["used"], data["why"]) == (False, "sharp kernel")


def test_a_scan_that_was_set_aside_tells_reason_and_cure(table: Path) -> None:
    lines, data = explain_scan(table, id_of(4))
    assert lines[0] == f"Scan {id_of(4)} is set aside for missing slices (missing_slice)."
    assert lines[1].startswith(f"What to do: {GAP}")
    assert "Its study has no other series." in lines
    assert (data["reason"], data["do"]) == ("missing_slice", GAP)
    assert explain_scan(table, id_of(3))[1]["do"] == ""
    assert explain_scan(table, id_of(3))[1]["series"][1]["problem"] == "not_hu"


def test_what_no_series_lists_is_told_from_the_list_of_those_set_aside(table: Path) -> None:
    lines, data = explain_scan(table, id_of(9))
    assert lines[0].endswith("is set aside for damaged files (corrupt).")
    assert data["series"] == []


@pytest.mark.parametrize("wanted", ["Zqseries0", "Zqstudy0", "Zqaccession0", "Zqstem0", "Zqpatient0"])
def test_a_scan_goes_by_every_name_of_its_row(table: Path, wanted: str) -> None:
    assert explain_scan(table, wanted)[1]["scan"] == id_of(0)


def test_a_patient_with_several_studies_lists_their_scans(table: Path) -> None:
    lines, data = explain_scan(table, "Zqpatient2")
    assert lines[0].startswith("3 scans of several studies go by this")
    assert [one["scan"] for one in data["matches"]] == [id_of(2), id_of(3), id_of(4)]
    assert lines[2].split(maxsplit=1) == [id_of(2), "used: sound"]


@pytest.mark.parametrize("wanted", ["Zqpatient", "zqpatient0", "", "Zqpatient77"])
def test_an_unknown_name_is_refused_without_repeating_it(table: Path, wanted: str) -> None:
    with pytest.raises(UseError) as refused:
        explain_scan(table, wanted)
    assert "Zqpatient" not in str(refused.value)


def test_no_answer_names_a_patient_a_path_or_a_description(table: Path) -> None:
    for n in (0, 1, 2, 3, 4, 9):
        told = str(explain_scan(table, id_of(n))).lower()
        assert [canary for canary in CANARIES if canary.lower() in told] == []


def test_scans_of_the_same_volume_are_named(table: Path) -> None:
    pair = {"scan": id_of(0), "other_scan": id_of(2), "patient": "a", "other_patient": "b", "kind": "same voxels"}
    write_duplicates(table.parent, [pair], key="key")
    for one, other in ((0, 2), (2, 0)):
        assert f"It shows the same volume as scan {id_of(other)} (same voxels)." in explain_scan(table, id_of(one))[0]


def test_ingest_leaves_all_that_the_answer_needs(write_series: DicomSeries, tmp_path: Path) -> None:
    write_series(tmp_path / "scans" / "soft", series="1", ConvolutionKernel="B30f")
    write_series(tmp_path / "scans" / "sharp", series="2", ConvolutionKernel="B70f")
    ingest(CohortOptions(sources=("scans",)), folder=tmp_path)
    soft, sharp = (safe_id(uid("P1", "S1", number)) for number in "12")
    lines, data = explain_scan(tmp_path / COHORT, sharp)
    assert lines[0] == f"Scan {sharp} is not chosen: sharp kernel."
    assert lines[1].startswith(f"Scan {soft} of its study is used instead.")
    assert [one["why"] for one in data["series"]] == ["soft kernel", "sharp kernel"]
