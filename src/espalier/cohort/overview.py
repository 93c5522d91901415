"""The page of a cohort: how many scans are usable, why the others are not, and what the usable ones are like.

It holds no patient's name or id, no path, accession number, UID or description; scans go by their ids, which are hashes.
"""

import html
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier.cohort.checks import SHORT_MM, THICK_MM
from espalier.cohort.contact_sheet import contact_sheet
from espalier.cohort.counts import Counts, Tables, answers, count, number, plural, read_tables, tally
from espalier.cohort.histograms import histogram
from espalier.cohort.reasons import advice, note_words, reason_words
from espalier.outputs import written_whole
from espalier.page import page, paragraph, section, table

PAGE: Final = "cohort.html"
OLDEST_YEARS: Final = 90
"""Ages from here on are shown as one: a higher age can point to a person."""
LISTED: Final = 10
LONGEST: Final = 40
"""Makers' names and kernels are cut here; nothing longer is one."""
STYLE: Final = """
h3{font-size:.95rem;margin:0 0 .2rem}.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(6.6rem,1fr));gap:.5rem;
margin:1rem 0}.tile{background:var(--tint);border-radius:6px;padding:.5rem .7rem}.tile b{display:block;font-size:1.5rem;
line-height:1.2;font-variant-numeric:tabular-nums}.tile span{display:block;color:var(--quiet);font-size:.85rem;line-height:1.3}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(17rem,100%),1fr));gap:1.4rem 1.6rem}
.columns{columns:17rem;column-gap:1.6rem}.columns>div{break-inside:avoid;margin-bottom:1.4rem}
td:first-child{min-width:7.5rem}.reasons td:nth-child(4){min-width:11rem}
@media(max-width:40rem){table{font-size:.85rem}th,td{padding-right:.6rem}}
figure.spread{margin:0}figure.spread svg{background:none;border-radius:0;width:100%;display:block}
.spread rect{fill:var(--leaf)}.spread text{fill:var(--quiet);font-size:11px;font-variant-numeric:tabular-nums}
.spread path{stroke:var(--quiet);fill:none}.spread .mark{stroke:var(--ink);stroke-dasharray:3 3}
.shares{display:grid;grid-template-columns:minmax(0,1fr) auto;gap:.15rem .8rem;font-size:.92rem;margin:0}
.shares dt{overflow-wrap:anywhere}.shares dd{margin:0;text-align:right;font-variant-numeric:tabular-nums}
.shares i{grid-column:1/-1;height:4px;border-radius:2px;background:var(--leaf);margin-bottom:.3rem;
-webkit-print-color-adjust:exact;print-color-adjust:exact}
.sheet,.pairs{display:grid;gap:.7rem;grid-template-columns:repeat(auto-fill,minmax(7.4rem,1fr))}
.pairs{grid-template-columns:repeat(auto-fill,minmax(min(15rem,100%),1fr))}.sheet figure,.pairs figure{margin:0}
.sheet img{width:100%;aspect-ratio:1;object-fit:contain;background:#000;display:block}
.pairs img{width:100%;background:#000;display:block}
.sheet figcaption,.pairs figcaption{font-size:.72rem;line-height:1.35;overflow-wrap:anywhere;white-space:pre-line}
td code{font-size:.85em;white-space:nowrap}@media print{.tile,.sheet figure,.pairs figure,figure.spread{break-inside:avoid}
.tiles{grid-template-columns:repeat(8,1fr)}.sheet{grid-template-columns:repeat(8,1fr)}}
"""


