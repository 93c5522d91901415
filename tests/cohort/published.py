"""Small made-up copies of the published data sets, in their own names and folders."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from espalier.cohort.files import Single
from espalier.cohort.sources import walk_source

from .conftest import body_hu

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "published-data-sets.md"
CT_RATE_COLUMNS = (
    "VolumeName Manufacturer SeriesDescription ManufacturerModelName PatientSex PatientAge ReconstructionDiameter "
    "DistanceSourceToDetector DistanceSourceToPatient GantryDetectorTilt TableHeight RotationDirection ExposureTime "
    "XRayTubeCurrent Exposure FilterType GeneratorPower FocalSpots ConvolutionKernel PatientPosition RevolutionTime "
    "SingleCollimationWidth TotalCollimationWidth TableSpeed TableFeedPerRotation SpiralPitchFactor "
    "DataCollectionCenterPatient ReconstructionTargetCenterPatient ExposureModulationType CTDIvol ImagePositionPatient "
    "ImageOrientationPatient SliceLocation SamplesPerPixel PhotometricInterpretation Rows Columns XYSpacing "
    "RescaleIntercept RescaleSlope RescaleType NumberofSlices ZSpacing StudyDate"
).split()
CT_RATE_ROW = {
    "Manufacturer": "SIEMENS",
    "SeriesDescription": "Thorax  Lung 1.5  Bl57  3",
    "PatientSex": "F",
    "PatientAge": "042Y",
    "ConvolutionKernel": "['Bl57d', '3']",
    "PatientPosition": "HFS",
    "ImagePositionPatient": "[-195.125, -373.5, -1250.8]",
    "ImageOrientationPatient": "[1.000000, 0.000000, 0.000000, 0.000000, 1.000000, -0.000000]",
    "Rows": "20",
    "Columns": "24",
    "XYSpacing": "[0.75, 0.75]",
    "RescaleIntercept": "-8192",
    "RescaleSlope": "1",
    "RescaleType": "HU",
    "NumberofSlices": "14",
    "ZSpacing": "1.5",
    "StudyDate": "20221108",
}


def singles(source: Path) -> list[Single]:
    """Return the single files of a source as `discover` does."""
    return [Single(f.path, f.name, mark=f.short_mark) for folder in walk_source(source) for f in folder.singles]


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_metadata(path: Path, rows: Mapping[str, Mapping[str, str]]) -> Path:
    """Write a metadata table of CT-RATE: all 44 columns, one row a volume, with what differs from the usual row."""
    told = [{"VolumeName": f"{name}.nii.gz", **CT_RATE_ROW, **other} for name, other in rows.items()]
    return write_table(path, CT_RATE_COLUMNS, told)


def ct_rate_path(root: Path, name: str, folder: str = "") -> Path:
    """Return where a volume lies: `dataset/<folder>/<patient>/<scan>/<volume>.nii.gz`, of the second upload by default."""
    scan = name.rpartition("_")[0]
    patient = scan.rpartition("_")[0]
    return root / "dataset" / (folder or f"{name.partition('_')[0]}_fixed") / patient / scan / f"{name}.nii.gz"


def write_volume(path: Path, stored: np.ndarray | None = None, lps: np.ndarray | None = None) -> Path:
    """Write a NIfTI file of int16 from voxels (z, y, x) and the affine of (x, y, z) indices in LPS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = body_hu() if stored is None else stored
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ (np.diag([0.75, 0.75, 1.5, 1.0]) if lps is None else lps)
    nib.save(nib.Nifti1Image(voxels.astype(np.int16).transpose(2, 1, 0), affine), path)
    return path
