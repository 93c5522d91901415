"""A lexicon's own examples, run: what `espalier label --check` and the tests ask."""

from collections.abc import Mapping
from pathlib import Path

from espalier.labels.lexicon import Example, path_of, read_lexicon
from espalier.labels.reading import Reader, make_reader
from espalier.labels.trauma_words import is_trauma, read_trauma_file


def examples_of(lexicon: str, *, folder: Path | None = None) -> tuple[Example, ...]:
    """Return the examples of a lexicon: a shipped name, or a path relative to `folder`."""
    if is_trauma(lexicon, folder=folder):
        return read_trauma_file(path_of(lexicon, folder)).examples
    return read_lexicon(lexicon, folder=folder).source.examples


def misread(reader: Reader, example: Example) -> dict[str, str]:
    """Return the findings that a reader sees otherwise than an example says, each with the state it sees.

    Columns for health (`liver_healthy`) count only where the example names them.
    """
    states, _ = reader.read(example.text)
    wanted = wanted_by(example)
    wrong = {finding: states.get(finding, "unknown") for finding, state in wanted.items() if states.get(finding) != state}
    spoken = {f: s for f, s in states.items() if s in {"present", "uncertain"} and not f.endswith("_healthy")}
    return wrong | {finding: state for finding, state in spoken.items() if finding not in wanted}


def wanted_by(example: Example) -> Mapping[str, str]:
    """Return the findings that an example names, each with its state."""
    return dict.fromkeys(example.present, "present") | dict.fromkeys(example.uncertain, "uncertain")


def misread_examples(lexicon: str, *, folder: Path | None = None) -> dict[str, dict[str, str]]:
    """Return the examples of a lexicon that its own rules read wrongly, by text."""
    reader = make_reader(lexicon, folder=folder)
    found = {example.text: misread(reader, example) for example in examples_of(lexicon, folder=folder)}
    return {text: wrong for text, wrong in found.items() if wrong}