def write_overview(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Write `cohort.html` beside a cohort table; return what it comes to as sentences and as data.

    Raises
    ------
    MissingError, InputError, VersionError
        When `path` is no cohort table.
    ResourceError
        When the page cannot be written.
    """
    tables = read_tables(path)
    counts = count(tables)
    out = tables.folder / PAGE
    with written_whole(out) as partial:
        partial.write_text(overview(tables, counts), encoding="utf-8")
    told = answers(counts)
    return [*told, f"The page: {out}"], {"says": told, "page": str(out), **_plain(counts)}


def _plain(counts: Counts) -> dict[str, Any]:
    splits = {name: {"scans": scans, "patients": patients} for name, (scans, patients) in counts.splits.items()}
    return asdict(counts) | {"splits": splits}


def overview(tables: Tables, counts: Counts) -> str:
    """Return the whole page as HTML; equal tables and looks give equal bytes."""
    cohort = tables.cohort
    if "coverage_mm" not in cohort.columns:
        cohort = cohort.with_columns((pl.col("shape_z") * pl.col("spacing_z_mm")).alias("coverage_mm"))
    first, *more = answers(counts)
    told = [paragraph(first, look="answer"), paragraph(" ".join(more)) if more else "", _tiles(counts)]
    sections = [
        "\n".join(part for part in told if part),
        _set_aside_section(tables.set_aside, counts),
        _notes_section(counts),
        _spread_section(cohort),
        _shares_section(cohort, counts),
        _series_section(counts),
        contact_sheet(tables.folder, cohort),
        _about_section(),
    ]
    return page("The cohort", *(part for part in sections if part), style=STYLE)


def _tiles(counts: Counts) -> str:
    values = {
        "usable scans": counts.usable,
        "sound": counts.sound,
        "with a note": counts.noted,
        "set aside": sum(counts.set_aside.values()),
        "patients": counts.patients,
        "studies": counts.studies,
        "series seen": counts.series,
        "series not chosen": sum(counts.not_chosen.values()),
    }
    tiles = "".join(f'<div class="tile"><b>{number(value)}</b><span>{name}</span></div>' for name, value in values.items())
    return f'<div class="tiles">{tiles}</div>'


def _set_aside_section(set_aside: pl.DataFrame, counts: Counts) -> str:
    if set_aside.is_empty():
        return ""
    total = sum(counts.set_aside.values())
    rows = [
        (_first_up(reason_words(code)), number(own), _share(own, total), advice(set_aside.filter(reason=code)), code)
        for code, own in counts.set_aside.items()
    ]
    told = "Nothing is lost: set_aside.csv names every one of them, with what was found and what was expected."
    reasons = table(["Reason", "Scans", "Share", "What to do", "Code"], rows)
    return section("Set aside", f'<div class="reasons">{reasons}</div>', paragraph(told, look="quiet"))


def _notes_section(counts: Counts) -> str:
    if not counts.notes:
        return ""
    rows = [(_first_up(note_words(code)), number(own), _share(own, counts.usable), code) for code, own in counts.notes.items()]
    told = "These scans are used. A scan can carry several notes."
    table_of_notes = table(["What is unusual", "Scans", "Share", "Code"], rows)
    return section("Notes", table_of_notes, paragraph(told, look="quiet"))


def _spread_section(cohort: pl.DataFrame) -> str:
    if cohort.is_empty():
        return ""
    drawn = [
        histogram(_column(cohort, "spacing_z_mm"), title="Between slices", unit="mm", mark=THICK_MM),
        histogram(_column(cohort, "slice_mm"), title="Slice thickness", unit="mm"),
        histogram(_column(cohort, "spacing_y_mm"), title="Pixel size", unit="mm"),
        histogram(_column(cohort, "coverage_mm"), title="Coverage along the body", unit="mm", mark=SHORT_MM),
        histogram(_column(cohort, "shape_z"), title="Slices", unit=""),
        histogram(_column(cohort, "hu_p01"), title="1st percentile of the voxels", unit="HU"),
        histogram(_column(cohort, "hu_median"), title="Median of the voxels", unit="HU"),
        histogram(_column(cohort, "hu_p99"), title="99th percentile of the voxels", unit="HU"),
        histogram(_column(cohort, "age_years").clip(upper_bound=OLDEST_YEARS), title="Age (90 and above as 90)", unit="years"),
    ]
    told = "Scans per bar; the number on top is the tallest bar's. Dashed: where a note begins."
    return section("How they are spread", paragraph(told, look="quiet"), f'<div class="grid">{"".join(drawn)}</div>')


def _column(cohort: pl.DataFrame, name: str) -> pl.Series:
    return cohort[name].cast(pl.Float64) if name in cohort.columns else pl.Series([], dtype=pl.Float64)


def _shares_section(cohort: pl.DataFrame, counts: Counts) -> str:
    if cohort.is_empty():
        return ""
    matrix = [f"{y} × {x}" for y, x in cohort.select("shape_y", "shape_x").iter_rows()]
    told = cohort["contrast"].fill_null("").str.strip_chars().ne("")
    parts = {
        "Manufacturer": _named(cohort["manufacturer"]),
        "Kernel": _named(cohort["kernel"]),
        "Rows × columns": tally(matrix),
        "Body part, from the voxels": tally(cohort["body_part"].to_list()) if _known(cohort, "body_part") else {},
        "Contrast agent, in the header": tally(["named" if own else "not named" for own in told]),
        "Contrast agent, from the voxels": _seen(cohort) if _known(cohort, "contrast_seen") else {},
        "Sex": tally(cohort["sex"].to_list()),
        "Format": tally(cohort["format"].to_list()) if "format" in cohort.columns else {},
        "Splits": {f"{name}, {plural(own[1], 'patient')}": own[0] for name, own in counts.splits.items()},
    }
    drawn = "".join(_shares(title, values) for title, values in parts.items() if values)
    return section("What they are", f'<div class="columns">{drawn}</div>')


def _known(cohort: pl.DataFrame, name: str) -> bool:
    return name in cohort.columns and cohort[name].null_count() < cohort.height


def _seen(cohort: pl.DataFrame) -> dict[str, int]:
    words = {True: "seen", False: "not seen", None: "not judged"}
    return tally([words[own] for own in cohort["contrast_seen"].to_list()])


def _named(values: pl.Series) -> dict[str, int]:
    """Return how often each name stands; one name in other capitals is the same, shown as it is written most often."""
    counts = tally([" ".join(str(value or "").split())[:LONGEST] for value in values.to_list()])
    spelt: dict[str, str] = {}
    together: dict[str, int] = {}
    for name, own in counts.items():
        first = spelt.setdefault(name.casefold(), name)
        together[first] = together.get(first, 0) + own
    return dict(sorted(together.items(), key=lambda pair: (-pair[1], pair[0])))


def _shares(title: str, values: Mapping[str, int]) -> str:
    total = sum(values.values())
    shown = list(values.items())[: LISTED if len(values) > LISTED + 1 else None]
    rest = total - sum(own for _, own in shown)
    if rest:
        shown.append((f"{len(values) - len(shown)} others", rest))
    lines = "".join(
        f"<dt>{html.escape(name) or '(not stated)'}</dt><dd>{number(own)} · {_share(own, total)}</dd>"
        f'<i style="width:{100 * own / total:.1f}%"></i>'
        for name, own in shown
    )
    return f'<div><h3>{html.escape(title)}</h3><dl class="shares">{lines}</dl></div>'


def _series_section(counts: Counts) -> str:
    if not counts.not_chosen:
        return ""
    total = sum(counts.not_chosen.values())
    rows = [(_first_up(why) or "(not stated)", number(own), _share(own, total)) for why, own in counts.not_chosen.items()]
    told = "One series of each study is used. The rule that told it from the one that was chosen:"
    return section("Series not chosen", paragraph(told, look="quiet"), table(["Rule", "Series", "Share"], rows))


def _about_section() -> str:
    lines = (
        "Why a scan was chosen, noted or set aside: espalier show cohort.parquet --scan ID, with a scan's id from this page.",
        "This page names no patient: scans go by hashes of their UIDs. Who they belong to stands only in cohort.parquet.",
    )
    return section("More", *(paragraph(line) for line in lines))


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _share(own: int, total: int) -> str:
    share = 100 * own / total if total else 0.0
    return "< 1 %" if 0 < share < 1 else f"{min(share, 99) if own < total else 100:.0f} %"
