"""A lexicon held against itself: its examples, and words in it that can do nothing."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from espalier.errors import EspalierError, SettingsError
from espalier.labels.examples import examples_of, misread, wanted_by
from espalier.labels.findings import FINDINGS
from espalier.labels.lexicon import Example, Lexicon, Rules, line_of, line_of_table, path_of, read_lexicon
from espalier.labels.maps import links_of
from espalier.labels.phrases import Phrase, written_out
from espalier.labels.reading import make_reader
from espalier.labels.rules import RuleReader
from espalier.labels.trauma_words import is_trauma
from espalier.settings import read_toml

_SIGNS: Final = re.compile(r"[\[\]\\^$]|\w\?|\(\w[^)]*\)|[)\w]\+$")


@dataclass(frozen=True, slots=True)
class Misread:
    """An example that the lexicon's own words read otherwise: the finding, the state it should have and the one read."""

    text: str
    finding: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file to mend; `line` is its number where it is known."""

    line: int | None
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LexiconReport:
    """What a check found; notes are worth a look and no faults."""

    lexicon: str
    examples: int = 0
    misread: tuple[Misread, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether every example is read rightly and nothing is to mend."""
        return not self.misread and not self.problems

    @property
    def lines(self) -> tuple[str, ...]:
        """The report in words, a line for each thing."""
        wrong = len({one.text for one in self.misread})
        told = f"{self.examples - wrong} of {self.examples} examples are read as they say."
        out = [f"{self.lexicon}: {told if self.examples or not self.problems else 'to be mended.'}"]
        out += [f"  {one.text!r}: {one.finding} is {one.found}, not {one.expected}" for one in self.misread]
        out += [f"  line {one.line}: {one.words}" if one.line else f"  {one.words}" for one in self.problems]
        return (*out, *(f"  note: {note}" for note in self.notes))


def check_lexicon(path_or_name: str | Path, *, folder: Path | None = None) -> LexiconReport:
    """Run a lexicon's own examples and look for words in it that can do nothing.

    Parameters
    ----------
    path_or_name
        A shipped lexicon, or the path of a TOML file (relative to `folder`); rule and trauma lexicons alike.

    Raises
    ------
    SettingsError
        Where there is no such file. Any other fault of it stands in the report.
    """
    name = str(path_or_name)
    path = path_of(name, folder)
    tables = read_toml(path)
    text = path.read_text(encoding="utf-8-sig")
    try:
        reader = make_reader(name, folder=folder)
        examples = examples_of(name, folder=folder)
    except EspalierError as error:
        stop = "" if error.found.endswith((".", "?")) else "."
        return LexiconReport(lexicon=name, problems=(Problem(None, f"{error.found}{stop} {error.do}".strip()),))
    problems = list(_repeated(tables, text))
    notes: tuple[str, ...] = ()
    if not is_trauma(name, folder=folder):
        lexicon = read_lexicon(name, folder=folder)
        problems += [*_idle(lexicon, tables.get("finding", {}), text), *_wordless(lexicon, text), *_mapped(name, folder, text)]
        notes = (*_without_example(lexicon, examples), *_signs(tables), *_new_findings(tables, lexicon))
    elif not examples:
        notes = ("there are no examples",)
    problems += _unknown_findings(examples, reader.findings)
    return LexiconReport(
        lexicon=name,
        examples=len(examples),
        misread=tuple(
            Misread(one.text, finding, wanted_by(one).get(finding, "absent or not mentioned"), state)
            for one in examples
            for finding, state in misread(reader, one).items()
        ),
        problems=tuple(sorted(problems, key=lambda p: (p.line or 0, p.words))),
        notes=notes,
    )


