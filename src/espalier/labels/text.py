"""A report's sections, headings and sentences, with offsets that always point into the text as it came."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from espalier.labels.language import Language, read_language

SILENT_SECTIONS: Final = frozenset({"indication", "technique", "comparison", "history", "recommendation", "signature"})
_HEADING: Final = re.compile(
    r"(?P<name>[A-Za-zÀ-ÿ][A-Za-zÀ-ÿ /&,()'-]{1,48}?)[ \t]*(?:[:=]|(?<=[A-ZÀ-Þ]{3}) -(?= ))(?!\d)[ \t]*"
)
_BULLET: Final = re.compile(r"[ \t]*(?:[•●▪◦·*>\-–—]+|\(?\d{1,2}[.)](?!\d)|\(?[a-h]\))[ \t]+")
_ANSWER: Final = 40
_HIDDEN_LEAST: Final = 3
_SAME_LENGTH: Final = str.maketrans(
    {
        "\n": " ",
        "\r": " ",
        "\t": " ",
        "\xa0": " ",
        "\u2009": " ",
        "\u202f": " ",
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
    }
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A stretch of a report: `report[start:end]`, under a section and perhaps a heading such as "Liver".

    `heading_start` is where the heading stands in the report; `opens` says that this is the first sentence below it.
    """

    section: str
    heading: str
    heading_start: int
    opens: bool
    start: int
    end: int

    def led(self, text: str) -> str:
        """Return the sentence as "heading: sentence", or alone where there is no heading, of the plain `text`."""
        own = text[self.start : self.end]
        return f"{plain(self.heading)}: {own}" if self.heading else own

    def located(self, span: tuple[int, int]) -> tuple[int, int] | None:
        """Return where a span of `led` stands in the report; None inside a heading that an earlier sentence opened."""
        lead = len(self.heading) + 2 if self.heading else 0
        start, end = span
        if start >= lead:
            return self.start + start - lead, self.start + end - lead
        if self.opens:
            return self.heading_start + start, self.heading_start + end if end <= lead else self.start + end - lead
        return (self.start, self.start + end - lead) if end > lead else None


def plain(text: str) -> str:
    """Return `text` in lower case with plain spaces, quotes and hyphens, character for character as long as it was."""
    text = text.translate(_SAME_LENGTH)
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def sentences(report: str, language: Language | None = None) -> list[Sentence]:
    """Split a report into its sentences, in order.

    Wrapped lines are joined, bullets, stray quotes and enumerators end sentences, and "Liver: normal." opens a heading.

    Parameters
    ----------
    report
        The text.
    language
        The words by which it is laid out; English where None.
    """
    words = language or read_language()
    out: list[Sentence] = []
    hidden: list[int] = []  # sentences behind the first of a silent paragraph
    section, heading, heading_start, opens = "findings", "", -1, False
    holds = False  # a heading that stood alone on its line holds until the next blank line
    spoken = alone = False  # the section has said something; its heading stood alone on its line
    for start, end, after_gap in _blocks(report, words):
        if after_gap or not holds:
            heading, heading_start, holds = "", -1, False
        if spoken and (after_gap or not alone) and section in SILENT_SECTIONS:
            section = "findings"  # a paragraph without a heading after "Technique: ..." is the report itself
        for part_start, part_end in _pieces(report, start, end, words):
            body = part_start
            while (found := _heading_at(report, body, part_end, words)) is not None:
                name, name_start, body = found
                kind = _section_of(name, words)
                section, spoken, alone = (kind, False, body >= part_end) if kind else (section, spoken, alone)
                heading, heading_start, opens = ("", -1, False) if kind else (name, name_start, True)
                holds = not kind and body >= part_end
            if body < part_end and any(c.isalnum() for c in report[body:part_end]):
                if spoken and not alone and section in SILENT_SECTIONS:
                    hidden.append(len(out))
                out.append(Sentence(section, heading, heading_start, opens, body, part_end))
                opens, spoken = False, True
                # "Comparison: none." is one sentence; what follows it without a heading is the report itself.
                section = "findings" if section == "comparison" else section
    return _unhidden(out, hidden)


