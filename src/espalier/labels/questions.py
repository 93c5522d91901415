"""What a language model can be asked with a lexicon: the questions, what they mean, and what may be answered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espalier.labels.findings import RATIC_COLUMNS, RATIC_GRADED
from espalier.labels.language import Language
from espalier.labels.lexicon import read_lexicon
from espalier.labels.model_trauma import (
    GRADED_STATES,
    STRUCTURES,
    by_structure,
    definition_of_structure,
    own_definitions,
    structures_of,
)
from espalier.labels.options import LanguageModelOptions
from espalier.labels.prompt import STATES, definition_of
from espalier.labels.reading import Reading
from espalier.labels.targets import named_findings
from espalier.labels.trauma_words import is_trauma, read_trauma


@dataclass(frozen=True, kw_only=True, slots=True)
class Questions:
    """What may be asked: findings, or the structures of trauma.

    Parameters
    ----------
    names
        Those that the model is asked where the rules leave them to it, in order.
    definitions
        What each of them means.
    states
        What may be answered to each.
    language
        Of the reports.
    trauma
        Whether they are structures, whose answers become columns of RATIC.
    """

    names: tuple[str, ...]
    definitions: Mapping[str, str]
    states: Mapping[str, Sequence[str]]
    language: Language = field(repr=False)
    trauma: bool = False

    def said(self, reading: Reading) -> tuple[Mapping[str, str], Mapping[str, set[str]]]:
        """Return what the rules say to each question in the end, and all that they say to it."""
        if self.trauma:
            return by_structure(reading)
        said: dict[str, set[str]] = {}
        for mention in reading.mentions:
            said.setdefault(mention.finding, set()).add(mention.state)
        return reading.states, said


def questions_of(
    options: LanguageModelOptions, *, lexicon: str, folder: Path, findings: Iterable[str] | None = None
) -> Questions:
    """Return what a model is asked with a lexicon.

    Parameters
    ----------
    options
        What is asked, and the study's own definitions.
    lexicon, folder
        As for `make_reader`.
    findings
        Those that count; all of the lexicon where None.

    Raises
    ------
    SettingsError
        Where `order` or `definitions` names no finding, or a part of one that is not asked by itself.
    """
    if is_trauma(lexicon, folder=folder):
        own = own_definitions(options.definitions, RATIC_COLUMNS)
        return Questions(
            names=structures_of(_chosen(options, RATIC_COLUMNS, findings)),
            definitions={name: definition_of_structure(name, own.get(name, "")) for name in STRUCTURES},
            states={name: GRADED_STATES if name in RATIC_GRADED else STATES for name in STRUCTURES},
            language=read_trauma(lexicon, folder=folder).language,
            trauma=True,
        )
    words = read_lexicon(lexicon, folder=folder)
    named = named_findings(tuple(options.definitions), words.findings, setting="[labels.model] definitions")
    meant = {finding: options.definitions[name] for name, each in named.items() for finding in each}
    return Questions(
        names=tuple(_chosen(options, words.findings, findings)),
        definitions={name: definition_of(name, groups, meant) for name, groups in words.source.finding.items()},
        states=dict.fromkeys(words.findings, STATES),
        language=words.language,
    )


def _chosen(options: LanguageModelOptions, known: Sequence[str], findings: Iterable[str] | None) -> list[str]:
    """Return the findings that count and that `order` leaves to the model."""
    count = set(known if findings is None else findings)
    chosen = [name for name in known if name in count]
    if isinstance(options.order, str):
        return chosen
    named = named_findings(options.order, known, setting="[labels.model] order")
    return [name for name in chosen if any(name in own for own in named.values())]
