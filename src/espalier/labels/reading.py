"""Reports in, states and evidence out: the one place that knows which reader a lexicon needs."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Protocol

from espalier.labels.lexicon import read_lexicon
from espalier.labels.rules import Mention, RuleReader
from espalier.labels.trauma import TraumaReader
from espalier.labels.trauma_words import is_trauma, read_trauma
from espalier.stage import progress

_BATCH: Final = 500


class Reader(Protocol):
    """What reads a report with a lexicon."""

    key: str
    findings: tuple[str, ...]

    def read(self, report: str) -> tuple[dict[str, str], list[Mention]]:
        """Return the state of each finding, and the mentions that they rest on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What one report says: a state per finding, and where it says so in `text`."""

    states: dict[str, str]
    mentions: tuple[Mention, ...]
    text: str = ""

    def evidence(self, mention: Mention) -> str:
        """Return the sentence of a mention, exactly as the report has it."""
        return self.text[slice(*mention.sentence)]


@cache
def _reader(lexicon: str, folder: Path | None) -> Reader:
    return make_reader(lexicon, folder=folder)


def make_reader(lexicon: str, *, folder: Path | None = None) -> Reader:
    """Return the reader for a shipped lexicon or for a TOML file of your own (relative to `folder`)."""
    if is_trauma(lexicon, folder=folder):
        return TraumaReader(read_trauma(lexicon, folder=folder))
    return RuleReader(read_lexicon(lexicon, folder=folder))


def read_all(texts: Sequence[str], *, lexicon: str, folder: Path | None = None, workers: int = 1) -> list[Reading]:
    """Read reports, in order; a report without words has state `failed` for every finding.

    Parameters
    ----------
    texts
        One report each.
    lexicon, folder
        As for `make_reader`.
    workers
        Processes side by side.
    """
    batches = [list(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
    out: list[Reading] = []
    with progress("label", total=len(texts)) as advance:
        if workers <= 1 or len(batches) < 2:
            reader = make_reader(lexicon, folder=folder)
            for batch in batches:
                out += [_read_one(reader, text) for text in batch]
                advance(len(batch))
            return out
        with ProcessPoolExecutor(min(workers, len(batches)), mp_context=get_context("spawn")) as pool:
            for readings in pool.map(_read_batch, batches, [lexicon] * len(batches), [folder] * len(batches)):
                out += readings
                advance(len(readings))
    return out


def _read_batch(texts: list[str], lexicon: str, folder: Path | None) -> list[Reading]:
    reader = _reader(lexicon, folder)
    return [_read_one(reader, text) for text in texts]


def _read_one(reader: Reader, text: str) -> Reading:
    if not any(c.isalpha() for c in text):
        return Reading(states=dict.fromkeys(reader.findings, "failed"), mentions=(), text=text)
    states, mentions = reader.read(text)
    return Reading(states=states, mentions=tuple(mentions), text=text)
