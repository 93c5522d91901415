"""Phrases as people write them in a lexicon, compiled once.

`*` at a word's end stands for any ending, `a|b` for either word, `..` for at most four words between, `..2` for two.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

from espalier.errors import InputError
from espalier.outputs import hash_of
from espalier.settings import parse, read_toml

SHIPPED: Final = ("ct-rate", "ratic")
_GAP: Final = r"(?:[^\w.;]+[\w.%%]+){0,%d}?[^\w.;]+"


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingRules:
    """The words of one finding: what says it, what rules it out, what it needs, what says that all is well."""

    phrases: tuple[str, ...]
    none: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A text with the findings that it calls present or uncertain; every other finding is neither."""

    text: str
    present: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Head:
    """The table [set] of a lexicon."""

    name: str
    language: Literal["english"] = "english"


@dataclass(frozen=True, kw_only=True, slots=True)
class LexiconFile:
    """A lexicon as it stands in its TOML file."""

    name: str
    language: str
    finding: Mapping[str, FindingRules]
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """One phrase: its words as written, beginnings of which a match has at least one, and the pattern."""

    words: str
    roots: tuple[str, ...]
    pattern: re.Pattern[str]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the phrase stands in plain text."""
        return [m.span() for m in self.pattern.finditer(text) if m.start() == 0 or not text[m.start() - 1].isalnum()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """One finding of a compiled lexicon; `none`, `unless` and `only` are searched in the clause of a match."""

    finding: str
    phrases: tuple[Phrase, ...]
    normal: tuple[Phrase, ...]
    none: re.Pattern[str] | None
    unless: re.Pattern[str] | None
    only: re.Pattern[str] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lexicon:
    """A compiled lexicon; `key` is the hash of all it was made from."""

    name: str
    rules: tuple[Rules, ...]
    key: str
    source: LexiconFile = field(repr=False)

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings it can tell, in its order."""
        return tuple(rules.finding for rules in self.rules)


def compiled(phrase: str) -> Phrase:
    """Compile one phrase of a lexicon."""
    tokens = phrase.lower().split()
    pattern, joint = "", ""
    for token in tokens:
        if token.startswith(".."):
            joint = _GAP % int(token[2:] or 4)
            continue
        pattern += joint + _word(token)
        joint = r"[\s\-/,]+"
    longest = max(
        (t for t in tokens if not t.startswith("..")), key=lambda t: min(len(part.rstrip("*")) for part in t.split("|"))
    )
    roots = tuple(dict.fromkeys(re.split(r"\W", part)[0] for part in longest.split("|")))
    return Phrase(words=phrase, roots=roots, pattern=re.compile(pattern + r"(?!\w)"))


def _word(token: str) -> str:
    parts = [re.escape(part).replace(r"\*", r"\w*").replace("'", "'?") for part in token.split("|")]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def one_of(phrases: Sequence[str]) -> re.Pattern[str] | None:
    """Compile phrases into one pattern that finds any of them, or None where there are none."""
    if not phrases:
        return None
    ordered = sorted(phrases, key=lambda p: (-len(p), p))
    return re.compile(r"(?<!\w)(?:" + "|".join(compiled(p).pattern.pattern for p in ordered) + ")")


@cache
def shipped_text(name: str) -> str:
    """Return the text of a file in the shipped `lexicons` folder."""
    return resources.files("espalier.labels").joinpath("lexicons", name).read_text(encoding="utf-8")


def read_lexicon(name: str, *, folder: Path | None = None) -> Lexicon:
    """Return a shipped lexicon by name, or your own by its path (relative to `folder`).

    Raises
    ------
    InputError
        Where there is no finding.
    SettingsError
        Where the file is missing, not TOML or has unknown keys.
    """
    if name in SHIPPED:
        return compile_lexicon(_read_shipped(name))
    return compile_lexicon(read_lexicon_file((folder or Path()) / name))


@cache
def _read_shipped(name: str) -> LexiconFile:
    with resources.as_file(resources.files("espalier.labels").joinpath("lexicons", f"{name}.toml")) as file:
        return read_lexicon_file(file)


def read_lexicon_file(path: Path) -> LexiconFile:
    """Return the lexicon that stands in a TOML file."""
    tables = read_toml(path)
    findings = tables.pop("finding", {})
    if not isinstance(findings, dict) or not findings:
        raise InputError(path, found="no table [finding.<id>]", expected="one table per finding", do="Add them.")
    head = parse(_Head, tables.get("set", {}), source=path)
    rules = {name: parse(FindingRules, words, source=path) for name, words in findings.items()}
    return LexiconFile(name=head.name, language=head.language, finding=rules, examples=read_examples(tables, source=path))


def read_examples(tables: Mapping[str, Any], *, source: Path | str) -> tuple[Example, ...]:
    """Return the tables [[example]] of a lexicon."""
    return tuple(parse(Example, one, source=source) for one in tables.get("example", ()))


def compile_lexicon(source: LexiconFile) -> Lexicon:
    """Compile a lexicon; its key changes with any of its words and with the triggers of its language."""
    rules = tuple(_compile_rules(finding, words) for finding, words in source.finding.items())
    key = hash_of("lexicon", source.name, dict(source.finding), shipped_text(f"{source.language}.toml"))
    return Lexicon(name=source.name, rules=rules, key=key, source=source)


def _compile_rules(finding: str, words: FindingRules) -> Rules:
    return Rules(
        finding=finding,
        phrases=tuple(compiled(p) for p in words.phrases),
        normal=tuple(compiled(p) for p in words.normal),
        none=one_of(words.none),
        unless=one_of(words.unless),
        only=one_of(words.only),
    )
