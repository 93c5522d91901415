"""Phrases as people write them in a lexicon, compiled once.

`*` at a word's end stands for any ending, `a|b` for either word, `..` for at most four words between, `..2` for two.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

NOTHING: Final = re.compile(r"(?!)")
_JOINT: Final = r"[\s\-/,]+"
_USUAL: Final = 4
_WIDEST: Final = 30
_GAP: Final = r"(?:[^\w.;]+[\w.%%]+){0,%d}?[^\w.;]+"


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrase:
    """One phrase: its words as written, beginnings of words of which a match has at least one, and the pattern.

    `also` has the same of a second word; of a phrase of one word they are those of the first.
    """

    words: str
    roots: tuple[str, ...]
    also: tuple[str, ...]
    pattern: re.Pattern[str]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the phrase stands in plain text."""
        return [m.span() for m in self.pattern.finditer(text) if m.start() == 0 or not text[m.start() - 1].isalnum()]


def compiled(phrase: str) -> Phrase:
    """Compile one phrase of a lexicon; raise `ValueError` where it is none."""
    tokens = phrase.lower().split()
    ranked = sorted((t for t in tokens if not t.startswith("..")), key=lambda t: -min(map(len, _roots(t))))
    if not ranked or tokens[0].startswith("..") or tokens[-1].startswith("..") or max(_gaps(tokens), default=0) > _WIDEST:
        raise ValueError(f"{phrase!r} is no phrase: words, and between them at most .. or ..{_WIDEST}")
    if any(not all(words.split("|")) for words in tokens if words.strip("|")):
        raise ValueError(f"{phrase!r} is no phrase: nothing stands beside a |, which would fit any word")
    roots, also = (tuple(dict.fromkeys(_roots(token))) for token in (ranked * 2)[:2])
    return Phrase(words=phrase, roots=roots, also=also, pattern=re.compile(_pattern(tokens)))


def _roots(token: str) -> list[str]:
    """Return what words of a text begin with where the token stands; "" where that cannot be said ("*itis", "(-)")."""
    return [match.group() if (match := re.match(r"\w+", part)) else "" for part in token.split("|")]


def _gaps(tokens: Sequence[str]) -> list[int]:
    """Return how many words each ".." of a phrase allows; more than any may where it is no number."""
    numbers = [words[2:] or str(_USUAL) for words in tokens if words.startswith("..")]
    return [int(number) if number.isdigit() else _WIDEST + 1 for number in numbers]


def _pattern(tokens: Sequence[str]) -> str:
    return _word(tokens[0]) + _rest(tokens[1:])


def _rest(tokens: Sequence[str]) -> str:
    pattern, joint = "", _JOINT
    for token in tokens:
        if token.startswith(".."):
            joint = _GAP % int(token[2:] or _USUAL)
            continue
        pattern += joint + _word(token)
        joint = _JOINT
    return pattern + r"(?!\w)"


def _word(token: str) -> str:
    parts = [_literal(part) for part in token.split("|")]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def _literal(word: str) -> str:
    return re.escape(word).replace(r"\*", r"\w*").replace("'", "'?")


def one_of(phrases: Sequence[str]) -> re.Pattern[str] | None:
    """Compile phrases into one pattern that finds any of them, of those that begin alike the longest; None for none.

    They are ordered by their first letter and first word: the pattern turns away most words of a text at a glance.
    """
    if not phrases:
        return None
    rests: dict[str, dict[str, list[str]]] = {}
    for phrase in sorted(phrases, key=lambda p: (-len(p.split()), -len(p), p)):
        first, *more = phrase.lower().split()
        for word in first.split("|"):
            rests.setdefault(word[0], {}).setdefault(word, []).append(_rest(more))
    letters = []
    for letter, words in rests.items():
        own = [_literal(word)[len(re.escape(letter)) :] + _any(ends) for word, ends in words.items()]
        letters.append(re.escape(letter) + _any(own))
    return re.compile(r"(?<!\w)" + _any(letters))


def _any(patterns: Sequence[str]) -> str:
    return patterns[0] if len(patterns) == 1 else f"(?:{'|'.join(patterns)})"


def written_out(phrase: str) -> str:
    """Return a text that a phrase should match: the first of every `a|b`, no ending for `*`, nothing for `..`."""
    tokens = [token for token in phrase.lower().split() if not token.startswith("..")]
    return " ".join(token.split("|")[0].rstrip("*") for token in tokens)


@cache
def shipped_text(name: str) -> str:
    """Return the text of a file in the shipped `lexicons` folder."""
    return resources.files("espalier.labels").joinpath("lexicons", name).read_text(encoding="utf-8")
