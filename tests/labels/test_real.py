"""Against 300 real chest CT reports with manual labels; no word of them stands here."""

import time
from pathlib import Path

import pytest

from espalier.cohort.csv_table import read_csv
from espalier.labels.findings import CT_RATE_TITLES, finding_id
from espalier.labels.reading import read_all

pytestmark = pytest.mark.real


def f1(predicted: list[bool], truth: list[bool]) -> float:
    hits = sum(p and t for p, t in zip(predicted, truth, strict=True))
    return 2 * hits / (sum(predicted) + sum(truth))


def test_real_reports_are_read_with_a_macro_f1_of_at_least_94_percent(real_data: Path) -> None:
    table = read_csv(real_data / "reports" / "ct_rate_reports_300.csv")
    texts = table.column("report_text", setting="text_column")
    readings = read_all(texts, lexicon="ct-rate")
    scores = {}
    for title in CT_RATE_TITLES:
        truth = [cell == "1" for cell in table.column(title, setting="table")]
        scores[title] = f1([r.states[finding_id(title)] in {"present", "uncertain"} for r in readings], truth)
    assert sum(scores.values()) / len(scores) >= 0.94, scores
    assert min(scores.values()) >= 0.8, scores


def test_every_mention_of_a_real_report_lies_in_its_sentence(real_data: Path) -> None:
    texts = read_csv(real_data / "reports" / "ct_rate_reports_300.csv").column("report_text", setting="text_column")
    for reading in read_all(texts, lexicon="ct-rate"):
        for mention in reading.mentions:
            assert mention.sentence[0] <= mention.start < mention.end <= mention.sentence[1]


def test_at_least_250_reports_are_read_in_a_second_of_one_core(real_data: Path) -> None:
    texts = read_csv(real_data / "reports" / "ct_rate_reports_300.csv").column("report_text", setting="text_column")
    read_all(texts[:1], lexicon="ct-rate")
    rates = []
    for _ in range(3):
        start = time.process_time()
        read_all(texts, lexicon="ct-rate")
        rates.append(len(texts) / (time.process_time() - start))
    assert max(rates) >= 250, rates
