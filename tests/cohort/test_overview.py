import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from espalier.cohort.contact_sheet import SHOWN, standing_out
from espalier.cohort.counts import answers, count, read_tables
from espalier.cohort.overview import PAGE, write_overview
from espalier.cohort.reasons import advice
from espalier.cohort.table import COHORT, COHORT_COLUMNS, write_cohort, write_duplicates
from espalier.errors import InputError, MissingError
from espalier.outputs import write_table
from espalier.stage import write_set_aside

from .made_up_tables import CANARIES, aside_row, cohort_row, give_look, series_row, write_tables

GAP = "Export the series again: slices are missing."
THICK = "Take another series."


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]


def page_of(table: Path) -> str:
    write_overview(table)
    return (table.parent / PAGE).read_text(encoding="utf-8")


def text_of(html: str) -> str:
    parser = Text()
    parser.feed(html[html.index("<main>") :])
    return " | ".join(word for word in parser.words if word)


def said(folder: Path, usable: int, aside: list[str], **other: object) -> list[str]:
    rows = [cohort_row(n, **other) for n in range(usable)]
    asides = [aside_row(100 + n, reason, GAP) for n, reason in enumerate(aside)]
    return answers(count(read_tables(write_tables(folder, rows, aside=asides))))


@pytest.mark.parametrize(
    ("usable", "aside", "sentence"),
    [
        (3, [], "All 3 scans are usable; none was set aside."),
        (1, [], "The only scan is usable."),
        (0, [], "No scan was found."),
        (1, ["missing_slice"], "1 of 2 scans is usable; 1 set aside, for missing slices."),
        (2, ["missing_slice"] * 2, "2 of 4 scans are usable; 2 set aside, all for missing slices."),
        (2, ["missing_slice", "not_hu", "not_hu"], "2 of 5 scans are usable; 3 set aside, most (2) for values that are no HU."),
        (2, ["a_new_code", "b", "c"], "2 of 5 scans are usable; 3 set aside, 1 of them for a new code."),
        (1, ["lossy", "lossy", "b", "c", "d"], "1 of 6 scans is usable; 5 set aside, 2 of them for compression with loss."),
        (0, ["not_hu"], "0 of 1 scan is usable; 1 set aside, for values that are no HU."),
    ],
)
def test_the_first_sentence_tells_how_many_are_usable_and_why_not_more(
    usable: int, aside: list[str], sentence: str, tmp_path: Path
) -> None:
    assert said(tmp_path, usable, aside)[0] == sentence


def test_patients_studies_notes_and_lost_studies_are_told(tmp_path: Path) -> None:
    rows = [cohort_row(n, patient=f"P{n // 2}", verdict="noted", notes=["thick_slices", "lossy"]) for n in range(3)]
    rows.append(cohort_row(3, patient="P1", verdict="noted", notes=["lossy"]))
    series = [series_row(n, patient=f"P{n // 2}") for n in range(6)]
    told = answers(count(read_tables(write_tables(tmp_path, rows, series=series))))
    assert told[1:] == [
        "They come from 2 patients and 4 studies.",
        "2 studies have no usable scan.",
        "4 carry a note, most often: compressed with loss (4).",
    ]


def test_the_page_holds_no_identifier_path_or_description(tmp_path: Path) -> None:
    rows = [cohort_row(n, verdict="noted", notes=["lossy"], spacing_z_mm=1.0 + n) for n in range(4)]
    series = [series_row(n, chosen=n < 4, why="thinner slices") for n in range(8)]
    aside = [
        aside_row(8, "not_hu", "Rename Zqname8.nii.gz."),
        aside_row(9, "not_hu", "Look into zqsource9."),
        aside_row(10, "gap", GAP),
    ]
    table = write_tables(tmp_path, rows, series=series, aside=aside)
    for row in rows:
        give_look(tmp_path, row["scan"])
    pairs = {"scan": rows[0]["scan"], "other_scan": rows[1]["scan"], "patient": "Zqpatient0", "other_patient": "Zqpatient1"}
    write_duplicates(tmp_path, [{**pairs, "kind": "same voxels"}], key="key")
    lines, data = write_overview(table)
    told = (tmp_path / PAGE).read_text(encoding="utf-8") + "\n".join(lines).replace(str(tmp_path), "") + str(data)
    everything = (
        str([pl.read_parquet(p).to_dicts() for p in tmp_path.glob("*.parquet")]) + (tmp_path / "set_aside.csv").read_text()
    )
    for canary in CANARIES:
        assert canary in everything
        assert canary.lower() not in told.lower()
    assert GAP in told


