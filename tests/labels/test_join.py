from pathlib import Path

import polars as pl
import pytest

from espalier.errors import InputError
from espalier.labels.join import join, settle
from espalier.labels.link import Link, read_link

COHORT = pl.DataFrame(
    {
        "scan": ["s1", "s2", "s3"],
        "patient": ["P1", "P1", "P2"],
        "study_uid": ["1.2", "1.2", "1.3"],
        "accession": ["A1", "A1", ""],
        "stem": ["scan_a", "scan_b", "scan_c"],
    }
)


def link(folder: Path, text: str, *, id_column: str = "report_no") -> Link:
    (folder / "link.csv").write_text(text, encoding="utf-8")
    return read_link(folder / "link.csv", id_column=id_column)


def test_the_column_that_matches_most_ids_answers() -> None:
    joined = join(("P1", "P2", "A1"), COHORT, source="r.csv")
    assert joined.column == "patient"
    assert joined.scans == {"P1": ("s1", "s2"), "P2": ("s3",)}
    assert joined.lone_ids == {"A1": "no_scan"}


def test_every_scan_of_a_study_gets_its_report() -> None:
    joined = join(("A1",), COHORT, source="r.csv")
    assert (joined.column, joined.scans) == ("accession", {"A1": ("s1", "s2")})
    assert joined.lone_scans == {"s3": "no_report"}


def test_a_file_name_matches_with_or_without_its_suffix() -> None:
    assert join(("scan_c.nii.gz", " scan_a "), COHORT, source="r.csv").scans == {"scan_c.nii.gz": ("s3",), " scan_a ": ("s1",)}


def test_marks_that_nobody_sees_and_unicode_forms_do_not_part_an_id_from_its_scan() -> None:
    cohort = pl.DataFrame({"scan": ["s1", "s2"], "accession": ["Mu\u0308l\u200fler", "NA"]})
    assert join(("Müller", "\u200eNA\0"), cohort, source="r.csv").scans == {"Müller": ("s1",), "\u200eNA\0": ("s2",)}


def test_an_id_finds_the_scans_of_whatever_else_it_is_called() -> None:
    joined = join(("a", "x"), COHORT, source="r.csv", also={"a": ("scan_a.nii.gz", "scan_b.nii.gz"), "x": ("gone.nii.gz",)})
    assert (joined.column, joined.scans) == ("stem", {"a": ("s1", "s2")})
    assert joined.lone_ids == {"x": "no_scan"}


def test_ids_of_no_scan_at_all_are_refused_without_telling_them() -> None:
    with pytest.raises(InputError, match="none of its 1 ids") as error:
        join(("SECRET",), COHORT, source="r.csv")
    assert "SECRET" not in str(error.value)


def test_ids_that_lost_their_leading_zeros_are_told_so() -> None:
    cohort = pl.DataFrame({"scan": ["s1"], "accession": ["0012"]})
    with pytest.raises(InputError, match="those of accession without leading zeros"):
        join(("12", "13"), cohort, source="r.csv")


def test_a_link_leads_from_the_ids_of_reports_to_scans(tmp_path: Path) -> None:
    own = link(tmp_path, "Report_No;ACCESSION;comment\nR1;A1;x\nR2;A9;\n")
    joined = join(("R1", "R2", "R3"), COHORT, source="r.csv", link=own)
    assert joined.column == "link.csv"
    assert joined.scans == {"R1": ("s1", "s2")}
    assert joined.lone_ids == {"R2": "no_scan", "R3": "not_in_link"}


def test_all_ids_of_a_link_row_must_name_the_same_scans(tmp_path: Path) -> None:
    own = link(tmp_path, "report_no,accession,patient,study_uid\nR1,A1,P1,\nR2,A1,P2,\nR3,A7,P2,1.3\nR4,,P1,9.9\n")
    joined = join(("R1", "R2", "R3", "R4"), COHORT, source="r.csv", link=own)
    # s3 has no accession of its own, so A7 contradicts nothing there.
    assert joined.scans == {"R1": ("s1", "s2"), "R3": ("s3",)}
    assert joined.lone_ids == {"R2": "link_disagrees", "R4": "link_disagrees"}


def test_one_report_may_belong_to_two_studies(tmp_path: Path) -> None:
    own = link(tmp_path, "id,study\nR1,1.2\nR1,1.3\nR1,1.3\n", id_column="accession")
    assert join(("R1",), COHORT, source="r.csv", link=own).scans == {"R1": ("s1", "s2", "s3")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("report_no,acession\nR1,A1\n", "no id is named acession.*Did you mean accession"),
        ("report_no,comment\nR1,x\n", "no column with ids of scans; its columns are report_no, comment"),
        ("a,b,accession\nR1,x,A1\n", "no column with the ids of the reports"),
        ("report_no,accession\nR1,1.2E+11\n", "row 2, column accession: a number"),
        ("report_no,accession\nR1\n", "row 2 has another number of cells"),
    ],
)
def test_a_link_that_cannot_be_followed_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        link(tmp_path, text)


def test_two_ids_that_differ_about_one_scan_are_both_left_out_and_equal_ones_count_once() -> None:
    joined = join(("scan_a", "scan_a.nii", "scan_b", "scan_b.nii", "scan_c", "scan_c.nii"), COHORT, source="r.csv")
    said = {"scan_a": "x", "scan_a.nii": "y", "scan_b": "z", "scan_b.nii": "z", "scan_c": "", "scan_c.nii": "w"}
    settled = settle(joined, said, conflicting=())
    assert settled.scans == {"scan_b": ("s2",), "scan_c.nii": ("s3",)}
    assert settled.lone_ids == {"scan_a": "conflicting_reports", "scan_a.nii": "conflicting_reports"}
    assert settled.lone_scans == {"s1": "conflicting_reports"}
    assert settled.repeated == ("scan_b.nii", "scan_c")


def test_an_id_that_says_two_things_itself_takes_its_scan_from_the_others_too() -> None:
    joined = join(("scan_a", "scan_a.nii"), COHORT, source="r.csv")
    settled = settle(joined, {"scan_a": "x", "scan_a.nii": "x"}, conflicting={"scan_a"})
    assert settled.scans == {}
    assert settled.lone_scans["s1"] == "conflicting_reports"
