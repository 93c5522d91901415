"""Cells of the tables that come with the published data sets: ages, makers, kernels and vectors as programs printed them."""

import math
import re
from typing import Final

from espalier.cohort.cells import is_missing, number_of

NOT_FOUND: Final = "ATTR_VALUE_NOT_FOUND"
"""What RAD-ChestCT writes for a header element that was absent."""
AXIAL: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_AGE: Final = re.compile(r"(\d{1,3})([DWMY])", re.IGNORECASE | re.ASCII)
_A_YEAR: Final = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}
_MAKERS: Final = {"siemens": "Siemens", "philips": "Philips", "ge": "GE", "toshiba": "Toshiba", "canon": "Canon"}


def told(cell: str) -> str:
    """Return a cell that describes, without blanks around it; "" where it stands for nothing."""
    cell = cell.strip()
    return "" if cell == NOT_FOUND or is_missing(cell) else cell


def age_of(cell: str) -> float | None:
    """Return an age in years, written as in DICOM (`042Y`, `022M`) or as a number of years."""
    match = _AGE.fullmatch(cell.strip())
    if match:
        return round(int(match[1]) / _A_YEAR[match[2].upper()], 2)
    years = number_of(cell)
    return years if years is not None and 0 <= years < 130 else None


def maker_of(cell: str) -> str:
    """Return the scanner's maker in one spelling: `SIEMENS` and `Siemens Healthineers` are one."""
    plain = told(cell)
    words = plain.lower().split()
    return _MAKERS.get(words[0], plain) if words else ""


def words_of(cell: str) -> tuple[str, ...]:
    """Return the words of a cell that is one word, or a list in text as `['Bl57d', '3']`."""
    plain = told(cell).strip("[]()")
    return tuple(word for part in plain.split(",") if (word := part.strip().strip("'\"").strip()))


def kernel_of(cell: str) -> str:
    r"""Return a kernel as a DICOM header tells it: the values of a list parted by backslashes."""
    return "\\".join(words_of(cell))


def vector_of(cell: str, count: int) -> tuple[float, ...] | None:
    """Return exactly `count` finite numbers of a vector such as `[1.0, -0.000000]` or `1,0`, or None."""
    parts = re.split(r"[\s,;\\]+", cell.strip().strip("[]()").strip())
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None
