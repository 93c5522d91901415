"""What a language model says where the rules leave something open, each answer with words that stand in the report.

A model that cannot be made to answer well leaves the state `failed`, whose weight is 0; it never becomes "absent".
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from espalier.errors import ResourceError, SettingsError
from espalier.labels.answers import Answer, read_answers, section_at
from espalier.labels.endpoint import Endpoint, NoReply
from espalier.labels.language import Language
from espalier.labels.model_cache import open_cache, text_key
from espalier.labels.model_trauma import with_structures
from espalier.labels.model_work import Call, Work, conversation, work_of
from espalier.labels.options import LanguageModelOptions
from espalier.labels.prompt import repair_of, schema_of
from espalier.labels.reading import Reading
from espalier.labels.rules import Mention
from espalier.stage import progress

GIVE_UP_AFTER: Final = 8
_WHY: Final[Mapping[str, str]] = {
    "no_json": "no JSON",
    "no_state": "no valid state",
    "no_quote": "evidence that is not in the report",
    "refused": "request refused, perhaps as too long",
    "unreachable": "no connection",
    "timed_out": "no answer in time",
    "overloaded": "server overloaded",
    "broken": "answer cut or damaged",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSummary:
    """What asking a model came to; `asked` and `kept` count findings of reports, equal reports once.

    `without` counts by reason the findings that have no answer and so the state `failed`.
    """

    name: str
    asked: int
    kept: int
    calls: int
    repaired: int
    without: Mapping[str, int]
    tokens_in: int
    tokens_out: int
    seconds: float

    @property
    def words(self) -> str:
        """The summary in a sentence."""
        told = f"model {self.name}: {self.asked} findings asked in {self.calls} requests, {self.kept} answered before"
        told += f", {self.repaired} requests asked once more to mend their answers" if self.repaired else ""
        if self.without:
            reasons = ", ".join(f"{n} × {_WHY[why]}" for why, n in sorted(self.without.items()))
            told += f", {sum(self.without.values())} without an answer ({reasons})"
        tokens = self.tokens_in + self.tokens_out
        if tokens and self.seconds > 0:
            told += f"; {self.tokens_in} tokens read and {self.tokens_out} written, {tokens / self.seconds:.0f} per second"
        return told


@dataclass(frozen=True, kw_only=True, slots=True)
class _Told:
    """What one request, and the one that mended it, brought: an answer or a fault per finding."""

    answers: Mapping[str, Answer | str]
    no_reply: NoReply | None = None
    calls: int = 1
    repaired: bool = False
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(kw_only=True, slots=True)
class _Count:
    calls: int = 0
    answered: int = 0
    repaired: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    silent: int = 0
    without: Counter[str] = field(default_factory=Counter)

    def add(self, told: _Told) -> None:
        self.calls += told.calls
        self.repaired += told.repaired
        self.tokens_in += told.tokens_in
        self.tokens_out += told.tokens_out
        self.answered += told.no_reply is None
        self.silent = 0 if told.no_reply is None else self.silent + 1
        self.without.update(one for one in told.answers.values() if isinstance(one, str))


def with_model(
    texts: Sequence[str],
    readings: Sequence[Reading],
    *,
    options: LanguageModelOptions,
    lexicon: str,
    folder: Path,
    findings: Iterable[str] | None = None,
    names: Sequence[str] = (),
) -> tuple[list[Reading], ModelSummary]:
    """Ask a model what `order` leaves to it, and return the readings with its answers in their places.

    Each answer is on disk as soon as it is there; called again after a kill, only the others are asked.

    Parameters
    ----------
    texts, readings
        Reports, and what the rules say of them; a report without words is not asked.
    options
        Where the model is, and what it is asked.
    lexicon, folder
        As for `read_all`; answers are kept in `records/language_model.sqlite` below the folder.
    findings
        Those that count; all of the lexicon where None.
    names
        Ids of the reports as in `labels.parquet`, so that kept answers can be forgotten with their patient; answers that
        are nobody's go whenever anybody is forgotten.

    Raises
    ------
    SettingsError
        Where the server redirects, refuses the key, does not know the model or refuses every request.
    ResourceError
        Where the server cannot be reached or does not answer in the end.
    """
    started = time.monotonic()
    work = work_of(texts, readings, options=options, lexicon=lexicon, folder=folder, findings=findings)
    if any(work.keys) and names:
        with open_cache(folder) as cache:
            cache.note((name, text_key(text)) for name, text, keys in zip(names, texts, work.keys, strict=True) if keys)
    answers = dict(work.kept)
    count = _ask_all(work, options, folder, answers) if work.calls else _Count()
    summary = ModelSummary(
        name=options.name,
        asked=sum(len(call.keys) for call in work.calls),
        kept=len(work.kept),
        calls=count.calls,
        repaired=count.repaired,
        without=dict(count.without),
        tokens_in=count.tokens_in,
        tokens_out=count.tokens_out,
        seconds=time.monotonic() - started,
    )
    rule = f"model {options.name}"
    decide = with_structures if work.questions.trauma else _decided
    decided = [
        decide(reading, {name: answers.get(key) for name, key in keys.items()}, rule=rule, language=work.questions.language)
        for reading, keys in zip(readings, work.keys, strict=True)
    ]
    return decided, summary


def _ask_all(work: Work, options: LanguageModelOptions, folder: Path, answers: dict[str, Answer]) -> _Count:
    """Ask everything that is open; put what comes into `answers` and on disk."""
    endpoint, count = Endpoint(options), _Count()
    last: NoReply | None = None
    with open_cache(folder) as cache, progress("model", total=len(work.calls)) as advance:
        for call, told in _side_by_side(work, endpoint, options.parallel):
            own = {call.keys[name]: one for name, one in told.answers.items() if isinstance(one, Answer)}
            cache.put(own)
            answers.update(own)
            count.add(told)
            last = told.no_reply or last
            if last is not None and count.silent >= GIVE_UP_AFTER:
                _check_hope(last, options, heard=count.answered + len(work.kept) > 0)
            advance(1)
    if last is not None and last.why != "refused" and not count.answered:
        raise _lost(last, options)
    return count


def _side_by_side(work: Work, endpoint: Endpoint, parallel: int) -> Iterator[tuple[Call, _Told]]:
    calls = iter(work.calls)
    waiting: dict[Future[_Told], Call] = {}
    with ThreadPoolExecutor(parallel) as pool:
        try:
            while True:
                # Few are handed over at a time, so that a run that stops has little left to wait for.
                for call in islice(calls, 2 * parallel - len(waiting)):
                    waiting[pool.submit(_ask, call, work, endpoint)] = call
                if not waiting:
                    return
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for one in done:
                    yield waiting.pop(one), one.result()
        finally:
            endpoint.stop()
            for one in waiting:
                one.cancel()


def _ask(call: Call, work: Work, endpoint: Endpoint) -> _Told:
    """Ask one report once, and once more for what cannot be used."""
    messages, states = conversation(call, work.questions)
    reply = endpoint.ask(messages, schema_of(states))
    if isinstance(reply, NoReply):
        return _Told(answers=dict.fromkeys(call.keys, reply.why), no_reply=reply)
    answers = read_answers(reply.text, states, call.report, language=work.questions.language)
    told = _Told(answers=answers, tokens_in=reply.tokens_in, tokens_out=reply.tokens_out)
    faults = {name: one for name, one in answers.items() if isinstance(one, str)}
    if not faults:
        return told
    left = {name: states[name] for name in faults}
    again = endpoint.ask(repair_of(messages, reply.text, faults), schema_of(left))
    if isinstance(again, NoReply):
        return replace(told, calls=2, repaired=True)
    mended = read_answers(again.text, left, call.report, language=work.questions.language)
    return _Told(
        answers={**answers, **mended},
        calls=2,
        repaired=True,
        tokens_in=reply.tokens_in + again.tokens_in,
        tokens_out=reply.tokens_out + again.tokens_out,
    )


def _decided(reading: Reading, answers: Mapping[str, Answer | None], *, rule: str, language: Language) -> Reading:
    """Return a reading with the model's answers in the place of what the rules said; no answer is the state `failed`."""
    if not answers:
        return reading
    states = reading.states | {name: one.state if one else "failed" for name, one in answers.items()}
    mentions = [mention for mention in reading.mentions if mention.finding not in answers]
    for name, one in answers.items():
        if one is not None and one.end:
            place = (one.start, one.end)
            mentions.append(Mention(name, one.state, section_at(reading.text, one.start, language), place, *place, rule))
    return replace(reading, states=states, mentions=tuple(sorted(mentions, key=lambda m: (m.start, m.end, m.finding))))


def _check_hope(last: NoReply, options: LanguageModelOptions, *, heard: bool) -> None:
    """Stop a run whose last requests all came to nothing; reports that are too long stop none that was answered before."""
    if last.why != "refused":
        raise _lost(last, options)
    if not heard:
        where = f"[labels.model] url = {options.url}"
        found = f"the server refused the first {GIVE_UP_AFTER} requests"
        raise SettingsError(where, found=found, do="Look at its log: the model's name, extra, max_tokens, its context length.")


def _lost(last: NoReply, options: LanguageModelOptions) -> ResourceError:
    do = "Look at the server, then run the same command again: answers so far are kept."
    return ResourceError(options.url, found=f"the model gives no answer ({_WHY[last.why]})", do=do)
