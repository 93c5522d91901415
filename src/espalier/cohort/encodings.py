"""Bytes of a table to text: the encoding is found, and said; where two fit and differ, the user is asked."""

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

from espalier.cohort.languages import ENCODINGS, ENGLISH, IN_WORDS, LANGUAGES, LONE, NON_LATIN, SYMBOLS, Language
from espalier.errors import InputError

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_NO_FILES: Final = {"unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined"}
_WIDE: Final = {"utf-16-le": "UTF-16, little endian", "utf-16-be": "UTF-16, big endian"}
_ASCII: Final = bytes(range(128))
_LOOK_AT: Final = 200_000  # letters: enough for any evidence, and a second of work
_LOOK_AT_BYTES: Final = 2_000_000
_ODD: Final = 0.02
_OF_ITS_LANGUAGE: Final = 0.9
_WORDS: Final = 3
Contexts = Counter[tuple[int, int, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Evidence:
    """Which bytes above 127 are there, with how often beside which, and how each likely encoding reads them."""

    present: list[int]
    contexts: Contexts
    readings: dict[str, str]


def check_encoding(name: str) -> None:
    """Raise `ValueError` where Python knows no encoding of texts by this name."""
    try:
        b"a".decode(name)
        known = codecs.lookup(name).name not in _NO_FILES
    except (LookupError, ValueError):
        known = False
    if not known:
        raise ValueError(f'encoding is {name!r}: name one that Python knows, as "utf-8", "cp1254" or "cp1252"')


def decode_table(raw: bytes, *, source: Path, encoding: str | None = None) -> tuple[str, str]:
    """Return the text of a table's bytes, and the name of the encoding for people.

    Parameters
    ----------
    raw
        The bytes of the file.
    source
        The file, for messages.
    encoding
        The encoding, where the user says it; else it is found.

    Raises
    ------
    InputError
        Where the bytes are not in that encoding, or none is found, or two are and give different letters.
    """
    bom = next((own for own in _BOMS if raw.startswith(own[0])), None)
    if encoding is not None:
        name, words = encoding, encoding
    elif bom is not None:
        _, name, words = bom
    else:
        name, words = _found(raw, source)
    text = _strictly(raw, name, words, source).removeprefix("\ufeff")
    if "\0" in text:
        words += f", {text.count(chr(0))} NUL bytes left out"
        text = text.replace("\0", "")
    if "\ufffd" in text:
        words += f", {text.count(chr(0xFFFD))} letters were lost before it was written"
    return text, words


def _found(raw: bytes, source: Path) -> tuple[str, str]:
    wide = _wide(raw)
    if wide:
        return wide, _WIDE[wide]
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        read = raw.decode("utf-8", errors="replace")
        lost = read.count("\ufffd")
        if sum(not c.isascii() for c in read) > 2 * lost:
            raise _not_in(raw, error.start, "UTF-8, though most of the file is", source) from error
        name = _narrow(raw, source)
        return name, ENCODINGS[name]
    return "utf-8", "UTF-8"


def _wide(raw: bytes) -> str:
    """Return UTF-16 where every other byte is mostly 0, as it is for separators, digits and a-z."""
    pairs = min(len(raw), 4000) // 2
    even, odd = raw[: 2 * pairs : 2].count(0), raw[1 : 2 * pairs : 2].count(0)
    if max(even, odd) <= 0.2 * pairs or min(even, odd) * 20 > max(even, odd):
        return ""
    return "utf-16-le" if odd > even else "utf-16-be"


def _strictly(raw: bytes, name: str, words: str, source: Path) -> str:
    try:
        text = raw.decode(name)
        text.encode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_in(raw, error.start, words, source) from error
    except (LookupError, ValueError) as error:
        raise InputError(source, found=f"not {words}", expected=f"text in {words}", do="Save it again as UTF-8.") from error
    return text


def _not_in(raw: bytes, at: int, words: str, source: Path) -> InputError:
    found = f"row {row_of(raw, at)}: byte {at + 1} of the file (0x{raw[at : at + 1].hex().upper()}) is not {words}"
    return InputError(source, found=found, expected="one encoding in the whole file", do="Save it again as UTF-8.")


def row_of(raw: bytes, at: int) -> int:
    """Return the number of the row that holds byte `at`; line breaks in double quotes end no row."""
    outside = b" ".join(raw[:at].replace(b"\0", b"").split(b'"')[::2])
    return len(re.findall(rb"\r\n|\r|\n", outside)) + 1


def _narrow(raw: bytes, source: Path) -> str:
    """Return the encoding of one byte a letter that the letters and words of a table speak for."""
    present = sorted(set(raw.translate(None, _ASCII)))
    contexts: Contexts = Counter()
    for hit in islice(re.finditer(rb"[\x80-\xff]", raw), _LOOK_AT):
        at = hit.start()
        contexts[raw[at - 1] if at else 10, raw[at], raw[at + 1] if at + 1 < len(raw) else 10] += 1
    readings: dict[str, str] = {}
    for name in ENCODINGS:
        read = _read(present, name)
        if "\ufffd" not in read and read not in readings.values() and _odd(contexts, name) <= _ODD:
            readings[name] = read
    evidence = _Evidence(present=present, contexts=contexts, readings=readings)
    fitting = list(readings)
    for narrower in (lambda: _by_words(raw, evidence), lambda: _by_letters(evidence)):
        if len(fitting) != 1:
            fitting = narrower()
    if len(fitting) > 1:
        fitting = _by_system(evidence, fitting)
    if len(fitting) == 1:
        return fitting[0]
    raise _undecided(raw, evidence, source)


def _read(present: Sequence[int], name: str) -> str:
    return "".join(_letters(name)[byte] for byte in present)


@cache
def _letters(name: str) -> str:
    return bytes(range(256)).decode(name, errors="replace")


@cache
def _alphabet(name: str) -> frozenset[str]:
    return frozenset().union(*(language.both for language in LANGUAGES if name in language.encodings))


def _odd(contexts: Contexts, name: str) -> float:
    """Return the share of bytes that make no sense beside their neighbours when read in an encoding."""
    letters = _letters(name)
    odd = sum(n for (before, own, after), n in contexts.items() if _is_odd(letters[before], letters[own], letters[after], name))
    return odd / contexts.total()


def _is_odd(before: str, own: str, after: str, name: str) -> bool:
    if own in SYMBOLS:
        return own not in IN_WORDS and before.isalpha() and after.isalpha()
    if own not in _alphabet(name):
        return True
    if own.islower() and own not in LONE and name not in NON_LATIN and not before.isalpha() and not after.isalpha():
        return True
    beside_latin = name in NON_LATIN and any(c.isascii() and c.isalpha() for c in (before, after))
    return beside_latin or (own.isupper() and before.isalpha() and (before.islower() or after.islower()))


def _by_words(raw: bytes, evidence: _Evidence) -> list[str]:
    """Return the encodings in which the language is written whose small words stand most often in the table."""
    # The heading speaks the language of a program, not of the reports, so it has no say.
    body = re.split(rb"[\r\n]", raw[:_LOOK_AT_BYTES].lower(), maxsplit=1)[-1]
    words = Counter(word.decode("ascii") for word in re.findall(rb"(?<![\x80-\xff\w])[a-z]+(?![\x80-\xff\w])", body))
    counts = {language: sum(words[word] for word in language.words) for language in (*LANGUAGES, ENGLISH)}
    top = max(counts, key=lambda language: counts[language])
    rival = max(count for language, count in counts.items() if language.encodings != top.encodings)
    if counts[top] < _WORDS or counts[top] < 2 * rival:
        return []
    if top is ENGLISH:
        return [name for name in evidence.readings if _is_english(name, evidence)]
    sisters = [language for language in LANGUAGES if language.encodings == top.encodings]
    for own in ([top], sisters):
        fitting = [n for n in evidence.readings if any(_writes(n, evidence, one, share=_OF_ITS_LANGUAGE) for one in own)]
        if fitting:
            return fitting
    return []


def _by_letters(evidence: _Evidence) -> list[str]:
    """Return the encodings in which all letters are those of a single language."""
    return [name for name in evidence.readings if any(_writes(name, evidence, one, share=1.0) for one in LANGUAGES)]


def _by_system(evidence: _Evidence, fitting: Sequence[str]) -> list[str]:
    """Return what Windows writes: spreadsheets write the others only where they are told to.

    Signs that touch letters in that reading, where the others have letters, leave it open.
    """
    windows = [name for name in fitting if name.startswith("cp125")]
    if windows not in (["cp1252"], ["cp1254"]):
        return []
    return windows if not any(_touches(*context, windows[0]) for context in evidence.contexts) else []


def _touches(before: int, own: int, after: int, name: str) -> bool:
    letters = _letters(name)
    return letters[own] in SYMBOLS and (letters[before].isalpha() or letters[after].isalpha())


def _writes(name: str, evidence: _Evidence, language: Language, *, share: float) -> bool:
    """Return whether a reading is one that the language is written in, with at least a share of its own letters."""
    alike = any(_read(evidence.present, own) == evidence.readings[name] for own in language.encodings)
    return alike and _share(evidence.contexts, name, language) >= share


def _is_english(name: str, evidence: _Evidence) -> bool:
    others = set.intersection(*(set(read) for read in evidence.readings.values()))
    return all(letter in SYMBOLS or letter in ENGLISH.both for letter in set(evidence.readings[name]) - others)


def _share(contexts: Contexts, name: str, language: Language) -> float:
    letters = _letters(name)
    counts: Counter[bool] = Counter()
    for (_, own, _), count in contexts.items():
        if letters[own] not in SYMBOLS and unicodedata.category(letters[own]).startswith("L"):
            counts[letters[own] in language.both] += count
    return counts[True] / counts.total() if counts else 1.0


def _undecided(raw: bytes, evidence: _Evidence, source: Path) -> InputError:
    do = "Save it again as UTF-8, or say which it is in the study file, as encoding = "
    names = list(evidence.readings)[:2]
    both = list(zip(evidence.present, *(evidence.readings[name] for name in names), strict=True))
    differing = [byte for byte, *read in both if len(set(read)) != 1]
    at = min(raw.index(byte) for byte in differing)
    found = f"row {row_of(raw, at)}: byte {at + 1} of the file (0x{raw[at]:02X})"
    if len(names) < 2:
        found += " fits no encoding that was tried"
        return InputError(source, found=found, expected="text in UTF-8", do=f'{do}"cp1252".')
    one, other = (f"{_letters(name)[raw[at]]!r} in {ENCODINGS[name]}" for name in names)
    found += f" is {one} and {other}, and nothing in the table tells which"
    return InputError(source, found=found, expected="an encoding that is known", do=f'{do}"{names[0]}" or "{names[1]}".')
