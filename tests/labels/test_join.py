import polars as pl
import pytest

from espalier.errors import InputError
from espalier.labels.join import join

COHORT = pl.DataFrame(
    {
        "scan": ["s1", "s2", "s3"],
        "patient": ["P1", "P1", "P2"],
        "study_uid": ["1.2", "1.2", "1.3"],
        "accession": ["A1", "A1", ""],
        "stem": ["scan_a", "scan_b", "scan_c"],
    }
)


def test_the_column_that_matches_most_ids_answers() -> None:
    joined = join(("P1", "P2", "A1"), COHORT, source="r.csv")
    assert joined.column == "patient"
    assert joined.scans == {"P1": ("s1", "s2"), "P2": ("s3",)}
    assert joined.lone_ids == ("A1",)


def test_every_scan_of_a_study_gets_its_report() -> None:
    joined = join(("A1",), COHORT, source="r.csv")
    assert (joined.column, joined.scans, joined.lone_scans) == ("accession", {"A1": ("s1", "s2")}, ("s3",))


def test_a_file_name_matches_with_or_without_its_suffix() -> None:
    assert join(("scan_c.nii.gz", " scan_a "), COHORT, source="r.csv").scans == {"scan_c.nii.gz": ("s3",), " scan_a ": ("s1",)}


def test_ids_of_no_scan_at_all_are_refused_without_telling_them() -> None:
    with pytest.raises(InputError, match="none of its 1 ids") as error:
        join(("SECRET",), COHORT, source="r.csv")
    assert "SECRET" not in str(error.value)