def _unhidden(found: list[Sentence], hidden: Sequence[int]) -> list[Sentence]:
    """Return the sentences of a report with those as findings that stand `hidden` behind "Clinical history: cough.".

    So it is where there is no other place for the findings: no section of them, and one silent paragraph at most.
    """
    sections = {sentence.section for sentence in found}
    if len(hidden) < _HIDDEN_LEAST or "findings" in sections or len(sections - {"impression"}) > 1:
        return found
    return [replace(s, section="findings") if number in hidden else s for number, s in enumerate(found)]


def _section_of(name: str, words: Language) -> str:
    match = words.section.fullmatch(plain(name).strip())
    return match.lastgroup or "" if match else ""


def _heading_at(report: str, start: int, end: int, words: Language) -> tuple[str, int, int] | None:
    """Return the heading at `start`, where it stands and where its text begins, or None."""
    match = _HEADING.match(report, start, end)
    if match:
        name = match["name"]
        lower = plain(name)
        if words.section.fullmatch(lower.strip()) or (
            len(name.split()) <= 7 and words.heading.search(lower) and not words.not_in_heading.search(lower)
        ):
            return name, start, match.end()
    elif end - start < 48 and _section_of(report[start:end].strip(" .-"), words):
        return report[start:end].strip(" .-"), start, end
    return None


def _blocks(report: str, words: Language) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, whether a blank line came before) of paragraphs; a hard-wrapped paragraph is one block."""
    lines = [(m.start(), m.end()) for m in re.finditer(r"[^\r\n]+", report)]
    if not lines:
        return
    longest = max(end - start for start, end in lines)
    block_start, block_end, gap = lines[0][0], lines[0][1], False
    for (_, before_end), (start, end) in pairwise(lines):
        blank = report.count("\n", before_end, start) > 1 or not report[start:end].strip()
        if blank or not _goes_on(report, (block_start, block_end), (start, end), longest, words):
            yield block_start, block_end, gap
            block_start, gap = start, blank
        block_end = end
    yield block_start, block_end, gap


def _goes_on(report: str, block: tuple[int, int], line: tuple[int, int], longest: int, words: Language) -> bool:
    """Say whether `line` continues the paragraph `block` before it."""
    block_start, block_end = block
    start, end = line
    text = report[start:end].lstrip()
    before = report[max(block_start, block_end - 500) : block_end].rstrip()
    if _BULLET.match(report, start, end) or not before or before[-1] in ".:!?":
        return False
    if text[:1].islower() or before[-1] in ",-(/" or text[:1] in ",)":
        return True
    if _heading_at(report, start, end, words) or _section_of(before.strip(), words):
        return False
    last_line = before.rsplit("\n", 1)[-1]
    return len(last_line) > 0.75 * longest and longest > 60


def _pieces(report: str, start: int, end: int, words: Language) -> Iterator[tuple[int, int]]:
    """Yield the sentences of a block, without bullets and surrounding blanks."""
    position = start
    for match in words.sentence_end.finditer(report, start, end):
        dot = match.start()
        if dot < position:
            continue
        if report[dot : dot + 1] == "." and match.end() < end and words.abbreviation.search(report[position:dot]):
            continue
        if report[dot] == "?" and words.answer.match(plain(report[dot : dot + _ANSWER])):
            continue  # "Effusion? No." is one statement
        yield _trimmed(report, position, dot + 1 if report[dot] in ".!?" else dot)
        position = match.end()
    if position < end:
        yield _trimmed(report, position, end)


def _trimmed(report: str, start: int, end: int) -> tuple[int, int]:
    bullet = _BULLET.match(report, start, end)
    if bullet:
        start = bullet.end()
    while start < end and (report[start].isspace() or report[start] in "\"'”“•"):
        start += 1
    while end > start and (report[end - 1].isspace() or report[end - 1] in '"“”'):
        end -= 1
    return start, end
