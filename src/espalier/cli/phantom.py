"""`espalier phantom OUT`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from espalier.cli.speak import Told, told
from espalier.cli.study_file import WORKERS, Workers


def phantom(
    out: Path,
    *,
    patients: int = 20,
    anatomy: Literal["chest", "trauma"] = "trauma",
    form: Annotated[Literal["dicom", "nifti", "mixed"], Parameter(name="--as")] = "dicom",
    seed: int = 0,
    test: int = 0,
    pixels: int = 96,
    workers: Workers = WORKERS,
) -> Told:
    """Write a made-up cohort: CT series as a scanner would write them, reports, true labels and true masks.

    Parameters
    ----------
    out
        A folder, made where it does not exist.
    patients
        How many; about one in twelve has two series.
    anatomy
        The body part and its findings.
    form
        DICOM series, NIfTI files, or mostly NIfTI with one patient in twenty as DICOM.
    seed
        Equal seeds give equal bytes.
    test
        How many of the patients are marked as test patients in splits.csv.
    pixels
        Rows and columns of a slice.
    """
    from espalier.phantom.cohort import make_phantom
    from espalier.phantom.options import PhantomOptions

    options = PhantomOptions(patients=patients, anatomy=anatomy, form=form, seed=seed, test=test, pixels=pixels)
    return told(
        make_phantom(out, options, workers=workers), next_command=f"espalier new {out / 'study.toml'} --from phantom-{anatomy}"
    )
