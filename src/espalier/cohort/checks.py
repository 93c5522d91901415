"""Whether a volume that could be read is a CT worth using: plausible HU, enough slices, thin enough."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from espalier.cohort.body_part import Anatomy, anatomy_of, body_part_of, is_trunk_without_lungs, lungs_are_cut
from espalier.cohort.contrast import contrast_differs, contrast_seen
from espalier.cohort.options import CohortOptions
from espalier.cohort.plausible import AIR_BELOW_HU, Histogram, histogram_of, hu_fault
from espalier.cohort.volume import Volume
from espalier.errors import ScanError
from espalier.geometry import direction_of

THICK_MM: Final = 5.0
SHORT_MM: Final = 80.0
OTHER_PARTS: Final[Mapping[str, str]] = {"head": "a head", "neck": "a neck", "limb": "an arm or a leg"}
HU_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "constant_volume": ("a patient", "Copy it again."),
    "not_hu": ("air near -1000 HU and tissue near 0 HU", "Check that it is the CT itself, with its rescale applied once."),
    "rescaled_twice": ("tissue near 0 HU", "Export it again: slope and intercept were applied twice, or 1000 was taken off."),
}
"""What is expected and what to do, by the code of `plausible.hu_fault`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What the voxels say of a scan that can be used.

    Parameters
    ----------
    notes
        Reason codes of what is unusual.
    columns
        For the scan's row in the cohort: `body_part`, `contrast_seen` (None where that is not clear), `hu_p01`, `hu_p99`,
        `hu_median` (of all above -300 HU), `coverage_mm` and `lungs_ml`.
    """

    notes: tuple[str, ...]
    columns: Mapping[str, Any]


def check_volume(
    volume: Volume,
    options: CohortOptions,
    *,
    source: str,
    axis: int = 0,
    widest_gap_mm: float | None = None,
    contrast: str = "",
) -> Checked:
    """Return what is unusual about a scan, and what its voxels show.

    Parameters
    ----------
    volume
        In HU.
    options
        Limits, and the body part that the study is about.
    source
        For the message.
    axis
        Runs across the slices.
    widest_gap_mm
        The largest distance between slices as they were scanned, where it is not the volume's spacing.
    contrast
        What the header says of a contrast agent; "" where it says nothing.

    Raises
    ------
    ScanError
        With the code `constant_volume`, `not_hu`, `rescaled_twice`, `too_few_slices`, `slices_too_thick` or
        `not_the_body_part`.
    """
    histogram = check_hu(volume, source=source)
    coverage = volume.shape[axis] * volume.spacing_mm[axis]
    notes = _slice_notes(volume, options, source, axis, widest_gap_mm or volume.spacing_mm[axis])
    anatomy = anatomy_of(volume)
    part, seen = body_part_of(anatomy), contrast_seen(anatomy)
    notes += _part_notes(anatomy, part, options.body_part, source)
    if contrast_differs(contrast, seen=seen):
        notes.append("contrast_differs")
    columns = {
        "body_part": part,
        "contrast_seen": seen,
        "hu_p01": histogram.quantile(0.01),
        "hu_median": histogram.quantile(0.5, above_hu=AIR_BELOW_HU),
        "hu_p99": histogram.quantile(0.99),
        "coverage_mm": round(coverage, 3),
        "lungs_ml": round(anatomy.lungs_ml, 1),
    }
    return Checked(notes=tuple(notes), columns=columns)


def check_hu(volume: Volume, *, source: str) -> Histogram:
    """Return the histogram; raise `ScanError` where the numbers cannot be HU of a patient (see `plausible.hu_fault`)."""
    histogram = histogram_of(volume)
    fault = hu_fault(histogram)
    if fault is not None:
        code, found = fault
        expected, do = HU_FAULTS[code]
        raise ScanError(source, code=code, found=found, expected=expected, do=do)
    return histogram


def _slice_notes(volume: Volume, options: CohortOptions, source: str, axis: int, distance: float) -> list[str]:
    slices = volume.shape[axis]
    if slices < options.min_slices:
        do = "Take another series, or lower min_slices."
        raise ScanError(
            source, code="too_few_slices", found=f"{slices} slices", expected=f"at least {options.min_slices}", do=do
        )
    if distance > options.max_slice_mm * 1.001:
        found, expected = f"{distance:.2f} mm between slices", f"at most {options.max_slice_mm:g} mm"
        raise ScanError(source, code="slices_too_thick", found=found, expected=expected, do="Take another series.")
    notes = []
    if distance > THICK_MM * 1.001:
        notes.append("thick_slices")
    if slices * volume.spacing_mm[axis] < SHORT_MM:
        notes.append("short_coverage")
    if np.abs(direction_of(volume.affine)[2, axis]) < np.cos(np.pi / 4):
        notes.append("not_axial")
    return notes


def _part_notes(anatomy: Anatomy, part: str, wanted: str | None, source: str) -> list[str]:
    """Return notes on what part of the body is there; raise `ScanError` where the study is about another one."""
    found = OTHER_PARTS.get(part)
    if found is None and wanted == "chest" and is_trunk_without_lungs(anatomy):
        found = "a trunk without lungs"
    if wanted in {"chest", "abdomen"} and found is not None:
        do = f"Take the series of the {wanted}, or change body_part."
        raise ScanError(source, code="not_the_body_part", found=found, expected=f"the {wanted}", do=do)
    if wanted is None and part in OTHER_PARTS:
        return [f"looks_like_{part}"]
    asks = wanted == "chest" or (wanted is None and part == "chest")
    return ["lungs_cut"] if asks and lungs_are_cut(anatomy) else []


def axis_along_body(volume: Volume) -> int:
    """Return the array axis closest to the world's z, which a file that knows no slices is judged along."""
    return int(np.argmax(np.abs(direction_of(volume.affine)[2])))
