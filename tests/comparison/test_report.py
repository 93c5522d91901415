import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from espalier.comparison import words
from espalier.comparison.compare import compare, read_comparison
from espalier.comparison.options import ComparisonOptions

ARMS, SEEDS = ("plain", "placebo", "masks"), (0, 1)
NOTE = "These patients are made up: the cohort is a phantom."
OPTIONS = ComparisonOptions(placebo="placebo", resamples=300, cohort_note=NOTE)
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Keeps every id, every address and whether each tag is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        self.text.append(text)

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in {"src", "href", "xlink:href", "action", "data"}:
                self.addresses.append(value or "")


def page_of(study: Path, options: ComparisonOptions = OPTIONS, arms: tuple[str, ...] = ARMS) -> str:
    compare(options, folder=study, arms=arms, seeds=SEEDS)
    return (study / "comparison/report.html").read_text(encoding="utf-8")


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_the_page_is_well_formed_and_its_ids_are_unique(study: Path) -> None:
    page = page_of(study)
    reader = read(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids)) > 50
    for drawing in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ET.fromstring(drawing)
    used = set(re.findall(r"url\(#([^)]+)\)", page)) | {a[1:] for a in reader.addresses if a.startswith("#")}
    assert used <= set(reader.ids)


def test_nothing_comes_from_outside(study: Path) -> None:
    page = page_of(study)
    assert all(address.startswith(("#", "data:image/png")) for address in read(page).addresses)
    assert not re.search(r"@import|url\((?!#)", page)
    assert set(re.findall(r'https?://[^"\s<]+', page)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_page_holds_the_numbers_of_comparison_json(study: Path) -> None:
    page = page_of(study)
    results = read_comparison(study)
    for arm in ARMS:
        assert words.area(results["arms"][arm]["macro"]["auroc"]) in page
    for table in ("differences", "against_placebo"):
        for own in results[table].values():
            assert words.points(own["macro"]["auroc"]) in page
    for own in results["differences"].values():
        for finding in own["findings"].values():
            assert words.points(finding["auroc"]) in page


def test_the_first_screen_answers_in_words(study: Path) -> None:
    text = "".join(read(page_of(study)).text)
    first = text[: text.index("Gain per finding")]
    gain = read_comparison(study)["differences"]["masks"]["macro"]["auroc"]
    assert "Did the masks help?" in first
    assert "Yes. The masks helped." in first
    assert f"{words.points(gain)} points, 95 % interval in brackets, on 60 test patients and 2 seeds" in first
    assert "the gain comes from the anatomy" in first
    assert "A training step took 1.25 times the time (0.626 s instead of 0.501 s) and 1.33 times the memory" in first
    assert "A prediction costs the same" in first
    assert NOTE in first


def test_when_the_interval_holds_nothing_the_page_says_that_it_is_not_shown(study: Path) -> None:
    page = page_of(study, replace(OPTIONS, baseline="masks", placebo="plain"), arms=("masks", "placebo", "plain"))
    assert "Arm placebo is worse than masks" in page
    page = page_of(study, replace(OPTIONS, placebo=None), arms=("plain", "placebo"))
    assert "Not shown. Whether the masks helped cannot be told" in page


def test_findings_with_few_positives_carry_the_mark(study: Path) -> None:
    text = "".join(read(page_of(study)).text)
    assert text.count("Cardiomegaly (interval not to be trusted)") == 2
    assert "Lung nodule (interval" not in text
    assert "Hiatal hernia: no positives" in text


def test_settings_show_what_differs_apart_from_what_is_shared(study: Path) -> None:
    text = "".join(read(page_of(study)).text)
    differs = text[text.index("What differs") : text.index("What all arms share")]
    assert "supervision.weight0.01.01.0" in differs
    assert "epochs" not in differs
    assert "epochs3" in text


def test_slices_with_masks_and_training_curves_are_shown(study: Path) -> None:
    page = page_of(study)
    assert page.count("data:image/png") == 4
    assert "Scan test-001, slice 11 of 20" in page
    assert "Macro AUROC, validation" in page
    assert "mask loss, nats" in page


@pytest.mark.parametrize("lost", ["runs", "store.json"])
def test_without_runs_or_store_the_page_still_tells_the_result(study: Path, lost: str) -> None:
    (study / lost).rename(study / "elsewhere")
    page = page_of(study)
    assert words.points(read_comparison(study)["differences"]["masks"]["macro"]["auroc"]) in page


def test_words_from_settings_are_escaped(study: Path) -> None:
    page = page_of(study, replace(OPTIONS, cohort_note="<script>alert(1)</script>"))
    assert "<script>" not in page
