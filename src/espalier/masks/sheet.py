"""The page of a study's masks: how many are trusted, what is wrong with the others, and what they look like, worst first.

It holds no patient's name or id, no path and no UID; scans go by their ids, which are hashes.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.cohort.counts import number, plural
from espalier.cohort.histograms import histogram
from espalier.cohort.overview import STYLE
from espalier.cohort.read import read_scan
from espalier.cohort.table import read_cohort
from espalier.errors import ScanError
from espalier.masks.files import read_masks
from espalier.masks.overlay import colour_of, middle_of, overlay
from espalier.masks.plausible import PLAUSIBLE_ML
from espalier.masks.verdicts import NO_FAULT, REASONS, TABLE, TAINTS, scan_verdicts
from espalier.outputs import read_table, written_whole
from espalier.page import page, paragraph, section, table

PAGE: Final = "masks.html"
SHOWN: Final = 24
"""At most so many scans are shown: each is read once more for its picture."""
EACH: Final = 4
"""At most so many scans are shown for one reason, so that a common fault does not hide a rare one."""
TRUSTED: Final = 6
WIDE: Final = """.overlays{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(29rem,100%),1fr))}
.overlays figure{margin:0}.overlays img{width:100%;background:#000;display:block;border-radius:4px}
.overlays figcaption{font-size:.76rem;line-height:1.35;overflow-wrap:anywhere;white-space:pre-line}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;list-style:none;margin:0 0 1rem;padding:0;font-size:.85rem}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em;border:1px solid var(--line)}
@media print{.overlays figure{break-inside:avoid}}"""


def write_masks_page(folder: Path, *, shown: int = SHOWN) -> Path:
    """Write `masks.html` from `masks.parquet` and the masks themselves; return where it is.

    Parameters
    ----------
    folder
        The study's folder.
    shown
        At most so many scans have their picture on it.

    Raises
    ------
    MissingError
        Before `segment`.
    ResourceError
        When the page cannot be written.
    """
    rows = read_table(folder / TABLE, kind="masks")
    verdicts = scan_verdicts(folder)
    sections = [
        _answer(folder, verdicts),
        _reasons_section(rows),
        _structures_section(rows),
        _volumes_section(rows),
        _pictures_section(folder, rows, verdicts, shown),
        _about_section(),
    ]
    out = folder / PAGE
    with written_whole(out, private=True) as partial:
        partial.write_text(page("The masks", *(part for part in sections if part), style=STYLE + WIDE), encoding="utf-8")
    return out


def worst_first(rows: pl.DataFrame, verdicts: Mapping[str, str], shown: int) -> list[str]:
    """Return the scans to look at: for every reason a few, dropped ones first, then some that are trusted.

    Parameters
    ----------
    rows
        Of `masks.parquet`.
    verdicts
        On every scan.
    shown
        How many at most.
    """
    of_reason: dict[str, list[str]] = {}
    for scan, reason in _told(rows).select("scan", "reasons").unique().sort("scan", "reasons").iter_rows():
        of_reason.setdefault(reason, []).append(scan)
    faults = sorted(of_reason, key=lambda reason: (reason not in TAINTS, len(of_reason[reason]), reason))
    # One of each reason, then a second of each: where room ends, no reason is without a picture before another has two.
    chosen = [of_reason[reason][turn] for turn in range(EACH) for reason in faults if turn < len(of_reason[reason])]
    chosen = list(dict.fromkeys(chosen))[:shown]
    chosen.sort(key=lambda scan: (verdicts[scan] != "drop", verdicts[scan] == "trust"))
    # Ids are hashes: the first of them are spread over the cohort.
    trusted = sorted(scan for scan, verdict in verdicts.items() if verdict == "trust")
    return chosen + trusted[: min(TRUSTED, shown - len(chosen))]


def _told(rows: pl.DataFrame) -> pl.DataFrame:
    """Return a row per structure and fault."""
    return rows.explode("reasons").drop_nulls("reasons").filter(~pl.col("reasons").is_in(list(NO_FAULT)))


def _answer(folder: Path, verdicts: Mapping[str, str]) -> str:
    counts = {verdict: sum(own == verdict for own in verdicts.values()) for verdict in ("trust", "down_weight", "drop")}
    without = read_cohort(folder).height - len(verdicts)
    first = f"{number(counts['trust'])} of {plural(len(verdicts), 'scan')} with masks are trusted."
    more = f"{number(counts['down_weight'])} weighted down to a half, {number(counts['drop'])} dropped from the mask loss."
    tiles = {
        "with masks": len(verdicts),
        "trusted": counts["trust"],
        "weighted down": counts["down_weight"],
        "dropped": counts["drop"],
        "without masks": max(0, without),
    }
    drawn = "".join(f'<div class="tile"><b>{number(own)}</b><span>{name}</span></div>' for name, own in tiles.items())
    return f'{paragraph(f"{first} {more}", look="answer")}<div class="tiles">{drawn}</div>'


def _reasons_section(rows: pl.DataFrame) -> str:
    told = _told(rows)
    if told.is_empty():
        return ""
    counts = told.group_by("reasons").agg(pl.col("scan").n_unique().alias("scans"), pl.len().alias("structures"))
    lines = []
    for reason, scans, structures in counts.sort(["scans", "reasons"], descending=[True, False]).iter_rows():
        words = REASONS.get(reason, reason)
        effect = "dropped" if reason in TAINTS else "weighted down"
        lines.append((words[:1].upper() + words[1:], number(scans), number(structures), effect, reason))
    head = ["What is wrong", "Scans", "Structures", "These scans are", "Code"]
    return section("What is wrong with them", f'<div class="reasons">{table(head, lines)}</div>')


def _structures_section(rows: pl.DataFrame) -> str:
    lines = []
    for structure in rows["structure"].unique(maintain_order=True):
        own = rows.filter(pl.col("structure") == structure)
        there = own.filter(pl.col("volume_ml") > 0)
        quantiles = [there["volume_ml"].quantile(q, "nearest") for q in (0.05, 0.5, 0.95)]
        spread = [f"{value:,.0f}" if value is not None else "–" for value in quantiles]
        faults = _told(own)["scan"].n_unique()
        lines.append((structure, number(there.height), number(faults), *spread, _range(structure)))
    head = ["Structure", "Scans", "With a fault", "5th percentile, ml", "Median, ml", "95th percentile, ml", "Plausible, ml"]
    return section("Structures", table(head, lines))


def _range(structure: str) -> str:
    if structure not in PLAUSIBLE_ML:
        return "any"
    low, high = PLAUSIBLE_ML[structure]
    return f"{low:,.0f} to {high:,.0f}"


def _volumes_section(rows: pl.DataFrame) -> str:
    drawn = []
    for structure in rows["structure"].unique(maintain_order=True):
        own = rows.filter((pl.col("structure") == structure) & (pl.col("volume_ml") > 0))["volume_ml"]
        title = f"{structure}, plausible {_range(structure)}" if structure in PLAUSIBLE_ML else structure
        drawn.append(histogram(own, title=title, unit="ml", mark=_mark(structure, own)))
    told = "Scans per bar; the number on top is the tallest bar's. Dashed: where the plausible range ends, if it is near."
    return section("Volumes", paragraph(told, look="quiet"), f'<div class="grid">{"".join(drawn)}</div>')


def _mark(structure: str, volumes: pl.Series) -> float | None:
    """Return the end of the plausible range that more volumes lie beyond; the lower one where none does."""
    if structure not in PLAUSIBLE_ML or volumes.is_empty():
        return None
    low, high = PLAUSIBLE_ML[structure]
    return high if (volumes > high).sum() > (volumes < low).sum() else low


def _pictures_section(folder: Path, rows: pl.DataFrame, verdicts: Mapping[str, str], shown: int) -> str:
    scans = worst_first(rows, verdicts, shown)
    cohort = {row["scan"]: row for row in read_cohort(folder).filter(pl.col("scan").is_in(scans)).to_dicts()}
    pictures = [
        picture
        for scan in scans
        if scan in cohort and (picture := _picture(folder, cohort[scan], rows.filter(pl.col("scan") == scan), verdicts[scan]))
    ]
    if not pictures:
        return ""
    told = (
        "Axial, coronal and sagittal plane through the middle of what is at fault, from −1000 to 400 HU; the patient's left "
        "on the right, in the sagittal plane the back. Dropped scans first, a few for each reason, then some that are trusted."
    )
    names = rows["structure"].unique(maintain_order=True).to_list()
    return section(
        "What they look like", paragraph(told, look="quiet"), _legend(names), f'<div class="overlays">{"".join(pictures)}</div>'
    )


def _picture(folder: Path, row: Mapping[str, Any], own: pl.DataFrame, verdict: str) -> str:
    try:
        masks = read_masks(folder / "masks" / f"{row['scan']}.nii.gz")
        volume = read_scan(row, folder=folder)
    except ScanError:
        return ""
    told = _told(own)
    at_fault = set(told["structure"])
    faulty = [value for value, name in masks.names.items() if name in at_fault]
    reasons = ", ".join(dict.fromkeys(told["reasons"].to_list()))
    caption = f"{verdict.replace('_', ' ')}{': ' + reasons if reasons else ''}\n{row['scan']}"
    return overlay(volume, masks, at=middle_of(masks, faulty), caption=caption)


def _legend(structures: Sequence[str]) -> str:
    lines = "".join(
        f'<li><i style="background:{colour_of(value)}"></i>{html.escape(name)}</li>'
        for value, name in enumerate(structures, start=1)
    )
    return f'<ul class="legend">{lines}</ul>'


def _about_section() -> str:
    lines = (
        "Every verdict and reason stands in masks.parquet, a row per scan and structure.",
        "This page names no patient: scans go by hashes of their UIDs.",
    )
    return section("More", *(paragraph(line) for line in lines))
