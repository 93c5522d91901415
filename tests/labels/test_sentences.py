"""Negation and states on written sentences, of which the rules were tuned on one half only.

Every sentence was written before the rules were changed for any of them. Errors of the half `tuned` were read and mended;
of the half `held_out` nothing but the counts was looked at. `pytest -s -k negation` prints the figures.
"""

import csv
from functools import cache
from pathlib import Path

import pytest

from espalier.labels.lexicon import FindingRules, LexiconFile, compile_lexicon
from espalier.labels.reading import Reader, make_reader
from espalier.labels.rules import RuleReader

FOLDER = Path(__file__).parent / "sentences"
Judged = tuple[str, str]


def rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def named(cell: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in cell.split())


@cache
def reader_of(phrase: str) -> RuleReader:
    words = {"it": (FindingRules(phrases=(phrase,)),)}
    return RuleReader(compile_lexicon(LexiconFile(name="one", finding=words)))


def general(half: str) -> list[Judged]:
    own = [row for row in rows("general") if row["half"] == half]
    return [(row["state"], reader_of(row["phrase"]).read(row["sentence"])[0]["it"]) for row in own]


def structured(half: str) -> list[Judged]:
    out = []
    for row in rows("structured"):
        if row["half"] == half:
            out += judged(make_reader("ct-rate"), row)
    return out


def judged(reader: Reader, row: dict[str, str]) -> list[Judged]:
    """Wanted and read states of a report: those named, and any other finding that is called present or uncertain."""
    states, _ = reader.read(row["report"])
    wanted = named(row["states"])
    extra = [("silent", state) for finding, state in states.items() if finding not in wanted and speaks(state)]
    return [(state, states[finding]) for finding, state in wanted.items()] + extra


def speaks(state: str) -> bool:
    return state in {"present", "uncertain"}


def is_right(pair: Judged) -> bool:
    wanted, found = pair
    return not speaks(found) if wanted == "silent" else wanted == found


def negation_f1(pairs: list[Judged]) -> float:
    told = [pair for pair in pairs if pair[0] != "silent"]
    hits = sum(wanted == found == "absent" for wanted, found in told)
    return 2 * hits / sum((wanted == "absent") + (found == "absent") for wanted, found in told)


@pytest.mark.parametrize(
    ("sentences", "half", "f1", "right"),
    [
        (general, "tuned", 0.98, 0.97),
        (general, "held_out", 0.935, 0.93),
        (structured, "tuned", 0.98, 0.97),
        (structured, "held_out", 0.98, 0.96),
    ],
)
def test_negation_is_read_in_written_sentences(sentences, half: str, f1: float, right: float) -> None:
    pairs = sentences(half)
    found, share = negation_f1(pairs), sum(map(is_right, pairs)) / len(pairs)
    print(f"{sentences.__name__} {half}: {len(pairs)} states, negation F1 {found:.3f}, right {share:.3f}")
    assert found >= f1
    assert share >= right


def test_there_are_enough_sentences_and_the_halves_share_none() -> None:
    texts = {half: {r["sentence"] for r in rows("general") if r["half"] == half} for half in ("tuned", "held_out")}
    texts = {half: own | {r["report"] for r in rows("structured") if r["half"] == half} for half, own in texts.items()}
    assert len(texts["tuned"] | texts["held_out"]) >= 300
    assert not texts["tuned"] & texts["held_out"]


@pytest.mark.parametrize("row", rows("german"), ids=lambda row: row["report"][:40])
def test_german_reports_are_read_with_a_german_lexicon(row: dict[str, str]) -> None:
    assert [pair for pair in judged(make_reader("ct-rate-de"), row) if not is_right(pair)] == []


def test_there_are_sixty_german_sentences() -> None:
    assert len(rows("german")) >= 60


def test_german_words_stand_in_data_alone() -> None:
    source = "".join(p.read_text(encoding="utf-8").lower() for p in Path(FOLDER, "../../../src/espalier/labels").glob("*.py"))
    assert [word for word in ("kein", "ohne", "erguss", "nachweis", "befund") if word in source] == []