def test_advice_that_shares_a_plain_word_with_a_folder_is_still_given(tmp_path: Path) -> None:
    aside = [{**aside_row(1, "missing_slice", GAP), "source": "export/series/slices/one.dcm"}]
    assert GAP in page_of(write_tables(tmp_path, [cohort_row(0)], aside=aside))


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("scans/Jo.dcm", "Rename Jo."),
        ("scans/Jo/one.nii.gz", "Look into jo, please."),
        ("scans/Meier/1.dcm", "Unpack anna-meier-2.zip."),
        ("C:\\\\scans\\\\Meier", "Unpack Meier."),
    ],
)
def test_advice_that_quotes_a_part_of_a_path_is_left_out(source: str, told: str) -> None:
    rows = pl.DataFrame({"source": [source] * 3, "do": [told, told, GAP]})
    assert advice(rows) == GAP
    assert advice(rows.head(2)) == ""


def test_makers_and_kernels_are_counted_escaped_and_cut(tmp_path: Path) -> None:
    makers = ["SIEMENS", "SIEMENS", "Siemens ", "<script>x</script>", "", "M" * 99]
    rows = [cohort_row(n, manufacturer=name, kernel=f"K{n}") for n, name in enumerate(makers)]
    html = page_of(write_tables(tmp_path, rows))
    text = text_of(html)
    assert "SIEMENS | 3 · 50 %" in text
    assert "(not stated) | 1 · 16 %" in text or "(not stated) | 1 · 17 %" in text
    assert "<script>" not in html
    assert "M" * 41 not in html


def test_many_kernels_are_listed_up_to_a_limit(tmp_path: Path) -> None:
    text = text_of(page_of(write_tables(tmp_path, [cohort_row(n, kernel=f"K{n}") for n in range(30)])))
    assert "20 others | 20 · 67 %" in text


def test_reasons_stand_with_count_share_what_to_do_and_code(tmp_path: Path) -> None:
    aside = [aside_row(n, "missing_slice", GAP) for n in range(3)] + [aside_row(9, "slices_too_thick", THICK)]
    text = text_of(page_of(write_tables(tmp_path, [cohort_row(n) for n in range(20, 22)], aside=aside)))
    assert f"Missing slices | 3 | 75 % | {GAP} | missing_slice" in text
    assert f"Slices too far apart | 1 | 25 % | {THICK} | slices_too_thick" in text


def test_what_later_stages_set_aside_is_not_counted(tmp_path: Path) -> None:
    table = write_tables(tmp_path, [cohort_row(0), cohort_row(1)])
    write_set_aside(tmp_path, "label", [aside_row(1, "no_report", "Add a report.")])
    assert count(read_tables(table)).set_aside == {}


def test_figures_follow_from_what_the_table_states(tmp_path: Path) -> None:
    rows = [cohort_row(n, hu_p01=None, hu_median=None, hu_p99=None) for n in range(3)]
    text = text_of(page_of(write_tables(tmp_path, rows)))
    assert "Between slices, mm" in text
    assert "percentile" not in text


def test_a_table_with_the_promised_columns_alone_is_enough(tmp_path: Path) -> None:
    promised = list(COHORT_COLUMNS)[: list(COHORT_COLUMNS).index("site") + 1]
    frame = pl.DataFrame([{name: cohort_row(0)[name] for name in promised}], schema={n: COHORT_COLUMNS[n] for n in promised})
    write_table(tmp_path / COHORT, frame, kind="cohort")
    text = text_of(page_of(tmp_path / COHORT))
    assert "Coverage along the body, mm" in text
    assert "300 mm throughout" in text


def test_high_ages_are_shown_as_ninety(tmp_path: Path) -> None:
    text = text_of(page_of(write_tables(tmp_path, [cohort_row(0, age_years=97.0), cohort_row(1, age_years=103.0)])))
    assert "90 years throughout" in text
    assert "97" not in text


def test_splits_are_counted_in_scans_and_patients(tmp_path: Path) -> None:
    table = write_tables(tmp_path, [cohort_row(n) for n in range(4)])
    named = [("test", 3), ("train", 0), ("train", 1), ("validation", 2)]
    splits = [
        {"scan": cohort_row(n)["scan"], "patient": "P" if n < 2 else f"P{n}", "split": name, "why": ""} for name, n in named
    ]
    write_table(tmp_path / "splits.parquet", pl.DataFrame(splits), kind="splits")
    text = text_of(page_of(table))
    assert re.search(r"train, 1 patient \| 2 .*validation, 1 patient \| 1 .*test, 1 patient \| 1 ", text)
    assert write_overview(table)[1]["splits"]["train"] == {"scans": 2, "patients": 1}


