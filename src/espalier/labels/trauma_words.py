"""Trauma lexicons: the shipped one and the user's own, compiled once.

A lexicon with the tables [structure] or [words], or that extends one with them, is a trauma lexicon: its findings are the
columns of RATIC, whatever words it has.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from espalier.errors import SettingsError
from espalier.labels.language import ENGLISH, Language, read_language
from espalier.labels.lexicon import SHIPPED, Example, Head, path_of, read_examples
from espalier.labels.phrases import NOTHING, one_of
from espalier.labels.places import Anatomy
from espalier.outputs import hash_of
from espalier.settings import parse, read_toml

Special = tuple[re.Pattern[str], str, bool, bool]
Table = TypeVar("Table")
TRAUMA: Final = "ratic"
_DEEPEST: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class StructureWords:
    """The table [structure]: the words of each structure; `solid` and `all` are groups of them."""

    liver: tuple[str, ...] = ()
    spleen: tuple[str, ...] = ()
    kidney: tuple[str, ...] = ()
    bowel: tuple[str, ...] = ()
    solid: tuple[str, ...] = ()
    all: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class InjuryWords:
    """The table [words]; what each list means stands in `ratic.toml`."""

    other: tuple[str, ...] = ()
    injury: tuple[str, ...] = ()
    grave: tuple[str, ...] = ()
    bowel: tuple[str, ...] = ()
    bowel_doubtful: tuple[str, ...] = ()
    bowel_whole: tuple[str, ...] = ()
    bowel_likely: tuple[str, ...] = ()
    bowel_none: tuple[str, ...] = ()
    kidney_whole: tuple[str, ...] = ()
    around: tuple[str, ...] = ()
    extravasation: tuple[str, ...] = ()
    extravasation_none: tuple[str, ...] = ()
    extravasation_unless: tuple[str, ...] = ()
    sound: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    away: tuple[str, ...] = ()
    not_grade: tuple[str, ...] = ()
    alternative: tuple[str, ...] = ()
    no_negation: tuple[str, ...] = ()
    hedge: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TraumaFile:
    """A trauma lexicon as it stands in its TOML file, with what it extends put in."""

    name: str
    language: str
    folder: Path
    structure: StructureWords
    words: InjuryWords
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class TraumaWords:
    """A compiled trauma lexicon; `special` holds (pattern, structure, doubtful, needs its anatomy)."""

    language: Language
    key: str
    anatomy: Anatomy
    injury: re.Pattern[str]
    grave: re.Pattern[str]
    around: re.Pattern[str]
    special: tuple[Special, ...]
    bowel_none: re.Pattern[str]
    extravasation: re.Pattern[str]
    extravasation_none: re.Pattern[str]
    extravasation_unless: re.Pattern[str]
    sound: re.Pattern[str]
    normal: re.Pattern[str]
    old: re.Pattern[str]
    not_grade: re.Pattern[str]
    alternative: re.Pattern[str]


def is_trauma(name: str, *, folder: Path | None = None) -> bool:
    """Say whether a lexicon (a shipped name, or a path relative to `folder`) is one of trauma."""
    for _ in range(_DEEPEST):
        if name in SHIPPED:
            return name == TRAUMA
        path = path_of(name, folder)
        tables = read_toml(path)
        if "structure" in tables or "words" in tables:
            return True
        head = tables.get("set")
        name, folder = str(head.get("extends", "")) if isinstance(head, dict) else "", path.parent
        if not name:
            return False
    return False


@cache
def trauma_words() -> TraumaWords:
    """Return the shipped trauma lexicon, compiled once."""
    return read_trauma(TRAUMA)


def read_trauma(name: str, *, folder: Path | None = None) -> TraumaWords:
    """Return a trauma lexicon: the shipped one, or your own by its path (relative to `folder`).

    Raises
    ------
    SettingsError
        Where the file is missing, not TOML, has unknown keys, or lacks words that no lexicon it extends lends it.
    """
    return compile_words(read_trauma_file(path_of(name, folder)))


def read_trauma_file(path: Path, *, depth: int = 0) -> TraumaFile:
    """Return the trauma lexicon that stands in a TOML file; words of the lexicon it extends come first."""
    tables = read_toml(path)
    head = parse(Head, tables.get("set", {}), source=path)
    unknown = ", ".join(sorted(set(tables) - {"set", "structure", "words", "example"}))
    if unknown or depth > _DEEPEST:
        raise SettingsError(
            path,
            found=f"no such table: {unknown}" if unknown else "lexicons that extend each other without end",
            expected="set, structure, words, example",
            do="Correct it.",
        )
    below = read_trauma_file(path_of(head.extends, path.parent), depth=depth + 1) if head.extends else None
    structure = parse(StructureWords, tables.get("structure", {}), source=path)
    words = parse(InjuryWords, tables.get("words", {}), source=path)
    return TraumaFile(
        name=head.name,
        language=head.language or (below.language if below else ENGLISH),
        folder=path.parent if head.language or below is None else below.folder,
        structure=_added(below.structure, structure) if below else structure,
        words=_added(below.words, words) if below else words,
        examples=read_examples(tables, source=path),
    )


def _added(first: Table, second: Table) -> Table:
    names = [f.name for f in fields(first)]  # type: ignore[arg-type]
    return type(first)(**{name: getattr(first, name) + getattr(second, name) for name in names})


def _lists(table: object) -> dict[str, tuple[str, ...]]:
    return {f.name: getattr(table, f.name) for f in fields(table)}  # type: ignore[arg-type]


def compile_words(source: TraumaFile) -> TraumaWords:
    """Compile a trauma lexicon; its key changes with any of its words and with those of its language."""
    lists, structure = _lists(source.words), _lists(source.structure)
    lacking = [name for name in ("liver", "spleen", "kidney", "bowel") if not structure[name]]
    lacking += [name for name in ("injury", "extravasation") if not lists[name]]
    if lacking:
        raise SettingsError(
            source.folder / source.name,
            found=f"no words for {', '.join(lacking)}",
            expected="words of every structure, of injury and of extravasation",
            do=f'Add them, or extends = "{TRAUMA}" under [set].',
        )
    words: dict[str, Any] = {name: one_of(phrases) or NOTHING for name, phrases in lists.items()}
    language = read_language(source.language, folder=source.folder)
    places: Mapping[str, tuple[str, ...]] = {"other": source.words.other} | structure
    special = (
        (words.pop("bowel"), "bowel", False, True),
        (words.pop("bowel_doubtful"), "bowel", True, True),
        (words.pop("bowel_whole"), "bowel", False, False),
        (words.pop("bowel_likely"), "bowel", True, False),
        (words.pop("kidney_whole"), "kidney", False, False),
    )
    words["not_grade"] = re.compile(r"[\s-]*(?:\w+[\s-]+)?" + words["not_grade"].pattern)
    spoken = replace(
        language,
        pseudo=_either(language.pseudo, words.pop("no_negation")),
        hedge_before=_either(language.hedge_before, words.pop("hedge")),
    )
    return TraumaWords(
        language=spoken,
        key=hash_of("lexicon", source.name, lists, structure, language.key),
        anatomy=Anatomy(words=places, away=source.words.away),
        special=special,
        **{name: pattern for name, pattern in words.items() if name not in {"other", "away"}},
    )


def _either(first: re.Pattern[str], second: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(f"(?:{second.pattern})|(?:{first.pattern})")
