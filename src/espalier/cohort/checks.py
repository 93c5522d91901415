"""Whether a volume that could be read is a CT worth using: plausible HU, enough slices, thin enough."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from espalier.cohort.options import CohortOptions
from espalier.cohort.volume import AIR_HU, Volume
from espalier.errors import ScanError
from espalier.geometry import direction_of

THICK_MM: Final = 5.0
SHORT_MM: Final = 80.0
AIR_BELOW_HU: Final = -300
"""Every CT shows air around or inside the patient; a volume without any below this is no CT in HU."""
TISSUE_HU: Final = (-500, 3500)
HIGHEST_HU: Final = 20000

NOTES: Final[Mapping[str, str]] = {
    "thick_slices": f"more than {THICK_MM:.0f} mm between slices",
    "short_coverage": f"less than {SHORT_MM:.0f} mm of the body",
    "not_axial": "slices that do not run across the body",
    "localizers_dropped": "localizers inside the series were left out",
    "duplicates_dropped": "equal slices at one place were left out",
    "gantry_tilt": "the gantry was tilted; the affine is sheared",
    "sheared": "the axes are not at right angles",
    "rescale_varies": "slope and intercept change from slice to slice",
    "no_rescale": "no slope and intercept; taken as 1 and 0, and the HU are plausible",
    "rescale_type": "the rescale is not said to give HU",
    "monochrome1": "stored for inverted display; HU are not inverted",
    "lossy": "compressed with loss",
    "padding_replaced": f"values below {AIR_HU} HU, or marked as padding, were set to {AIR_HU}",
    "nan_replaced": f"voxels that are not numbers were set to {AIR_HU}",
    "sform_qform_differ": "sform and qform differ; the sform was taken",
}
"""What each note of the cohort table means."""


def check_volume(volume: Volume, options: CohortOptions, *, source: str, axis: int = 0) -> list[str]:
    """Return reason codes of what is unusual; `axis` runs across the slices.

    Raises
    ------
    ScanError
        With the code `too_few_slices`, `slices_too_thick`, `constant_volume` or `not_hu`.
    """
    check_hu(volume, source=source)
    slices, distance = volume.shape[axis], volume.spacing_mm[axis]
    if slices < options.min_slices:
        do = "Take another series, or lower min_slices."
        raise ScanError(
            source, code="too_few_slices", found=f"{slices} slices", expected=f"at least {options.min_slices}", do=do
        )
    if distance > options.max_slice_mm:
        found, expected = f"{distance:.2f} mm between slices", f"at most {options.max_slice_mm:g} mm"
        raise ScanError(source, code="slices_too_thick", found=found, expected=expected, do="Take another series.")
    notes = []
    if distance > THICK_MM * 1.001:
        notes.append("thick_slices")
    if slices * distance < SHORT_MM:
        notes.append("short_coverage")
    if np.abs(direction_of(volume.affine)[2, axis]) < np.cos(np.pi / 4):
        notes.append("not_axial")
    return notes


def check_hu(volume: Volume, *, source: str) -> None:
    """Raise `ScanError` where the numbers cannot be HU of a patient, by the extremes and every 8th voxel."""
    voxels = volume.voxels
    low, high = float(voxels.min()), float(voxels.max())
    if low == high:
        raise ScanError(source, code="constant_volume", found=f"{low:g} everywhere", expected="a patient", do="Copy it again.")
    some = voxels[::2, ::2, ::2]
    tissue = float(np.mean((some > TISSUE_HU[0]) & (some < TISSUE_HU[1])))
    if low > AIR_BELOW_HU or high > HIGHEST_HU or high < TISSUE_HU[0] or tissue < 0.001:
        raise ScanError(
            source,
            code="not_hu",
            found=f"values from {low:g} to {high:g}",
            expected="air near -1000 HU and tissue near 0 HU",
            do="Check that it is the CT itself, with its rescale applied once.",
        )


def axis_along_body(volume: Volume) -> int:
    """Return the array axis closest to the world's z, which a file that knows no slices is judged along."""
    return int(np.argmax(np.abs(direction_of(volume.affine)[2])))
