"""A lexicon's own examples, run: what `labels check` and the tests ask."""

import tomllib

from espalier.labels.lexicon import Example, read_examples, read_lexicon, shipped_text
from espalier.labels.reading import Reader, make_reader


def examples_of(lexicon: str) -> tuple[Example, ...]:
    """Return the examples of a shipped lexicon."""
    if lexicon == "ratic":
        return read_examples(tomllib.loads(shipped_text("ratic.toml")), source="lexicon ratic")
    return read_lexicon(lexicon).source.examples


def misread(reader: Reader, example: Example) -> dict[str, str]:
    """Return the findings that a reader sees otherwise than an example says, each with the state it sees.

    Columns for health (`liver_healthy`) count only where the example names them.
    """
    states, _ = reader.read(example.text)
    wanted = dict.fromkeys(example.present, "present") | dict.fromkeys(example.uncertain, "uncertain")
    wrong = {finding: states.get(finding, "unknown") for finding, state in wanted.items() if states.get(finding) != state}
    spoken = {f: s for f, s in states.items() if s in {"present", "uncertain"} and not f.endswith("_healthy")}
    return wrong | {finding: state for finding, state in spoken.items() if finding not in wanted}


def misread_examples(lexicon: str) -> dict[str, dict[str, str]]:
    """Return the examples of a shipped lexicon that its own rules read wrongly, by text."""
    reader = make_reader(lexicon)
    found = {example.text: misread(reader, example) for example in examples_of(lexicon)}
    return {text: wrong for text, wrong in found.items() if wrong}
