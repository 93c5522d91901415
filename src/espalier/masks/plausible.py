"""Plausible volumes of structures, for adults of any age, build and disease, and who belongs to whom."""

from collections.abc import Mapping
from typing import Final

LUNGS: Final[Mapping[str, tuple[str, ...]]] = {
    "left": ("lung_left", "lung_upper_lobe_left", "lung_lower_lobe_left"),
    "right": ("lung_right", "lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right"),
}
"""What is lung on either side, whole or in lobes."""
BOTH_LUNGS: Final = (*LUNGS["left"], *LUNGS["right"])

_LOBE: Final = (10.0, 4000.0)
_LUNG: Final = (60.0, 6500.0)
_KIDNEY: Final = (20.0, 2500.0)
_HIP: Final = (100.0, 900.0)
PLAUSIBLE_ML: Final[Mapping[str, tuple[float, float]]] = {
    "lung_left": _LUNG,
    "lung_right": _LUNG,
    "lung_upper_lobe_left": _LOBE,
    "lung_lower_lobe_left": _LOBE,
    "lung_upper_lobe_right": _LOBE,
    "lung_middle_lobe_right": (5.0, 2500.0),
    "lung_lower_lobe_right": _LOBE,
    "heart": (180.0, 2500.0),
    "liver": (400.0, 7000.0),
    "spleen": (15.0, 4500.0),
    "kidney_left": _KIDNEY,
    "kidney_right": _KIDNEY,
    "bowel": (100.0, 10000.0),
    "stomach": (15.0, 5000.0),
    "pancreas": (10.0, 400.0),
    "gallbladder": (0.5, 500.0),
    "urinary_bladder": (2.0, 3000.0),
    "aorta": (30.0, 1500.0),
    "trachea": (10.0, 150.0),
    "esophagus": (5.0, 400.0),
    "hip_left": _HIP,
    "hip_right": _HIP,
    "body": (3000.0, 300000.0),
    "bone": (100.0, 25000.0),
}
"""Beyond these a mask is more likely wrong than the patient unusual.

The middle half of adults lies far inside. The bounds take in total lung capacities up to 12 l and the lung left beside an
effusion, a tumour or after a lobectomy (a lobe may be airless); hearts from small women's to dilated ones; livers from
cirrhosis to polycystic; spleens from atrophy to myelofibrosis; kidneys from end-stage to hydronephrosis and polycystic.
A structure that the field of view cuts may be smaller. Children are not considered.
"""


def volume_reasons(structure: str, volume_ml: float, *, cut: bool) -> list[str]:
    """Return `volume_small` or `volume_large`, or nothing, for a structure that is there.

    Parameters
    ----------
    structure
        A structure without bounds has any volume.
    volume_ml
        Above 0.
    cut
        Whether the field of view cuts the structure, so that it may be small.
    """
    low, high = PLAUSIBLE_ML.get(structure, (0.0, float("inf")))
    if volume_ml > high:
        return ["volume_large"]
    return ["volume_small"] if volume_ml < low and not cut else []
