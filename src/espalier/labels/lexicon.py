"""Lexicons: per finding the words that say it, in a TOML file, compiled once.

A lexicon may build on another (`extends`): its findings come with it, and `like` gives a finding the words of others.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

from espalier.errors import InputError, SettingsError
from espalier.labels.language import ENGLISH, Language, read_language
from espalier.labels.phrases import Phrase, compiled, one_of
from espalier.outputs import hash_of
from espalier.settings import parse, read_toml

Table = TypeVar("Table")
SHIPPED: Final = ("ct-rate", "rad-chestct", "ratic", "ct-rate-de")
_DEEPEST: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class FindingRules:
    """The words of one finding: what says it, what rules it out, what it needs, what says that all is well.

    `like` names findings of the extended lexicon whose words it shares: its own are added to those of the first. `maps`
    says per finding set what the finding is there: "exact:nodule", or narrower or broader than theirs.
    """

    phrases: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    maps: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A text with the findings that it calls present or uncertain; every other finding is neither."""

    text: str
    present: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """The table [set] of a lexicon.

    Parameters
    ----------
    name
        What it is called.
    language
        A shipped language, or the path of a TOML file of your own beside the lexicon.
    extends
        A shipped lexicon, or the path of one beside this, whose findings it has too.
    own_only
        Has only the findings with a table here; those of `extends` only lend words through `like`.
    """

    name: str
    language: str = ""
    extends: str = ""
    own_only: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LexiconFile:
    """A lexicon as it stands in its TOML file, with what it extends put in; `finding` has groups of words per finding."""

    name: str
    finding: Mapping[str, tuple[FindingRules, ...]]
    language: str = ENGLISH
    folder: Path | None = None
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """Words of one finding, compiled; `none`, `unless` and `only` are searched in the clause of a match."""

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
    language: Language = field(repr=False)
    source: LexiconFile = field(repr=False)

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings it can tell, in its order."""
        return tuple(self.source.finding)


def read_lexicon(name: str, *, folder: Path | None = None) -> Lexicon:
    """Return a shipped lexicon by name, or your own by its path (relative to `folder`).

    Raises
    ------
    InputError
        Where there is no finding.
    SettingsError
        Where the file is missing, not TOML, has unknown keys, or extends what is not there.
    """
    return compile_lexicon(_read(name, folder, 0))


def shipped_path(name: str) -> Path:
    """Return where a shipped lexicon or language stands."""
    return Path(str(resources.files("espalier.labels").joinpath("lexicons", f"{name}.toml")))


def path_of(name: str, folder: Path | None = None) -> Path:
    """Return the file of a lexicon: a shipped name, or a path relative to `folder`; raise `SettingsError` for none."""
    if name in SHIPPED:
        return shipped_path(name)
    path = (folder or Path()) / name
    if not path.is_file():
        near = difflib.get_close_matches(name, SHIPPED, n=1, cutoff=0.5)
        do = f"Did you mean {near[0]}?" if near else "Name a shipped one, or the path of yours."
        expected = f"{', '.join(SHIPPED)}, or a file"
        raise SettingsError("[labels] lexicon", found=f"no lexicon {name!r}", expected=expected, do=do)
    return path


def _read(name: str, folder: Path | None, depth: int) -> LexiconFile:
    return _read_shipped(name) if name in SHIPPED else _read_file(path_of(name, folder), depth)


@cache
def _read_shipped(name: str) -> LexiconFile:
    return _read_file(shipped_path(name), 0)


def _read_file(path: Path, depth: int) -> LexiconFile:
    tables = read_toml(path)
    findings = tables.pop("finding", {})
    head = _parsed(Head, tables.pop("set", {}), path, "set")
    if not isinstance(findings, dict) or not (findings or head.extends):
        raise InputError(path, found="no table [finding.<id>]", expected="one table per finding", do="Add them.")
    if set(tables) - {"example"}:
        unknown = ", ".join(sorted(set(tables) - {"example"}))
        raise SettingsError(path, found=f"no such table: {unknown}", expected="set, finding, example", do="Correct it.")
    if head.extends and depth >= _DEEPEST:
        raise SettingsError(path, found="lexicons that extend each other without end", do="Correct `extends`.")
    below = _read(head.extends, path.parent, depth + 1) if head.extends else None
    own = {name: _parsed(FindingRules, words, path, f"finding.{name}") for name, words in findings.items()}
    return LexiconFile(
        name=head.name,
        language=head.language or (below.language if below else ENGLISH),
        folder=path.parent if head.language or below is None else below.folder,
        finding=_put_together(own, below, own_only=head.own_only, source=path),
        examples=read_examples(tables, source=path),
    )


def _parsed(kind: type[Table], words: object, path: Path, table: str) -> Table:
    """Return a table as its dataclass; what is wrong is said with its line."""
    if not isinstance(words, dict):
        raise SettingsError(path, found=f"{table} is no table", expected=f"[{table}]", do="Correct it.")
    try:
        return parse(kind, words, source=path.name)
    except SettingsError as error:
        line = line_of(path.read_text(encoding="utf-8-sig"), table, error.found.split(":")[0].split(",")[-1].strip())
        where = f"line {line}, " if line else ""
        raise SettingsError(path, found=f"{where}[{table}] {error.found}", do=error.do) from error


def line_of(text: str, table: str, key: str, words: str = "") -> int | None:
    """Return the number of the line of a TOML text where a key stands below the header of a table, or words behind it."""
    inside, below = False, False
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if re.match(r"\[+[^\[\]\"']+\]+\s*(?:#.*)?$", bare):
            inside, below = bare.split("]")[0].strip("[ ") == table, False
        elif inside:
            named = re.match(r"[\w\"'-]+(?=\s*=)", bare)
            below = named.group().strip("\"'") == key if named else below
            if below and words in line:
                return number
    return None


def line_of_table(text: str, table: str) -> int | None:
    """Return the number of the line where a table of a TOML text begins."""
    starts = (n for n, line in enumerate(text.splitlines(), start=1) if line.strip().startswith(f"[{table}]"))
    return next(starts, None)


def read_examples(tables: Mapping[str, Any], *, source: Path | str) -> tuple[Example, ...]:
    """Return the tables [[example]] of a lexicon."""
    return tuple(_example(one, n, source) for n, one in enumerate(tables.get("example", ()), start=1))


def _example(words: Mapping[str, Any], number: int, source: Path | str) -> Example:
    try:
        return parse(Example, words, source=source)
    except SettingsError as error:
        raise SettingsError(source, found=f"[[example]] {number}: {error.found}", do=error.do) from error


def _put_together(
    own: Mapping[str, FindingRules], below: LexiconFile | None, *, own_only: bool, source: Path
) -> dict[str, tuple[FindingRules, ...]]:
    """Return the groups of words of every finding: those it is `like`, with its own words added to the first."""
    known = below.finding if below else {}
    out = {} if own_only else dict(known)
    for finding, words in own.items():
        likes = words.like or ((finding,) if finding in known and not own_only else ())
        lacking = [name for name in likes if name not in known]
        if lacking:
            raise SettingsError(
                source,
                found=f"[finding.{finding}] like: {', '.join(lacking)} is no finding of the extended lexicon",
                expected=f"findings of the extended lexicon: {', '.join(known) or 'none (there is no `extends`)'}",
                do=f"Did you mean {near[0]}?" if (near := difflib.get_close_matches(lacking[0], known, n=1)) else "Correct it.",
            )
        groups = [group for name in likes for group in known[name]]
        out[finding] = (_joined(groups[0], words), *groups[1:]) if groups else (words,)
    return out


def _joined(first: FindingRules, second: FindingRules) -> FindingRules:
    lists = {f.name: getattr(first, f.name) + getattr(second, f.name) for f in fields(FindingRules) if f.name != "maps"}
    return replace(first, **lists, maps=second.maps)


def compile_lexicon(source: LexiconFile) -> Lexicon:
    """Compile a lexicon; its key changes with any of its words and with those of its language."""
    rules = tuple(_compile_rules(finding, words) for finding, groups in source.finding.items() for words in groups)
    language = read_language(source.language, folder=source.folder)
    key = hash_of("lexicon", source.name, dict(source.finding), language.key)
    return Lexicon(name=source.name, rules=rules, key=key, language=language, source=source)


def _compile_rules(finding: str, words: FindingRules) -> Rules:
    try:
        return Rules(
            finding=finding,
            phrases=tuple(compiled(p) for p in words.phrases),
            normal=tuple(compiled(p) for p in words.normal),
            none=one_of(words.none),
            unless=one_of(words.unless),
            only=one_of(words.only),
        )
    except ValueError as error:
        raise SettingsError(f"[finding.{finding}]", found=str(error), do="Correct that phrase.") from error
