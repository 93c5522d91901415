"""What the readers wrote into `cells.csv`, in whatever words and encoding their spreadsheet left it."""

import codecs
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from espalier.cohort.cells import plain_id
from espalier.cohort.csv_table import Table, nearest, read_csv
from espalier.errors import InputError
from espalier.labels.audit_draw import Cell, Drawn
from espalier.outputs import write_csv, written_whole

Answer = Literal["present", "absent", "uncertain"]
CELLS: Final = "cells.csv"
READERS: Final = ("reader_1", "reader_2")
AGREED: Final = "agreed"
WORDS: Final[Mapping[Answer, tuple[str, ...]]] = {
    "present": (
        *("1", "1.0", "1,0", "+", "x", "y", "yes", "true", "present", "pos", "positive"),
        *("j", "ja", "wahr", "vorhanden", "positiv", "e", "evet", "var", "dogru", "pozitif", "oui", "si"),
    ),
    "absent": (
        *("0", "0.0", "0,0", "n", "no", "false", "absent", "neg", "negative", "none", "not mentioned", "not present"),
        *("nein", "falsch", "nicht vorhanden", "negativ", "h", "hayir", "yok", "yanlis", "negatif", "non"),
    ),
    "uncertain": (
        *("?", "0.5", "0,5", "u", "uncertain", "unsure", "unclear", "maybe", "possible", "probable"),
        *("unklar", "unsicher", "vielleicht", "moglich", "belirsiz", "supheli", "olasi", "emin degil"),
    ),
}
"""The words of an answer, without capitals and accents."""
NOTHING: Final = frozenset({"", "n/a", "na", "k.a"})
_ANSWER: Final[Mapping[str, Answer]] = {word: answer for answer, words in WORDS.items() for word in words}
_TOLD: Final = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The readers' answers by cell id; a cell without an answer is in none of them."""

    readers: tuple[Mapping[str, Answer], Mapping[str, Answer]]
    agreed: Mapping[str, Answer]

    @property
    def answered(self) -> frozenset[str]:
        """Cells that somebody answered."""
        return frozenset().union(*self.readers, self.agreed)

    @property
    def both(self) -> frozenset[str]:
        """Cells that both readers answered."""
        return frozenset(self.readers[0]) & frozenset(self.readers[1])

    def of(self, cell: str) -> tuple[Answer, ...]:
        """Return what counts as the truth of a cell: what was agreed on, else every reader's answer."""
        if cell in self.agreed:
            return (self.agreed[cell],)
        return tuple(own[cell] for own in self.readers if cell in own)


def answer_of(word: str) -> Answer | None:
    """Return the answer that a word stands for, None where it stands for none; upper case and accents do not matter.

    Examples
    --------
    >>> answer_of("HAYIR"), answer_of("?"), answer_of("perhaps not")
    ('absent', 'uncertain', None)
    """
    return _ANSWER.get(_plain(word))


def _plain(word: str) -> str:
    apart = unicodedata.normalize("NFKD", word.casefold().replace("ı", "i").replace("_", " "))
    # A leading apostrophe is how a spreadsheet marks text.
    return " ".join("".join(c for c in apart if not unicodedata.combining(c)).split()).removeprefix("'").rstrip(".!")


