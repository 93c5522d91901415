"""Middle slices side by side: a spread of the cohort, and the scans that stand out from it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from espalier.cohort.histograms import short
from espalier.cohort.looks import Look, read_look
from espalier.page import grey_png, paragraph, section

SHOWN: Final = 60
STANDING_OUT: Final = 12
EACH: Final = 3
"""At most so many scans stand out in one way."""
UNLIKE: Final = 0.02
"""A scan within this share of the median is like the others, though it may be the highest or lowest of them."""
_SHOWN_AS: Final = ("scan", "spacing_z_mm", "spacing_y_mm", "spacing_x_mm")


def contact_sheet(folder: Path, cohort: pl.DataFrame) -> str:
    """Return the sections with the pictures of a cohort; "" where ingest kept none.

    Parameters
    ----------
    folder
        The study's folder.
    cohort
        The rows of `cohort.parquet` with a column `coverage_mm`.
    """
    # Scan ids are hashes: the first of them are spread over the cohort, and stay the same when scans are added elsewhere.
    spread = cohort.sort("scan").head(SHOWN).select(_SHOWN_AS).to_dicts()
    pictures = [_picture(look.axial, row) for row in spread if (look := read_look(folder, row["scan"]))]
    if not pictures:
        return ""
    count = f"{len(pictures)} of {cohort.height:,} scans" if len(pictures) < cohort.height else "All scans"
    told = (
        f"{count}, the middle slice of each from −1000 to 400 HU, the patient's left on the right. Below each: the scan and "
        "its spacing in mm, between slices × within them."
    )
    sheet = section("Contact sheet", paragraph(told, look="quiet"), _sheet(pictures, "sheet"))
    return _standing_out_section(folder, cohort) + sheet


def standing_out(cohort: pl.DataFrame) -> list[tuple[Mapping[str, Any], str]]:
    """Return rows that are unlike the cohort, each once, with what is unusual: distance of slices, coverage, HU."""
    if cohort.height < EACH:
        return []
    ways = (
        ("spacing_z_mm", "thickest slices: {} mm", _above("spacing_z_mm")),
        ("coverage_mm", "shortest: {} mm", -_above("coverage_mm")),
        ("hu_median", "unusual HU: median {}", _above("hu_median").abs()),
        ("hu_p99", "unusual HU: 99th percentile {}", _above("hu_p99").abs()),
        ("coverage_mm", "longest: {} mm", _above("coverage_mm")),
    )
    found: dict[str, tuple[Mapping[str, Any], str]] = {}
    for column, words, strangeness in ways:
        if column not in cohort.columns:
            continue
        unlike = cohort.filter(pl.col(column).is_finite() & (strangeness > UNLIKE * pl.col(column).median().abs()))
        ranked = unlike.sort(strangeness, "scan", descending=[True, False]).head(EACH)
        for row in ranked.to_dicts():
            found.setdefault(row["scan"], (row, words.format(short(row[column]))))
    return list(found.values())[:STANDING_OUT]


def _above(column: str) -> pl.Expr:
    return pl.col(column) - pl.col(column).median()


def _standing_out_section(folder: Path, cohort: pl.DataFrame) -> str:
    shown = [(look, row, words) for row, words in standing_out(cohort) if (look := read_look(folder, row["scan"]))]
    if not shown:
        return ""
    told = "The most unusual usable scans, middle axial and coronal slice. Most are sound; look for what does not belong."
    pictures = [f'<div class="pair">{_both(look, row, words)}</div>' for look, row, words in shown]
    return section("Scans that stand out", paragraph(told, look="quiet"), _sheet(pictures, "pairs"))


def _both(look: Look, row: Mapping[str, Any], words: str) -> str:
    height = max(look.axial.shape[0], look.coronal.shape[0])
    gap = np.zeros((height, 4), dtype=np.uint8)
    return grey_png(np.hstack([_tall(look.axial, height), gap, _tall(look.coronal, height)]), caption=f"{words}\n{row['scan']}")


def _tall(grey: np.ndarray, height: int) -> np.ndarray:
    above = (height - grey.shape[0]) // 2
    return np.pad(grey, ((above, height - grey.shape[0] - above), (0, 0)))


def _picture(grey: np.ndarray, row: Mapping[str, Any]) -> str:
    z, y, x = (short(row[name]) for name in _SHOWN_AS[1:])
    return grey_png(grey, caption=f"{row['scan']}\n{z} × {y}" + ("" if x == y else f" × {x}"))


def _sheet(pictures: Sequence[str], look: str) -> str:
    return f'<div class="{look}">{"".join(pictures)}</div>'
