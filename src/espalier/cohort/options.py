"""What a study may say about its scans and about who trains, validates and tests."""

from dataclasses import dataclass
from typing import Final, Literal

from espalier.cohort.encodings import check_encoding

Layout = Literal["dicom", "nifti", "mixed", "ct-rate", "rad-chestct", "ratic"]
AXIS_OF: Final = {"L": "x", "R": "x", "P": "y", "A": "y", "S": "z", "I": "z"}
BodyPart = Literal["chest", "abdomen", "any"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CohortOptions:
    """Where the scans are, and which of them count.

    Parameters
    ----------
    sources
        Folders or single files, relative to the study's folder. Below a NIfTI folder the first folder is the patient,
        the second the study, the file name the series; without folders the name is all three.
    layout
        What to take from the sources: `dicom`, single files of volumes (`nifti`, which NRRD, MetaImage and `.npz` count
        to), both (`mixed`), or a published data set as it was downloaded (`ct-rate`, `rad-chestct`, `ratic`). Guessed
        for each source when absent: DICOM where there is any, else single files.
    table
        A CSV for NIfTI sources with a column `file` and, as wanted, `patient`, `study`, `accession`, `age_years`, `sex`,
        `manufacturer`, `kernel`, `contrast`, `site`. Only files that it names are taken then.
    encoding
        The table's encoding, where the bytes do not tell.
    series
        `best` keeps one series of each study, by the rules of `espalier.cohort.series`; `all` keeps every one.
    max_slice_mm
        Scans with a larger distance between slices are set aside.
    min_slices
        Scans with fewer slices are set aside.
    body_part
        What the study is about: scans that show a head, a neck or a limb instead are set aside. When absent it follows
        from the study's lexicon or structures; `any` sets none aside.
    missing_slice
        What to do where exactly one slice is missing: `set_aside`, or `interpolate` it from its neighbours with a note.
    lossy
        What to do with lossy compression: `note` or `set_aside`.
    no_position
        What to do with DICOM slices that do not say where they lie: `set_aside`, or `slice_location`, which takes the
        place along the body from SliceLocation and assumes axial slices.
    no_orientation
        What to do with a NIfTI file whose sform and qform are both unset: `set_aside`, or assume `RAS` or `LPS` axes.
    npz_spacing_mm, npz_axes
        Geometry of `.npz` files that state none: spacing along the array's axes in mm, and where each axis runs to, as
        three of the letters L/R, P/A, S/I.
    pseudonyms
        A file with a secret key of at least 32 bytes, relative to the study's folder: identifiers are replaced by keyed
        hashes before anything is written. Made on first use where it is missing.
    timeout_s, memory_gb
        A scan whose reading takes longer or needs more is tried once more alone, then set aside.
    """

    sources: tuple[str, ...]
    layout: Layout | None = None
    table: str | None = None
    encoding: str | None = None
    series: Literal["best", "all"] = "best"
    max_slice_mm: float = 10.0
    min_slices: int = 10
    body_part: BodyPart | None = None
    missing_slice: Literal["set_aside", "interpolate"] = "set_aside"
    lossy: Literal["note", "set_aside"] = "note"
    no_position: Literal["set_aside", "slice_location"] = "set_aside"
    no_orientation: Literal["set_aside", "RAS", "LPS"] = "set_aside"
    npz_spacing_mm: tuple[float, float, float] | None = None
    npz_axes: str | None = None
    pseudonyms: str | None = None
    timeout_s: float = 600.0
    memory_gb: float = 8.0

    def __post_init__(self) -> None:
        if not self.sources or not all(self.sources):
            raise ValueError(f"sources is {list(self.sources)}: name at least one folder or file, and no empty name")
        if self.max_slice_mm <= 0:
            raise ValueError(f"max_slice_mm is {self.max_slice_mm}: it must be above 0")
        if self.min_slices < 1:
            raise ValueError(f"min_slices is {self.min_slices}: it must be at least 1")
        if (self.npz_spacing_mm is None) != (self.npz_axes is None):
            raise ValueError("npz_spacing_mm and npz_axes state one geometry: give both or none")
        if self.npz_axes is not None and sorted(map(AXIS_OF.get, self.npz_axes.upper()), key=str) != ["x", "y", "z"]:
            raise ValueError(f'npz_axes is {self.npz_axes!r}: name each axis once, as "IPL": L or R, P or A, S or I')
        if self.npz_spacing_mm is not None and min(self.npz_spacing_mm) <= 0:
            raise ValueError(f"npz_spacing_mm is {self.npz_spacing_mm}: each must be above 0")
        if self.encoding is not None:
            check_encoding(self.encoding)
        for name in ("timeout_s", "memory_gb"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")


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
    stratify
        Findings of the labels that are spread over the splits in the wanted shares, rare ones first; `all` balances every
        one. When absent a patient's split depends on seed and patient alone.
    leakage
        What to do where an official table, or a split kept from before, puts patients who show the same volume into
        different splits: `warn`, or `refuse`.
    """

    table: str | None = None
    id_column: str | None = None
    split_column: str = "split"
    test: float = 0.2
    validation: float = 0.1
    seed: int = 0
    stratify: tuple[str, ...] | Literal["all"] | None = None
    leakage: Literal["warn", "refuse"] = "warn"

    def __post_init__(self) -> None:
        for name, share in (("test", self.test), ("validation", self.validation)):
            if not 0 <= share < 1:
                raise ValueError(f"{name} is {share}: it is a share, at least 0 and below 1")
        if not self.split_column:
            raise ValueError("split_column is empty: name the column that holds train, validation or test")
        if self.stratify is not None and not (self.stratify and all(self.stratify)):
            raise ValueError('stratify names no finding: name some, write "all", or leave it out')
