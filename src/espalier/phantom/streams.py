"""Random numbers of one patient: a stream per purpose, each the same however often it is opened."""

from typing import Final

import numpy as np

from espalier.phantom.draw import Sites

NAMES: Final = ("person", "series", "truth", "size", "body", "table", "findings", "look_alikes", "report")


class Streams:
    """Streams and places of patient `number`: what one draws moves no other, so look-alikes cannot know the labels.

    All of them spring from the seed sequence of `numpy.random.default_rng([seed, number])`.
    """

    def __init__(self, seed: int, number: int) -> None:
        children = np.random.SeedSequence([seed, number]).spawn(2 * len(NAMES))
        self._seeds = dict(zip(NAMES, children[: len(NAMES)], strict=True))
        places = zip(NAMES, children[len(NAMES) :], strict=True)
        self._sites = {name: Sites(np.random.default_rng(child)) for name, child in places}

    def rng(self, name: str) -> np.random.Generator:
        """Return the stream of this name, at its start."""
        return np.random.default_rng(self._seeds[name])

    def sites(self, name: str) -> Sites:
        """Return the places of this name; see `rewind`."""
        return self._sites[name]

    def rewind(self) -> None:
        """Give every place chosen so far again, in order: for the patient's next grid."""
        for sites in self._sites.values():
            sites.rewind()
