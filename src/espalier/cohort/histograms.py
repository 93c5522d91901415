"""Distributions drawn as small SVG histograms, which take the page's colours, light or dark, and stay small for any cohort."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from jaxtyping import Float, Int

BARS: Final = 24
"""At most about so many bars, fewer for few values; the exact number follows from a round width."""
STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
WHOLE_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
STRAY: Final = 0.005
"""Share of the values on either side that the first and the last bar take in, so that one stray value squeezes nothing."""
FINEST_DIGITS: Final = 4
WIDTH, HEIGHT, FLOOR, LEFT, TOP = 320, 150, 122, 22, 22


@dataclass(frozen=True, slots=True)
class Bars:
    """How often values stand between edges of a round width.

    Parameters
    ----------
    edges
        One more than `counts`; the first and the last bar also hold what lies outside.
    counts
        Values per bar.
    """

    edges: Float[np.ndarray, " edges"]
    counts: Int[np.ndarray, " bars"]


def histogram(values: pl.Series, *, title: str, unit: str, mark: float | None = None) -> str:
    """Return a figure of how values are spread, as HTML; "" where none is stated.

    Parameters
    ----------
    values
        Numbers; empty cells are counted as not stated.
    title, unit
        What they are.
    mark
        A value to mark with a dashed line, as a limit above or below which scans are noted.
    """
    # Spacings differ by the noise of float64 too; nobody tells scans apart below a tenth of a micron.
    known = np.sort(np.round(values.drop_nulls().drop_nans().to_numpy().astype(np.float64), FINEST_DIGITS))
    if not known.size:
        return ""
    bars = bars_of(known)
    told = _told(known, unit, unstated=len(values) - known.size)
    label = html.escape(f"{title}, {unit}: {told}" if unit else f"{title}: {told}", quote=True)
    heading = html.escape(f"{title}, {unit}" if unit else title)
    return (
        f'<figure class="spread"><h3>{heading}</h3><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{_drawn(bars, mark)}</svg><figcaption>{html.escape(told)}</figcaption></figure>"
    )


def bars_of(known: Float[np.ndarray, " n"]) -> Bars:
    """Return sorted values in bars of a round width; whole numbers stand in bars of whole numbers."""
    low, high = (float(v) for v in np.quantile(known, (STRAY, 1 - STRAY), method="nearest"))
    wanted = (high - low) / min(BARS, max(8, 2 * math.isqrt(known.size)))
    whole = np.array_equal(known, np.round(known))
    step = max(1.0, round_step(wanted, WHOLE_STEPS)) if whole else round_step(wanted)
    first = math.floor(low / step + 1e-9)
    count = max(1, math.floor(high / step + 1e-9) - first + 1)
    edges = (first + np.arange(count + 1)) * step
    places = np.clip(np.floor(known / step + 1e-9).astype(np.int64) - first, 0, count - 1)
    return Bars(edges=edges, counts=np.bincount(places, minlength=count))


def round_step(width: float, steps: Sequence[float] = STEPS) -> float:
    """Return the smallest of `steps` times a power of ten that is at least `width`; 0.1 for no width."""
    if not width > 0:
        return 0.1
    power = 10.0 ** math.floor(math.log10(width))
    return next(part * power for part in steps if part * power >= width * (1 - 1e-9))


def short(value: float) -> str:
    """Return a number with as many digits as people need to tell scans apart."""
    digits = next((digits for digits, above in enumerate((100, 20, 1)) if abs(value) >= above), 3)
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if float(text) == 0 else text.replace("-", "−")


def _told(known: Float[np.ndarray, " n"], unit: str, *, unstated: int) -> str:
    low, fifth, middle, ninety_fifth, high = (short(v) for v in np.quantile(known, (0, 0.05, 0.5, 0.95, 1), method="nearest"))
    if low == high:
        told = f"{low}{' ' + unit if unit else ''} throughout"
    else:
        told = f"median {middle}; nine in ten from {fifth} to {ninety_fifth}; all from {low} to {high}"
    return f"{told}; not stated for {unstated:,}" if unstated else told


def _drawn(bars: Bars, mark: float | None) -> str:
    edges, counts = bars.edges, bars.counts
    width = (WIDTH - 2 * LEFT) / max(len(counts), 8)
    left = (WIDTH - width * len(counts)) / 2
    tallest = int(counts.max())
    parts = []
    for n, value in enumerate(counts):
        if not value:
            continue
        height = max(1.0, (FLOOR - TOP) * value / tallest)
        said = _bar_words(bars, n)
        parts.append(
            f'<rect x="{left + n * width + 0.5:.1f}" y="{FLOOR - height:.1f}" width="{width - 1:.1f}" height="{height:.1f}">'
            f"<title>{said}</title></rect>"
        )
    at = left + (int(counts.argmax()) + 0.5) * width
    parts.append(_text(min(max(at, 20), WIDTH - 20), TOP - 6, f"{tallest:,}"))
    parts.append(f'<path d="M{LEFT} {FLOOR}H{WIDTH - LEFT}"/>')
    parts += [_text(left + n * width, HEIGHT - 12, edge_words(bars, n)) for n in _ticks(len(counts))]
    if mark is not None and edges[0] < mark < edges[-1]:
        place = left + (mark - edges[0]) / (edges[-1] - edges[0]) * width * len(counts)
        parts.append(f'<path class="mark" d="M{place:.1f} {TOP}V{FLOOR}"/>')
    return "".join(parts)


def _bar_words(bars: Bars, n: int) -> str:
    return f"{edge_words(bars, n)} to {edge_words(bars, n + 1)}: {int(bars.counts[n]):,}"


def edge_words(bars: Bars, n: int) -> str:
    """Return an edge with the digits that tell it from its neighbours."""
    step = float(bars.edges[1] - bars.edges[0])
    digits = next(d for d in range(12) if abs(step * 10**d - round(step * 10**d)) < 1e-6 * 10**d * step)
    return f"{bars.edges[n] + 0.0:.{digits}f}".replace("-", "−")


def _ticks(count: int) -> list[int]:
    """Return which edges carry a number: about five of them, at even distances."""
    return list(range(0, count + 1, math.ceil(count / 5)))


def _text(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{html.escape(words)}</text>'