def _lists(tables: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield table, key and words of every list of phrases in a lexicon's file."""
    named = {f"finding.{finding}": words for finding, words in tables.get("finding", {}).items()}
    for table, words in (named | {name: tables.get(name, {}) for name in ("structure", "words")}).items():
        yield from ((table, key, value) for key, value in words.items() if isinstance(value, list))


def _repeated(tables: Mapping[str, Any], text: str) -> Iterator[Problem]:
    for table, key, phrases in _lists(tables):
        for phrase, times in Counter(" ".join(p.lower().split()) for p in phrases).items():
            if times > 1:
                yield Problem(line_of(text, table, key, f'"{phrase}"'), f"[{table}] {key} has {phrase!r} {times} times")


def _idle(lexicon: Lexicon, tables: Mapping[str, Any], text: str) -> Iterator[Problem]:
    """Yield phrases of the file itself that can never match, or that the finding's own `none` always rules out."""
    reader = RuleReader(lexicon)
    for rules in lexicon.rules:
        own = set(tables.get(rules.finding, {}).get("phrases", ()))
        for phrase in rules.phrases:
            if phrase.words in own and (why := _why_idle(reader, rules, phrase)):
                line = line_of(text, f"finding.{rules.finding}", "phrases", f'"{phrase.words}"')
                yield Problem(line, f"[finding.{rules.finding}] phrases: {phrase.words!r} {why}")


def _why_idle(reader: RuleReader, rules: Rules, phrase: Phrase) -> str:
    words = written_out(phrase.words)
    if not phrase.spans(words) or not any(root == "" or root in words for root in phrase.roots):
        return "can never match"
    if rules.none and rules.none.search(words) and not (rules.unless and rules.unless.search(words)):
        return "is always ruled out by `none`"
    # A heading would take its words away ("pleura: …"); the phrase alone is what is asked about.
    if not rules.only and not any(m.finding == rules.finding for m in reader.mentions(words)):
        return "is read as nothing: it is a section's name"
    return ""


def _wordless(lexicon: Lexicon, text: str) -> Iterator[Problem]:
    """Yield findings that nothing can make present."""
    spoken = {rules.finding for rules in lexicon.rules if rules.phrases}
    for finding in lexicon.findings:
        if finding not in spoken:
            yield Problem(line_of_table(text, f"finding.{finding}"), f"[finding.{finding}] has no phrases: it is never present")


def _mapped(name: str, folder: Path | None, text: str) -> Iterator[Problem]:
    """Yield maps to no shipped set, of no relation, or to no finding of their set."""
    for finding, groups in read_lexicon(name, folder=folder).source.finding.items():
        for to in groups[0].maps:
            line = line_of(text, f"finding.{finding}", "maps") or line_of_table(text, f"finding.{finding}")
            if to not in FINDINGS:
                near = get_close_matches(to, FINDINGS, n=1)
                hint = f" Did you mean {near[0]}?" if near else f" Known sets: {', '.join(FINDINGS)}."
                yield Problem(line, f"[finding.{finding}] maps: {to!r} is no shipped set.{hint}")
                continue
            try:
                links_of(finding, groups[0].maps[to], to)
            except SettingsError as error:
                yield Problem(line, f"[finding.{finding}] maps to {to}: {error.found}, not {error.expected}. {error.do}")


def _signs(tables: Mapping[str, Any]) -> Iterator[str]:
    """Yield a note on signs that mean something in regular expressions, and nothing in phrases."""
    for table, key, phrases in _lists(tables):
        if odd := [phrase for phrase in phrases if _SIGNS.search(phrase)]:
            told = f"[{table}] {key}: {odd[0]!r}" + (f" and {len(odd) - 1} more" if len(odd) > 1 else "")
            yield f"{told} are read letter by letter; a phrase knows * at a word's end, a|b and .. between words"


def _new_findings(tables: Mapping[str, Any], lexicon: Lexicon) -> Iterator[str]:
    """Yield a note on findings that are new beside those of the extended lexicon and nearly named like one of them."""
    own = set(tables.get("finding", {}))
    known = [finding for finding in lexicon.findings if finding not in own]
    for finding in own if known else ():
        if near := get_close_matches(finding, known, n=1, cutoff=0.85):
            yield f"[finding.{finding}] is a new finding; did you mean {near[0]}, which the extended lexicon has?"


def _without_example(lexicon: Lexicon, examples: tuple[Example, ...]) -> tuple[str, ...]:
    shown = {finding for one in examples for finding in wanted_by(one)}
    lacking = [finding for finding in lexicon.findings if finding not in shown]
    if not examples:
        return ("there are no examples",)
    return (f"no example shows {', '.join(lacking)}",) if lacking else ()


def _unknown_findings(examples: tuple[Example, ...], findings: tuple[str, ...]) -> Iterator[Problem]:
    named = {finding for one in examples for f in fields(Example) if f.name != "text" for finding in getattr(one, f.name)}
    for finding in sorted(named - set(findings)):
        near = get_close_matches(finding, findings, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        yield Problem(None, f"an example names {finding!r}, which is no finding of the lexicon.{hint}")
