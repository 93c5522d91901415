"""What a made-up cohort is like: how many patients, which anatomy, how it is written."""

from dataclasses import dataclass
from typing import Literal

from espalier.phantom.findings import Anatomy

Form = Literal["dicom", "nifti", "mixed"]
SLICE_LIMITS_MM = (1.0, 10.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomOptions:
    """Settings of one made-up cohort; equal options give equal bytes.

    Parameters
    ----------
    patients
        How many; about 8 % of them have two series in their study.
    anatomy
        "trauma" (abdomen, the 14 columns of RATIC) or "chest" (12 findings of CT-RATE).
    form
        How scans are written: "dicom", "nifti", or "mixed": one patient in 20 as DICOM, the rest as NIfTI.
    seed
        Patient `i` draws from `numpy.random.default_rng([seed, i])` and from nothing else.
    prevalence
        Share of patients with each finding (chest) or with an injury in each group (trauma).
    test
        The last `test` patients get the split "test".
    pixels
        Rows and columns of a slice; the field of view is about 370 mm.
    slice_mm
        Thinnest and thickest slice. Four scans of five are as thick as allowed.
    """

    patients: int = 40
    anatomy: Anatomy = "trauma"
    form: Form = "mixed"
    seed: int = 0
    prevalence: float = 0.25
    test: int = 0
    pixels: int = 96
    slice_mm: tuple[float, float] = (2.0, 5.0)

    def __post_init__(self) -> None:
        if not 1 <= self.patients <= 99_999:
            raise ValueError(f"patients is {self.patients}: expected 1 to 99999")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: expected 0 or more")
        if not 0 <= self.prevalence <= 1:
            raise ValueError(f"prevalence is {self.prevalence}: expected a share between 0 and 1")
        if not 0 <= self.test <= self.patients:
            raise ValueError(f"test is {self.test}: expected 0 to {self.patients}, the number of patients")
        if not 16 <= self.pixels <= 1024:
            raise ValueError(f"pixels is {self.pixels}: expected 16 to 1024")
        low, high = self.slice_mm
        if not SLICE_LIMITS_MM[0] <= low <= high <= SLICE_LIMITS_MM[1]:
            raise ValueError(f"slice_mm is {self.slice_mm}: expected thinnest and thickest, between 1 and 10 mm")
