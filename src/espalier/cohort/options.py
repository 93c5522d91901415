"""What a study may say about its scans and about who trains, validates and tests."""

from dataclasses import dataclass
from typing import Literal

Layout = Literal["dicom", "nifti", "mixed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortOptions:
    """Where the scans are, and which of them count.

    Parameters
    ----------
    sources
        Folders or single files, relative to the study's folder. Below a NIfTI folder the first folder is the patient,
        the second the study, the file name the series; without folders the name is all three.
    layout
        What to take from the sources: `dicom`, `nifti` or both (`mixed`). Guessed for each source when absent: DICOM
        where there is any, else NIfTI.
    table
        A CSV for NIfTI sources with a column `file` and, as wanted, `patient`, `study`, `accession`, `age_years`, `sex`,
        `manufacturer`, `kernel`, `contrast`, `site`. Only files that it names are taken then.
    series
        `best` keeps one series of each study, by the rules of `espalier.cohort.series`; `all` keeps every one.
    max_slice_mm
        Scans with a larger distance between slices are set aside.
    min_slices
        Scans with fewer slices are set aside.
    """

    sources: tuple[str, ...]
    layout: Layout | None = None
    table: str | None = None
    series: Literal["best", "all"] = "best"
    max_slice_mm: float = 10.0
    min_slices: int = 10

    def __post_init__(self) -> None:
        if not self.sources or not all(self.sources):
            raise ValueError(f"sources is {list(self.sources)}: name at least one folder or file, and no empty name")
        if self.max_slice_mm <= 0:
            raise ValueError(f"max_slice_mm is {self.max_slice_mm}: it must be above 0")
        if self.min_slices < 1:
            raise ValueError(f"min_slices is {self.min_slices}: it must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitOptions:
    """Who trains, validates and tests, patient by patient.

    Parameters
    ----------
    table
        A CSV with the official splits: one column that identifies patients, studies or scans and one that names the
        split. Patients it does not name are assigned by hash.
    id_column
        The identifying column; found by its name (`patient`, `study`, `accession`, `scan`, …) when absent.
    split_column
        The column with `train`, `validation` or `test`.
    test
        Share of the patients that test.
    validation
        Share of the training patients that validate.
    seed
        Another seed draws other patients.
    """

    table: str | None = None
    id_column: str | None = None
    split_column: str = "split"
    test: float = 0.2
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, share in (("test", self.test), ("validation", self.validation)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is {share}: it is a share, at least 0 and below 1")
        if not self.split_column:
            raise ValueError("split_column is empty: name the column that holds train, validation or test")
