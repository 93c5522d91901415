"""What a reader must know of a scan that its files do not say; kept with the scan, so that every stage reads it alike."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from espalier.cohort.options import CohortOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Hints:
    """The study's decisions on doubtful files, and what tables say of a file that holds stored values.

    Parameters
    ----------
    missing_slice, no_position, no_orientation
        As in `espalier.cohort.options.CohortOptions`.
    acquisition
        Of several acquisitions among the frames of one file, the one that is this scan.
    spacing_mm, axes
        Geometry of an `.npz` that states none: spacing along its axes in mm, and where each axis runs to, as "IPL".
    slope, intercept
        HU = slope × value + intercept, for files whose values were never rescaled.
    edge_hu
        A last slice, row or column of an `.npz` that holds this value only is no part of the scan.
    affine
        16 numbers, row by row, in place of the file's own affine: index (z, y, x, 1) to mm, LPS+.
    """

    missing_slice: Literal["set_aside", "interpolate"] = "set_aside"
    no_position: Literal["set_aside", "slice_location"] = "set_aside"
    no_orientation: Literal["set_aside", "RAS", "LPS"] = "set_aside"
    acquisition: str | None = None
    spacing_mm: tuple[float, float, float] | None = None
    axes: str | None = None
    slope: float = 1.0
    intercept: float = 0.0
    edge_hu: float | None = None
    affine: tuple[float, ...] | None = None


PLAIN = Hints()


def hints_text(hints: Hints) -> str:
    """Return the hints as JSON that holds only what is unusual; "" where nothing is."""
    usual = asdict(PLAIN)
    unusual = {name: value for name, value in asdict(hints).items() if value != usual[name]}
    return json.dumps(unusual, sort_keys=True) if unusual else ""


def read_hints(text: str | None) -> Hints:
    """Return what `hints_text` wrote."""
    told: Mapping[str, Any] = json.loads(text) if text else {}
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in told.items()}
    return Hints(**values)


def hints_for(form: str, options: CohortOptions, own: str = "") -> str:
    """Return the hints for one scan of a study: the study's decisions that concern its format, then the scan's own.

    Parameters
    ----------
    form
        The scan's format; options that cannot concern it are left out, so that they do not make it read again.
    options
        The study's decisions.
    own
        What the layout of a published data set tells of this scan, as JSON.
    """
    decided: dict[str, Any] = {}
    if form == "dicom":
        decided = {"missing_slice": options.missing_slice, "no_position": options.no_position}
    elif form == "nifti":
        decided = {"no_orientation": options.no_orientation}
    elif form == "npz":
        decided = {"spacing_mm": options.npz_spacing_mm, "axes": options.npz_axes}
    return hints_text(read_hints(json.dumps({**decided, **(json.loads(own) if own else {})})))
