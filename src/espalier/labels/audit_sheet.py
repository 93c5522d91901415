"""The page that readers read: every drawn report once, with its questions, and the rules' evidence marked in its text.

The page has no script and loads nothing, so that nothing of it can leave the machine; the filter is a row of radio buttons.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from espalier.labels.audit_draw import Cell, Drawn
from espalier.labels.findings import TITLES
from espalier.page import page, paragraph

_STYLE: Final = """
.private{border:2px solid currentColor;padding:.4rem .8rem;font-weight:600}
main>input{position:absolute;opacity:0}main>label{display:inline-block;margin:.15rem .3rem .15rem 0;padding:.1rem .6rem;
border:1px solid var(--line);border-radius:1rem;font-size:.9rem;cursor:pointer}
main>input:checked+label{background:var(--leaf);color:var(--paper);border-color:var(--leaf)}
main>input:focus-visible+label{outline:3px solid var(--leaf);outline-offset:2px}
article{border-top:1px solid var(--line);margin-top:1.6rem;padding-top:.6rem}article h2{border:0;margin:0;padding:0}
.text{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--tint);padding:.8rem;border-radius:4px;line-height:1.7}
.text span{text-decoration:underline dotted;text-underline-offset:4px}
.text mark{background:#ffe08a;color:#1c2321;font-weight:600;padding:0 .1em}
sup{line-height:0}
ol{padding-left:2.4rem;margin:.5rem 0}code{font-size:.85em;color:var(--quiet)}.boxes{margin-left:.8rem;white-space:nowrap}
@media print{main>input,main>label,.screen{display:none}article{break-inside:avoid-page}
.text{background:none;border:1px solid #999}.text mark{background:none;text-decoration:underline;border:1px solid #000}}
"""
_PRIVATE: Final = "This page holds the text of patients' reports. Keep it where the reports may be; do not send it."
_SHOWN: Final = "Dotted lines mark the sentences that the rules read, boxes the words; the number is that of the question."
_BLIND: Final = "What the rules said is not shown."
_HOW: Final = (
    "Answer each question for what the report says: 1 it is there, 0 it is not there or not mentioned, ? it is left open."
    " Write the answers into cells.csv, by the code of each question: the first reader into reader_1, the second, without"
    " looking at them, into reader_2. Tab and the arrow keys change the finding that is shown."
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where the rules saw a finding: a sentence `text[start:end]`, and the words in it."""

    finding: str
    start: int
    end: int
    match_start: int
    match_end: int


def sheet(drawn: Drawn, *, texts: Mapping[str, str], evidence: Mapping[str, Sequence[Evidence]]) -> str:
    """Return the whole page.

    Parameters
    ----------
    drawn
        What was drawn.
    texts
        Per report its text.
    evidence
        Per cell id where the rules saw its finding; not looked at where the audit is blind.
    """
    names = {finding: f"f{n}" for n, finding in enumerate(drawn.findings)}
    own: dict[str, list[Cell]] = {}
    for cell in drawn.cells:
        own.setdefault(cell.report, []).append(cell)
    articles = [
        _article(f"Report {n} of {len(own)}", cells, texts[report], {} if drawn.blind else evidence, drawn=drawn, names=names)
        for n, (report, cells) in enumerate(own.items(), start=1)
    ]
    filters = [_radio("all", "All findings", checked=True)]
    filters += [_radio(name, TITLES.get(finding, finding)) for finding, name in names.items()]
    hidden = ",".join(
        f"#{name}:checked~article:not(.{name}),#{name}:checked~article li:not(.{name}),#{name}:checked~article sup:not(.{name})"
        for name in names.values()
    )
    # What is marked for another finding than the one chosen looks like plain text.
    plain = ",".join(f"#{n}:checked~article .text :is(span,mark):not(.{n})" for n in names.values())
    style = f"{_STYLE}{hidden}{{display:none}}{plain}{{all:unset}}" if names else _STYLE
    head = [
        paragraph(_PRIVATE, look="private"),
        paragraph(f"{_HOW} {_BLIND if drawn.blind else _SHOWN}", look="screen"),
        paragraph(f"{len(drawn.cells)} questions on {len(own)} reports.", look="quiet"),
    ]
    return page(f"Audit {drawn.number}: what do these reports say?", *head, *filters, *articles, style=style)


def _radio(name: str, title: str, *, checked: bool = False) -> str:
    state = " checked" if checked else ""
    return f'<input type="radio" name="finding" id="{name}"{state}><label for="{name}">{html.escape(title)}</label>'


def _article(
    heading: str,
    cells: Sequence[Cell],
    text: str,
    evidence: Mapping[str, Sequence[Evidence]],
    *,
    drawn: Drawn,
    names: Mapping[str, str],
) -> str:
    questions = "".join(_question(n, cell, names[cell.finding], blind=drawn.blind) for n, cell in enumerate(cells, start=1))
    classes = " ".join(dict.fromkeys(names[cell.finding] for cell in cells))
    numbered = {n: (names[cell.finding], evidence.get(cell.id, ())) for n, cell in enumerate(cells, start=1)}
    return (
        f'<article class="{classes}"><h2>{heading} <code>{html.escape(cells[0].report)}</code></h2>\n'
        f'<ol>{questions}</ol>\n<div class="text" dir="auto">{marked(text, numbered)}</div></article>'
    )


def _question(number: int, cell: Cell, name: str, *, blind: bool) -> str:
    title = html.escape(TITLES.get(cell.finding, cell.finding))
    told = "" if blind else f" – rules: {cell.state.replace('_', ' ')}"
    boxes = '<span class="boxes">☐ 1 &nbsp; ☐ 0 &nbsp; ☐ ?</span>'
    # The number is said, as hidden questions would not be counted.
    return f'<li class="{name}" id="{cell.id}" value="{number}"><b>{title}</b>{told} {boxes} <code>{cell.id}</code></li>'


def marked(text: str, numbered: Mapping[int, tuple[str, Sequence[Evidence]]]) -> str:
    """Return a report as HTML with the evidence of each question marked.

    Parameters
    ----------
    text
        The report.
    numbered
        Per number of a question the class of its finding, and its evidence in `text`.
    """
    cuts = {0, len(text)}
    for _, own in numbered.values():
        cuts.update(place for e in own for place in (e.start, e.end, e.match_start, e.match_end))
    return "".join(_stretch(text, start, end, numbered) for start, end in pairwise(sorted(cuts)))


def _stretch(text: str, start: int, end: int, numbered: Mapping[int, tuple[str, Sequence[Evidence]]]) -> str:
    words, sentence, ends = [], [], ""
    for number, (name, own) in numbered.items():
        if any(e.match_start <= start and end <= e.match_end for e in own):
            words.append(name)
        elif any(e.start <= start and end <= e.end for e in own):
            sentence.append(name)
        if any(e.match_end == end for e in own):
            ends += f'<sup class="{name}">{number}</sup>'
    inner = html.escape(text[start:end])
    if words:
        inner = f'<mark class="{" ".join(dict.fromkeys(words))}">{inner}</mark>'
    if sentence:
        inner = f'<span class="{" ".join(dict.fromkeys(sentence))}">{inner}</span>'
    return inner + ends
