"""One made-up patient, whole: person, truth, report, and every series with its masks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int16, UInt8

from espalier.phantom.chest import paint_chest
from espalier.phantom.draw import Canvas, make_canvas
from espalier.phantom.findings import Anatomy, Truth
from espalier.phantom.options import PhantomOptions
from espalier.phantom.painting import Painting
from espalier.phantom.reports import STYLES, report_text
from espalier.phantom.scanner import (
    AIR_HU,
    Girth,
    Person,
    Series,
    add_noise,
    body_box,
    draw_girth,
    draw_person,
    draw_series,
    draw_table,
)
from espalier.phantom.streams import Streams
from espalier.phantom.trauma import paint_trauma

Paint = Callable[[Canvas, Girth, Streams, float], Painting]
PAINT: Final[Mapping[Anatomy, Paint]] = {"chest": paint_chest, "trauma": paint_trauma}


@dataclass(frozen=True, slots=True)
class Scan:
    """One series as stored: HU and masks on the grid of `series`."""

    series: Series
    hu: Int16[np.ndarray, "z y x"]
    masks: UInt8[np.ndarray, "z y x"]


@dataclass(frozen=True, slots=True)
class Patient:
    """All that a cohort holds of one patient; every series shows the same body."""

    person: Person
    truth: Truth
    report: str
    scans: tuple[Scan, ...]


def make_patient(number: int, options: PhantomOptions) -> Patient:
    """Return patient `number`, counted from 0; it depends on the seed and its number only, not on its neighbours."""
    streams = Streams(options.seed, number)
    scans = []
    truth: Truth | None = None
    for series in draw_series(streams.rng("series"), options):
        scan, seen = _scan(streams, series, options)
        scans.append(scan)
        truth = truth or seen
        streams.rewind()
    assert truth is not None
    rng = streams.rng("report")
    style = STYLES[rng.integers(len(STYLES))]
    report = report_text(options.anatomy, truth, rng=rng, style=style)
    return Patient(draw_person(streams.rng("person"), number), truth, report, tuple(scans))


def _scan(streams: Streams, series: Series, options: PhantomOptions) -> tuple[Scan, Truth]:
    girth = draw_girth(streams.rng("size"), options.anatomy)
    box = body_box(series, girth, options.anatomy)
    part = make_canvas(series.grid, series.pose, hu=AIR_HU, box=box)
    painting = PAINT[options.anatomy](part, girth, streams, options.prevalence)
    canvas = make_canvas(series.grid, series.pose, hu=AIR_HU)
    body, masks = np.zeros_like(canvas.hu), np.zeros(canvas.hu.shape, np.uint8)
    canvas.hu[box], body[box], masks[box] = part.hu, painting.body, painting.masks
    draw_table(canvas, streams.rng("table"), body, girth.half_y_mm)
    return Scan(series, add_noise(canvas, body, series), masks), painting.truth
