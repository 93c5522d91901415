"""A language as data: the words that negate, hedge and end a scope, and the words by which a report is laid out."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Final

from espalier.errors import SettingsError
from espalier.labels.phrases import NOTHING, one_of, shipped_text
from espalier.outputs import hash_of
from espalier.settings import parse, read_toml

LANGUAGES: Final = ("english", "german")
ENGLISH: Final = "english"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Triggers:
    """The table [triggers] of a language file; what each list means stands in `english.toml`."""

    pseudo: tuple[str, ...] = ()
    negation_before: tuple[str, ...]
    negation_after: tuple[str, ...] = ()
    resolved_near: tuple[str, ...] = ()
    resolved_after: tuple[str, ...] = ()
    hedge_before: tuple[str, ...] = ()
    hedge_after: tuple[str, ...] = ()
    hedge_near: tuple[str, ...] = ()
    history_before: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    comma_stop: tuple[str, ...] = ()
    forward_only: tuple[str, ...] = ()
    relative: tuple[str, ...] = ()
    affirmed: tuple[str, ...] = ()
    topic: tuple[str, ...] = ()
    finite: tuple[str, ...] = ()
    verb: tuple[str, ...] = ()
    existential: tuple[str, ...] = ()
    but_for: tuple[str, ...] = ()
    excepted: tuple[str, ...] = ()
    joint: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    goes_on: tuple[str, ...] = ()
    denial: tuple[str, ...] = ()
    answer: tuple[str, ...] = ()
    appended: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sections:
    """The table [layout.sections]: what each section may be called; only findings and impression yield labels."""

    findings: tuple[str, ...] = ()
    impression: tuple[str, ...] = ()
    indication: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    technique: tuple[str, ...] = ()
    comparison: tuple[str, ...] = ()
    recommendation: tuple[str, ...] = ()
    signature: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """The table [layout] of a language file."""

    sections: _Sections = field(default_factory=_Sections)
    headings: tuple[str, ...] = ()
    not_in_headings: tuple[str, ...] = ()
    abbreviations: tuple[str, ...] = ()
    short_words: tuple[str, ...] = ()
    ordinals: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _LanguageFile:
    """A language file."""

    triggers: _Triggers
    layout: _Layout = field(default_factory=_Layout)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Language:
    """A compiled language; `key` is the hash of all it was made from.

    `section` has one named group per section; `denial` is what behind "Effusion:" denies it, `answer` what behind "Effusion?"
    or at the end of "effusion none" does, `answered` such an answer behind the colon of a list.
    """

    name: str
    key: str
    pseudo: re.Pattern[str]
    negation_before: re.Pattern[str]
    negation_after: re.Pattern[str]
    resolved_near: re.Pattern[str]
    resolved_after: re.Pattern[str]
    hedge_before: re.Pattern[str]
    hedge_after: re.Pattern[str]
    hedge_near: re.Pattern[str]
    history_before: re.Pattern[str]
    stop: re.Pattern[str]
    comma_stop: re.Pattern[str]
    forward_only: re.Pattern[str]
    relative: re.Pattern[str]
    affirmed: re.Pattern[str]
    topic: re.Pattern[str]
    finite: re.Pattern[str]
    verb: re.Pattern[str]
    existential: re.Pattern[str]
    but_for: re.Pattern[str]
    excepted: re.Pattern[str]
    joint: re.Pattern[str]
    parts: re.Pattern[str]
    goes_on: re.Pattern[str]
    denial: re.Pattern[str]
    answer: re.Pattern[str]
    answered: re.Pattern[str]
    appended: re.Pattern[str]
    section: re.Pattern[str]
    heading: re.Pattern[str]
    not_in_heading: re.Pattern[str]
    abbreviation: re.Pattern[str]
    sentence_end: re.Pattern[str]


# The lookahead in front is for speed: no sentence ends at a letter.
_END: Final = (
    r"""(?=[.!?;"“”•●▪◦\s])(?:"""
    r"""(?<=[\w)\]%%"'>])[.!?](?:["')\]”]|</?\w{1,8}>)*"""
    r"""(?:\s+(?=["'(\[•*\-–“]*\s*[A-ZÀ-Þ0-9•]|& |<\w{1,8}>)|(?=[A-ZÀ-Þ][a-zà-ÿ])|\s*$)"""
    r"""|(?=\.)(?:(?<=[a-zà-ÿ]{4})|(?<=[ -][ivxIVX0-9])|(?<=[ivxIVX]{2})|(?<=\))%s)\.\s+(?=[a-zà-ÿ]{2}|a )"""
    r"""|;\s+(?=[A-ZÀ-Þ][a-zà-ÿ]+[ ,])"""
    r"""|\s*[•●▪◦]\s*"""
    r"""|(?:(?<=[\s.;:,)])|^)["“”]+\s*(?=[A-ZÀ-Þ0-9])|["“”]\s*$|["“”]\s*["“”]\s*)"""
)


# What may stand behind an answer such as the "none" of "effusion none".
_ANSWER_END: Final = r"\s*(?=[.,;)!]|$)"


@cache
def read_language(name: str = ENGLISH, *, folder: Path | None = None) -> Language:
    """Return a shipped language by name, or your own by the path of its TOML file (relative to `folder`).

    Raises
    ------
    SettingsError
        Where there is no such language, or its file has unknown keys.
    """
    if name in LANGUAGES:
        return _compiled(name, tomllib.loads(shipped_text(f"{name}.toml")), source=f"language {name}")
    if not name.endswith(".toml"):
        raise SettingsError(
            "[set] language",
            found=repr(name),
            expected=f"one of {', '.join(LANGUAGES)}, or the path of a TOML file",
            do="Correct the language.",
        )
    path = (folder or Path()) / name
    return _compiled(path.stem, read_toml(path), source=path)


def _compiled(name: str, tables: Mapping[str, Any], *, source: Path | str) -> Language:
    words = parse(_LanguageFile, tables, source=source)
    triggers = {f.name: one_of(getattr(words.triggers, f.name)) or NOTHING for f in fields(_Triggers)}
    for kind in ("goes_on", "excepted", "affirmed"):
        triggers[kind] = re.compile(r"\s*" + triggers[kind].pattern)
    triggers["joint"] = re.compile(",|" + triggers["joint"].pattern)
    triggers["comma_stop"] = re.compile(r",\s*" + triggers["comma_stop"].pattern)
    if not words.triggers.appended:
        triggers["appended"] = re.compile("")  # in a language that does not say so, what follows a comma always belongs
    answer = triggers["answer"].pattern + _ANSWER_END
    triggers["answer"] = re.compile(r"\s*\?\s*" + answer)
    triggers["answered"] = re.compile(r"\s*[:=]\s*" + answer)
    triggers["denial"] = re.compile(rf"\s*[:=-]\s*(?:{triggers['denial'].pattern})|\s*\?\s*{answer}|\s+{answer}")
    layout = words.layout
    return Language(
        name=name,
        key=hash_of("language", tables),
        **triggers,
        section=_section(layout.sections),
        heading=one_of(layout.headings) or NOTHING,
        not_in_heading=one_of(layout.not_in_headings) or NOTHING,
        abbreviation=_abbreviation(layout),
        sentence_end=re.compile(_END % "".join(rf"|(?<=\b{re.escape(word)})" for word in layout.short_words)),
    )


def _section(words: _Sections) -> re.Pattern[str]:
    named = ((f.name, one_of(getattr(words, f.name)) or NOTHING) for f in fields(_Sections))
    return re.compile("|".join(f"(?P<{name}>{pattern.pattern})" for name, pattern in named))


def _abbreviation(layout: _Layout) -> re.Pattern[str]:
    """Return what before a full stop says that no sentence ends there: "approx.", an enumerator, "am 12." in German."""
    short = "|".join(re.escape(word).replace(r"\ ", r"\s*") for word in layout.abbreviations)
    number = r"\b\d{1,2}" if layout.ordinals else r"^\s*\(?\d{1,2}"
    return re.compile(rf"(?:\b(?:{short or '(?!)'})|{number})$", re.IGNORECASE)
