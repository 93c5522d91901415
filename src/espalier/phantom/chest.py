"""A chest patient on one canvas: anatomy with the findings that shape it, lesions, and what only resembles them."""

import numpy as np

from espalier.phantom.chest_anatomy import Scene, draw_masks, draw_thorax
from espalier.phantom.chest_findings import draw_findings, paint_findings
from espalier.phantom.chest_look_alikes import paint_look_alikes
from espalier.phantom.draw import Canvas, mottle
from espalier.phantom.findings import Truth
from espalier.phantom.painting import Painting
from espalier.phantom.scanner import Girth, draw_person
from espalier.phantom.streams import Streams


def paint_chest(canvas: Canvas, girth: Girth, streams: Streams, prevalence: float) -> Painting:
    """Paint the patient of these streams and return masks and truth."""
    findings = draw_findings(streams.rng("truth"), prevalence)
    female = draw_person(streams.rng("person"), 0).sex == "F"
    rng = streams.rng("body")
    thorax = draw_thorax(canvas, girth, rng, findings, female=female)
    masks = draw_masks(thorax)
    details = paint_findings(Scene(canvas, thorax, streams.rng("findings"), streams.sites("findings")), findings)
    look_alikes = paint_look_alikes(Scene(canvas, thorax, streams.rng("look_alikes"), streams.sites("look_alikes")))
    drift = np.float32(rng.normal(0, 6)) + np.float32(rng.uniform(0, 3)) * mottle(canvas, rng, (120, 300))
    canvas.hu[...] += drift * thorax.frame.body
    truth = Truth(anatomy="chest", findings=findings, details=details, look_alikes=look_alikes)
    return Painting(masks, thorax.frame.body, truth)
