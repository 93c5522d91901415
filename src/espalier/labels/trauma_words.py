"""The trauma lexicon, compiled once."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from espalier.labels.lexicon import one_of, shipped_text
from espalier.labels.places import Anatomy
from espalier.outputs import hash_of

Special = tuple[re.Pattern[str], str, bool, bool]


@dataclass(frozen=True, slots=True)
class TraumaWords:
    """Compiled words of `ratic.toml`; `special` holds (pattern, structure, doubtful, needs its anatomy)."""

    language: str
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


@cache
def trauma_words() -> TraumaWords:
    """Return the shipped trauma lexicon."""
    tables = tomllib.loads(shipped_text("ratic.toml"))
    language = str(tables["set"]["language"])
    key = hash_of("lexicon", {k: v for k, v in tables.items() if k != "example"}, shipped_text(f"{language}.toml"))
    return compile_words(tables, language=language, key=key)


def compile_words(tables: Mapping[str, Any], *, language: str, key: str) -> TraumaWords:
    """Compile the tables of a trauma lexicon."""
    words: dict[str, re.Pattern[str]] = {}
    for name, phrases in tables["words"].items():
        words[name] = one_of(phrases) or re.compile(r"(?!)")
    anatomy = Anatomy(
        words={"other": tuple(tables["words"]["other"])} | {k: tuple(v) for k, v in tables["structure"].items()},
        away=tuple(tables["words"]["away"]),
    )
    return TraumaWords(
        language=language,
        key=key,
        anatomy=anatomy,
        special=(
            (words["bowel"], "bowel", False, True),
            (words["bowel_doubtful"], "bowel", True, True),
            (words["bowel_whole"], "bowel", False, False),
            (words["kidney_whole"], "kidney", False, False),
        ),
        not_grade=re.compile(r"[\s-]*(?:\w+[\s-]+)?" + words["not_grade"].pattern),
        **{
            name: words[name]
            for name in (
                "injury",
                "grave",
                "around",
                "bowel_none",
                "extravasation",
                "extravasation_none",
                "extravasation_unless",
                "sound",
                "normal",
                "old",
            )
        },
    )
