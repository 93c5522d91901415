"""Which findings of which reports a language model is to be asked, and what that will cost."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from espalier.errors import SettingsError
from espalier.labels.answers import Answer
from espalier.labels.model_cache import CACHE, answer_key, open_cache, text_key
from espalier.labels.options import LabelOptions, LanguageModelOptions
from espalier.labels.prompt import PROMPT_KEY, messages_for
from espalier.labels.questions import Questions, questions_of
from espalier.labels.reading import Reading, make_reader, read_all
from espalier.labels.reports import group_reports, read_tables
from espalier.labels.targets import named_findings
from espalier.labels.withdrawn import texts_left
from espalier.outputs import hash_of

LETTERS_PER_TOKEN: Final = 4
_ANSWER_LETTERS: Final = 140
"""Letters of one finding's answer: its keys, its state and a quote of a clause."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request: findings of one report, each with the key under which its answer is kept."""

    report: str
    keys: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is to be asked, by what is kept already.

    `keys` has for each reading the questions that the model decides and the keys of their answers.
    """

    keys: tuple[Mapping[str, str], ...]
    kept: Mapping[str, Answer]
    calls: tuple[Call, ...]
    questions: Questions


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What asking would cost; tokens are letters divided by four, and repairs and retries are not foreseen.

    `seconds` and `price` are None where the options do not say how fast the server is, or what a token costs.
    """

    reports: int
    findings: int
    kept: int
    calls: int
    tokens_in: int
    tokens_out: int
    seconds: float | None
    price: float | None

    @property
    def words(self) -> str:
        """The estimate in a sentence."""
        told = f"{self.findings} findings of {self.reports} reports would be asked in {self.calls} requests"
        told += (
            f" ({self.kept} more are answered already), about {self.tokens_in} tokens to read and {self.tokens_out} to write"
        )
        told += f" (reckoned as letters / {LETTERS_PER_TOKEN})"
        told += "; time is not known without tokens_per_s" if self.seconds is None else f"; about {_lasting(self.seconds)}"
        return told + (
            "; price is not known without price_in and price_out" if self.price is None else f"; price {self.price:.2f}"
        )


def work_of(
    texts: Sequence[str],
    readings: Sequence[Reading],
    *,
    options: LanguageModelOptions,
    lexicon: str,
    folder: Path,
    findings: Iterable[str] | None = None,
) -> Work:
    """Return what a model is to be asked; equal reports are asked once.

    Parameters
    ----------
    texts, readings
        Reports, and what the rules say of them.
    options
        What the model is asked.
    lexicon, folder
        As for `read_all`; the folder also has the kept answers.
    findings
        Those that count; all of the lexicon where None.

    Raises
    ------
    SettingsError
        As `questions_of`.
    """
    questions = questions_of(options, lexicon=lexicon, folder=folder, findings=findings)
    decoding = (options.name, options.seed, options.max_tokens, dict(options.extra))
    about = {name: hash_of(PROMPT_KEY, name, questions.definitions[name], decoding) for name in questions.names}
    keys = tuple(
        {name: answer_key(own, about[name]) for name in _wanted(reading, questions, options)}
        for own, reading in zip((text_key(text) for text in texts), readings, strict=True)
    )
    kept = _kept(folder, {key for own in keys for key in own.values()})
    open_keys = {tuple(own.values()): (text, own) for text, own in zip(texts, keys, strict=True)}
    calls = tuple(call for text, own in open_keys.values() for call in _calls(text, own, kept, questions, options.group))
    asked = {key for call in calls for key in call.keys.values()}
    kept = {key: answer for key, answer in kept.items() if key not in asked}
    return Work(keys=keys, kept=kept, calls=calls, questions=questions)


def conversation(call: Call, questions: Questions) -> tuple[list[dict[str, str]], dict[str, Sequence[str]]]:
    """Return what is said to the model for one call, and what it may answer to each question."""
    states = {name: questions.states[name] for name in call.keys}
    return messages_for(call.report, {name: questions.definitions[name] for name in call.keys}, states=states), states


def estimate(work: Work, options: LanguageModelOptions) -> Estimate:
    """Return what asking would cost."""
    letters_in = letters_out = 0
    for call in work.calls:
        messages, _ = conversation(call, work.questions)
        letters_in += sum(len(message["content"]) for message in messages)
        letters_out += sum(len(name) + _ANSWER_LETTERS for name in call.keys)
    tokens_in, tokens_out = (math.ceil(letters / LETTERS_PER_TOKEN) for letters in (letters_in, letters_out))
    seconds = None if options.tokens_per_s is None else (tokens_in + tokens_out) / options.tokens_per_s
    price = None
    if options.price_in is not None or options.price_out is not None:
        price = (tokens_in * (options.price_in or 0.0) + tokens_out * (options.price_out or 0.0)) / 1e6
    return Estimate(
        reports=len({call.report for call in work.calls}),
        findings=sum(len(call.keys) for call in work.calls),
        kept=len(work.kept),
        calls=len(work.calls),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        seconds=seconds,
        price=price,
    )


def estimate_study(options: LabelOptions, *, folder: Path, workers: int = 1, secret: bytes | None = None) -> Estimate:
    """Read the reports of a study with the rules and return what asking the model would cost; nothing is asked or written.

    Reports that a join to the scans would leave out are counted too, those of patients who have withdrawn are not. `secret`
    is the key of the study's pseudonyms.

    Raises
    ------
    SettingsError
        Where the study has no model.
    """
    if options.model is None:
        do = "Add [labels.model] with url and name."
        raise SettingsError("[labels]", found="no model to reckon with", expected="[labels.model]", do=do)
    texts = texts_left(group_reports(read_tables(options, folder), options), options, folder=folder, secret=secret)
    readings = read_all(texts, lexicon=options.lexicon, folder=folder, workers=workers)
    findings = make_reader(options.lexicon, folder=folder).findings
    if isinstance(options.findings, tuple):
        named = named_findings(options.findings, findings, setting="[labels] findings")
        findings = tuple(finding for own in named.values() for finding in own)
    work = work_of(texts, readings, options=options.model, lexicon=options.lexicon, folder=folder, findings=findings)
    return estimate(work, options.model)


def _wanted(reading: Reading, questions: Questions, options: LanguageModelOptions) -> list[str]:
    """Return the questions that the model decides: none where there is no text to read."""
    states, said = questions.said(reading)
    own = [name for name in questions.names if states.get(name) != "failed"]
    if options.order != "rules first":
        return own
    return [n for n in own if states[n] == "uncertain" or {"present", "absent"} <= said.get(n, set())]


def _kept(folder: Path, keys: set[str]) -> dict[str, Answer]:
    if not (folder / CACHE).is_file():
        return {}
    with open_cache(folder) as cache:
        return cache.get(keys)


def _calls(text: str, keys: Mapping[str, str], kept: Mapping[str, Answer], questions: Questions, group: int) -> Iterable[Call]:
    left = [name for name, key in keys.items() if key not in kept or not kept[key].fits(text, questions.states[name])]
    for first in range(0, len(left), group):
        yield Call(report=text, keys={name: keys[name] for name in left[first : first + group]})


def _lasting(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