def write_for_spreadsheets(path: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> None:
    """Write a private CSV as UTF-8 with a mark at its start: without it Excel takes a table for one in its own encoding."""
    with written_whole(path, private=True) as partial:
        write_csv(partial, rows, columns, private=True)
        partial.write_bytes(codecs.BOM_UTF8 + partial.read_bytes())


def read_answers(folder: Path, drawn: Drawn) -> Answers:
    """Return what stands in `cells.csv` of an audit, and in copies of it named `cells*.csv`, as two readers keep them.

    Parameters
    ----------
    folder
        The audit's folder.
    drawn
        What was drawn.

    Raises
    ------
    InputError
        Where there is no such table or it cannot be read, its cells are not of this audit, cells hold no answer (told by
        row; their content is not said again), two copies differ, or nothing is answered.
    """
    paths = sorted(folder.glob("cells*.csv"))
    if not paths:
        do = "Save the filled sheet in that folder as CSV, under this name."
        raise InputError(folder / CELLS, found="no such file", expected="the filled table", do=do)
    found: dict[str, dict[str, Answer]] = {name: {} for name in (*READERS, AGREED)}
    known = {cell.id: cell for cell in drawn.cells}
    for path in paths:
        _read_into(found, read_csv(path), known)
    answers = Answers(readers=(found[READERS[0]], found[READERS[1]]), agreed=found[AGREED])
    if not answers.answered:
        do = "Write 1 (present), 0 (absent) or ? (uncertain) into reader_1 and save it as CSV."
        raise InputError(paths[0], found="no answers", expected="at least one", do=do)
    return answers


def _read_into(found: dict[str, dict[str, Answer]], table: Table, known: Mapping[str, Cell]) -> None:
    ids = [plain_id(row[_place(table, "cell")]) for row in table.rows]
    strange = [table.numbers[n] for n, one in enumerate(ids) if one not in known]
    if strange:
        do = "Fill the table that this audit wrote, and leave the column cell as it is."
        raise InputError(table.source, found=f"no cell of this audit in {_rows(strange)}", expected="its cells", do=do)
    _refuse_moved(table, ids, known)
    wrong: list[str] = []
    differing: list[tuple[int, str]] = []
    for name, own in found.items():
        place = table.place(name)
        if place is None and name != READERS[0]:
            continue
        place = _place(table, name)
        for number, one, row in zip(table.numbers, ids, table.rows, strict=True):
            answer = answer_of(row[place])
            if answer is None and _plain(row[place]) not in NOTHING:
                wrong.append(f"row {number}, {name}")
            elif answer is not None and own.setdefault(one, answer) != answer:
                differing.append((number, name))
    if wrong:
        more = f" and {len(wrong) - _TOLD} more" if len(wrong) > _TOLD else ""
        found_words = f"no answer in {'; '.join(wrong[:_TOLD])}{more}"
        do = "Correct it, or leave it empty."
        raise InputError(table.source, found=found_words, expected="1, 0 or ? (or yes, no, uncertain)", do=do)
    if differing:
        names = " and ".join(dict.fromkeys(name for _, name in differing))
        found_words = f"{names} differs from an earlier row or table in {_rows([number for number, _ in differing])}"
        do = f"Keep one answer; the second reader fills {READERS[1]}, in a copy of the table too."
        raise InputError(table.source, found=found_words, expected="one answer of a reader for each cell", do=do)


def _refuse_moved(table: Table, ids: Sequence[str], known: Mapping[str, Cell]) -> None:
    """Refuse rows with the report or finding of another cell, as after sorting one column alone.

    A report's id that a spreadsheet spoilt, so that it is nobody's, is none of these.
    """
    for name in ("report", "finding"):
        place = table.place(name)
        if place is None:
            continue
        own = {one: _bare(getattr(cell, name)) for one, cell in known.items()}
        others = frozenset(own.values())
        told = [(n, own[one], _bare(row[place])) for n, one, row in zip(table.numbers, ids, table.rows, strict=True)]
        moved = [n for n, wanted, value in told if value != wanted and (value in others or name == "finding")]
        if moved:
            do = "Take the table that the audit wrote and carry the answers over; sort whole rows only."
            found = f"another {name} than the cell has in {_rows(moved)}"
            raise InputError(table.source, found=found, expected="what the cell asks about", do=do)


def _bare(value: str) -> str:
    """Return a cell as it was before spreadsheets: without the mark of a text, and zeros that they take from its front."""
    return plain_id(value).removeprefix("'").lstrip("0").casefold()


def _place(table: Table, name: str) -> int:
    place = table.place(name)
    if place is None:
        likely = nearest(name, table.columns)
        do = f"Did {likely} have this name?" if likely else "Fill the table that the audit wrote, with its heading."
        raise InputError(table.source, found=f"no column {name}", expected="the columns of the audit's cells.csv", do=do)
    return place


def _rows(numbers: Sequence[int]) -> str:
    told = ", ".join(str(n) for n in numbers[:_TOLD])
    return f"row {told}" + (f" and {len(numbers) - _TOLD} more" if len(numbers) > _TOLD else "")