def test_the_contact_sheet_shows_a_steady_spread_with_scan_and_spacing(tmp_path: Path) -> None:
    rows = [cohort_row(n) for n in range(SHOWN + 20)]
    table = write_tables(tmp_path, rows)
    for row in rows:
        give_look(tmp_path, row["scan"])
    html = page_of(table)
    assert html.count("data:image/png") == SHOWN
    assert f"{SHOWN} of {SHOWN + 20} scans, the middle slice" in html
    assert f"{rows[0]['scan']}\n3 × 0.75<" in html
    first = set(re.findall(r"alt=\"([0-9a-f]{16})", html))
    write_cohort(tmp_path, [*rows, cohort_row(10**9)], key="more")
    assert set(re.findall(r"alt=\"([0-9a-f]{16})", page_of(table))) == first


def test_scans_that_stand_out_are_shown_once_each_and_say_why(tmp_path: Path) -> None:
    rows = [cohort_row(n, hu_median=-700.0 + n / 10) for n in range(20)]
    rows[7] |= {"spacing_z_mm": 8.0, "coverage_mm": 120.0}
    rows[9] |= {"hu_median": 250.0}
    found = standing_out(pl.DataFrame(rows))
    names = [row["scan"] for row, _ in found]
    assert found[0] == (found[0][0], "thickest slices: 8 mm")
    assert found[0][0]["scan"] == rows[7]["scan"]
    assert (rows[9]["scan"], "unusual HU: median 250") in [(row["scan"], words) for row, words in found]
    assert len(set(names)) == len(names)


def test_the_thickest_of_mostly_thick_scans_does_not_stand_out() -> None:
    rows = [cohort_row(n, spacing_z_mm=5.0 if n < 15 else 2.0) for n in range(20)]
    assert standing_out(pl.DataFrame(rows)) == []


def test_equal_scans_do_not_stand_out() -> None:
    assert standing_out(pl.DataFrame([cohort_row(n) for n in range(20)])) == []


def test_without_looks_the_page_shows_no_pictures(tmp_path: Path) -> None:
    html = page_of(write_tables(tmp_path, [cohort_row(n) for n in range(4)]))
    assert "data:image" not in html
    assert "Contact sheet" not in html


def test_equal_tables_give_equal_bytes_and_nothing_from_outside(tmp_path: Path) -> None:
    pages = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        table = write_tables(folder, [cohort_row(n, spacing_z_mm=1 + n / 7) for n in range(9)])
        give_look(folder, cohort_row(1)["scan"])
        pages.append(page_of(table))
    assert pages[0] == pages[1]
    parser = Text()
    parser.feed(pages[0])
    assert parser.links
    assert [link for link in parser.links if not link.startswith("data:")] == []


def test_fifty_thousand_scans_make_a_small_page(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    count_of = 50_000
    one = pl.DataFrame([{name: cohort_row(0).get(name) for name in COHORT_COLUMNS}], schema=dict(COHORT_COLUMNS))
    many = pl.concat([one] * count_of).with_columns(
        scan=pl.Series([f"{n:016x}" for n in range(count_of)]),
        patient=pl.Series([f"P{n // 2}" for n in range(count_of)]),
        spacing_z_mm=pl.Series(rng.uniform(0.5, 8, count_of)),
        hu_median=pl.Series(rng.normal(-700, 99, count_of)),
        kernel=pl.Series([f"K{n % 999}" for n in range(count_of)]),
    )
    write_table(tmp_path / COHORT, many, kind="cohort")
    for n in range(SHOWN):
        give_look(tmp_path, f"{n:016x}", seed=n)
    html = page_of(tmp_path / COHORT)
    assert html.count("data:image/png") >= SHOWN
    assert len(html) < 5e6
    assert "All 50,000 scans are usable" in html


def test_a_missing_table_or_a_spoilt_list_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="espalier ingest"):
        write_overview(tmp_path / COHORT)
    table = write_tables(tmp_path, [cohort_row(0)])
    (tmp_path / "set_aside.csv").write_text("other,columns\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match="not the table that ingest wrote"):
        write_overview(table)
