"""German reports written by someone who had not seen the rules.

Negation and positive F1 before any rule was changed for them: tuned half 0.876 and 0.900, held-out half 0.930 and 0.926; after
the errors of the tuned half were mended: 1.000 and 1.000, 0.982 and 0.974. Of the held-out half nothing but counts of
states was looked at, save its first two reports, seen by chance before. `pytest -s -k german` prints the figures.
"""

import csv
from pathlib import Path

import pytest

from espalier.labels.reading import make_reader

REPORTS = Path(__file__).parent / "sentences" / "german_2.csv"
SPEAKS = {"present", "uncertain"}
Judged = tuple[str, str]


def rows(half: str) -> list[dict[str, str]]:
    with REPORTS.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["half"] == half]


def judged(half: str) -> list[Judged]:
    """Wanted and read states: those a report names, and any other finding that is called present or uncertain."""
    reader, out = make_reader("ct-rate-de"), []
    for row in rows(half):
        wanted = dict(pair.split("=") for pair in row["states"].split())
        states, _ = reader.read(row["report"])
        out += [(state, states[finding]) for finding, state in wanted.items()]
        out += [("silent", s) for finding, s in states.items() if finding not in wanted and s in SPEAKS]
    return out


def f1(pairs: list[Judged], of: set[str]) -> float:
    hits = sum(wanted in of and found in of for wanted, found in pairs)
    return 2 * hits / sum((wanted in of) + (found in of) for wanted, found in pairs)


@pytest.mark.parametrize(("half", "negation", "positive"), [("tuned", 0.98, 0.98), ("held_out", 0.97, 0.965)])
def test_german_reports_of_a_stranger_are_read(half: str, negation: float, positive: float) -> None:
    pairs = judged(half)
    told = [pair for pair in pairs if pair[0] != "silent"]
    denied, found = f1(told, {"absent"}), f1(pairs, SPEAKS)
    print(f"german {half}: {len(told)} states, negation F1 {denied:.3f}, positive F1 {found:.3f}")
    assert denied >= negation
    assert found >= positive


def test_the_halves_share_no_report() -> None:
    tuned, held_out = ({row["report"] for row in rows(half)} for half in ("tuned", "held_out"))
    assert len(tuned) == len(held_out) == 80
    assert not tuned & held_out


READER = make_reader("ct-rate-de")


def said(report: str) -> dict[str, str]:
    return {finding: state for finding, state in READER.read(report)[0].items() if state != "not_mentioned"}


def test_two_findings_that_share_the_end_of_a_word_are_both_read() -> None:
    assert said("Kein Pleura- oder Perikarderguss.") == {"pleural_effusion": "absent", "pericardial_effusion": "absent"}
    assert set(said("Koronar- und Aortenkalk.")) == {"coronary_artery_wall_calcification", "arterial_wall_calcification"}


def test_a_finding_inside_a_longer_word_is_read() -> None:
    assert said("Totalatelektase und Oberlappenemphysem.") == {"atelectasis": "present", "emphysema": "present"}
    assert said("Weichteilemphysem links.") == {}


def test_a_short_side_may_end_a_sentence() -> None:
    assert said("Rundherd im Oberlappen li. Pleuraerguss nicht nachweisbar.")["lung_nodule"] == "present"
    assert said("Kein re. Pleuraerguss.") == {"pleural_effusion": "absent"}


def test_what_was_put_in_is_there_though_it_is_history() -> None:
    assert said("Z. n. Portanlage rechts.") == {"medical_material": "present"}
    assert said("Z. n. Pleuraerguss.") == {}


def test_what_a_finding_is_not_leaves_it_there() -> None:
    assert said("Solider, nicht verkalkter Rundherd.") == {"lung_nodule": "present"}
    assert said("Rundherd links, Malignität nicht auszuschließen.") == {"lung_nodule": "present"}
    assert said("Pleuraerguss rechts, Mediastinum unauffällig.") == {"pleural_effusion": "present"}
    assert said("Kleine Hiatushernie, Pleuraerguss nicht nachweisbar.")["hiatal_hernia"] == "present"
