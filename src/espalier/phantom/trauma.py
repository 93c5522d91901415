"""A trauma patient on one canvas: the healthy abdomen, its injuries, and what only resembles them."""

from espalier.phantom.draw import Canvas
from espalier.phantom.painting import Painting
from espalier.phantom.scanner import Girth
from espalier.phantom.streams import Streams
from espalier.phantom.trauma_anatomy import Scene, draw_abdomen, draw_masks
from espalier.phantom.trauma_findings import draw_injuries, paint_injuries, trauma_truth
from espalier.phantom.trauma_look_alikes import paint_look_alikes


def paint_trauma(canvas: Canvas, girth: Girth, streams: Streams, prevalence: float) -> Painting:
    """Paint the patient of these streams and return masks and truth; masks never depend on injuries."""
    abdomen = draw_abdomen(canvas, girth, streams.rng("body"), streams.sites("body"))
    masks = draw_masks(abdomen)
    injuries = draw_injuries(streams.rng("truth"), prevalence)
    details = paint_injuries(Scene(canvas, abdomen, streams.rng("findings"), streams.sites("findings")), injuries)
    look_alikes = paint_look_alikes(Scene(canvas, abdomen, streams.rng("look_alikes"), streams.sites("look_alikes")))
    truth = trauma_truth(injuries, details, look_alikes)
    return Painting(masks, abdomen.torso.body, truth)
