"""Drawing an audit, filling it as people and spreadsheets do, and reading it back."""

import html
import json
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from espalier.cohort.csv_table import read_csv
from espalier.cohort.options import SplitOptions
from espalier.errors import InputError, MissingError, UseError, VersionError
from espalier.labels.audit import draw_audit, score_audit
from espalier.labels.audit_answers import answer_of
from espalier.labels.audit_draw import read_drawn
from espalier.labels.audit_forget import forget_audited
from espalier.labels.audit_sheet import Evidence, marked
from espalier.labels.audit_words import lines_of
from espalier.labels.findings import CT_RATE_TITLES, finding_id
from espalier.labels.label import LABELS, label, read_labels
from espalier.labels.options import LabelOptions

SENTENCES = (
    "Small pleural effusion & <b>some</b> atelectasis. Heart size is normal.",
    "No pleural effusion. Possible emphysema.",
    "Mr Canarius: a nodule of 5 mm in the right upper lobe. No pleural effusion or emphysema.",
    "Emphysema.\nCardiomegaly was observed.",
    "Normal chest CT.",
)
Told = Callable[[Mapping[str, str]], Mapping[str, str]]


def study(folder: Path, *, reports: int = 20, **more: str) -> LabelOptions:
    rows = "".join(f'00{n},"{SENTENCES[n % len(SENTENCES)]} Report {n}."\n' for n in range(reports))
    (folder / "reports.csv").write_text("accession,report\n" + rows, encoding="utf-8")
    options = LabelOptions(reports="reports.csv", **more)  # type: ignore[arg-type]
    label(options, SplitOptions(), folder=folder)
    return options


def as_the_rules_said(row: Mapping[str, str]) -> Mapping[str, str]:
    return {"reader_1": {"present": "1", "uncertain": "?"}.get(row["state"], "0")}


def fill(own: Path, told: Told, *, rows: int | None = None, encoding: str = "utf-8-sig", separator: str = ",") -> None:
    table = read_csv(own / "cells.csv")
    states = {cell.id: cell.state for cell in read_drawn(own).cells}
    lines = [separator.join(table.columns)]
    for n, row in enumerate(table.rows):
        values = dict(zip(table.columns, row, strict=True))
        if rows is None or n < rows:
            values |= told(values | {"state": states.get(values["cell"], "")})
        lines.append(separator.join(values[name] for name in table.columns))
    (own / "cells.csv").write_bytes("\r\n".join(lines).encode(encoding))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_audit_lies_beside_the_study_for_its_owner_only(tmp_path: Path) -> None:
    summary = draw_audit(study(tmp_path), folder=tmp_path, cells=6)
    own = tmp_path / "audit" / "1"
    assert summary.wrote == tuple(own / name for name in ("sheet.html", "cells.csv", "drawn.json"))
    assert [mode(path) for path in (tmp_path / "audit", own)] == [0o700, 0o700]
    assert [mode(path) for path in summary.wrote] == [0o600] * 3
    assert "Canarius" not in summary.words


def test_the_table_to_fill_has_a_row_for_each_question_and_opens_in_a_spreadsheet(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=6)
    path = tmp_path / "audit" / "1" / "cells.csv"
    assert path.read_bytes().startswith(b"\xef\xbb\xbfcell,report,finding,state,reader_1,reader_2,agreed,comment\n")
    table = read_csv(path)
    assert len(table.rows) == len({row[0] for row in table.rows}) == len(read_drawn(path.parent).cells)
    assert {row[1] for row in table.rows} <= {f"00{n}" for n in range(20)}
    assert all(re.fullmatch(r"[bcdfghjkmnpqrstvwxz]{4}_\d{4}", row[0]) for row in table.rows)
    states = {(r, f): s for r, f, s in read_labels(tmp_path).select("report", "finding", "state").iter_rows()}
    assert all(states[row[1], row[2]] == row[3] for row in table.rows)


def test_an_id_that_a_spreadsheet_would_run_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "reports.csv").write_text('accession,report\n"=1+1","Emphysema."\nb,"No emphysema."\n', encoding="utf-8")
    options = LabelOptions(reports="reports.csv")
    label(options, SplitOptions(), folder=tmp_path)
    draw_audit(options, folder=tmp_path, cells=3)
    assert {row[1] for row in read_csv(tmp_path / "audit" / "1" / "cells.csv").rows} == {"'=1+1", "b"}


def test_the_sheet_shows_each_report_once_with_its_questions_and_the_evidence_marked(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=6)
    own = tmp_path / "audit" / "1"
    page, drawn = (own / "sheet.html").read_text(encoding="utf-8"), read_drawn(own)
    assert page.count("<article") == len(drawn.reports)
    assert all(page.count(f'id="{cell.id}"') == 1 for cell in drawn.cells)
    assert "This page holds the text of patients&#x27; reports." in page
    assert re.search(r"<mark[^>]*>pleural effusion</mark>", page)
    assert "&lt;b&gt;" in page
    assert "<b>some" not in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    texts = [
        re.sub(r"<sup[^>]*>\d+</sup>|<[^>]+>", "", text)
        for text in re.findall(r'<div class="text"[^>]*>(.*?)</div>', page, re.DOTALL)
    ]
    for report, text in zip(drawn.reports, texts, strict=True):
        assert html.unescape(text) == f"{SENTENCES[int(report) % len(SENTENCES)]} Report {int(report)}."


def test_the_filter_needs_no_script_and_every_question_keeps_its_number(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=6)
    page = (tmp_path / "audit" / "1" / "sheet.html").read_text(encoding="utf-8")
    names = re.findall(r'<input type="radio" name="finding" id="(\w+)"', page)
    assert len(names) == 1 + 18
    assert all(f"#{name}:checked~article:not(.{name})" in page for name in names[1:])
    assert page.index('<input type="radio"') < page.index("<article")
    for article in re.findall(r"<article.*?</article>", page, re.DOTALL):
        numbers = re.findall(r'<li [^>]*value="(\d+)"', article)
        assert len(numbers) == article.count("<li") > 0
        assert numbers == [str(n) for n in range(1, len(numbers) + 1)]


def test_a_blind_audit_hides_what_the_rules_said(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=6, blind=True)
    own = tmp_path / "audit" / "1"
    page = (own / "sheet.html").read_text(encoding="utf-8")
    assert "state" not in read_csv(own / "cells.csv").columns
    assert "<mark" not in page
    assert "rules: " not in page
    assert "What the rules said is not shown." in page


def test_reports_that_were_audited_or_used_for_the_rules_are_not_drawn_again(tmp_path: Path) -> None:
    options = study(tmp_path, reports=40)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "leave_out.csv").write_text("accession\n000\n001\n", encoding="utf-8")
    draw_audit(options, folder=tmp_path, cells=6)
    summary = draw_audit(options, folder=tmp_path, cells=6)
    first, second = (read_drawn(tmp_path / "audit" / n) for n in ("1", "2"))
    assert (first.number, second.number) == (1, 2)
    assert not set(first.reports) & set(second.reports)
    assert not {"000", "001"} & set(first.reports + second.reports)
    assert f"{len(first.reports) + 2} reports were left out" in summary.words
    assert not {c.id for c in first.cells} & {c.id for c in second.cells}
    draw_audit(options, folder=tmp_path, cells=200)
    with pytest.raises(InputError, match="no report is left to draw"):
        draw_audit(options, folder=tmp_path, cells=6)


def test_a_list_of_other_ids_to_leave_out_is_refused(tmp_path: Path) -> None:
    options = study(tmp_path)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "leave_out.csv").write_text("accession\nX\n", encoding="utf-8")
    with pytest.raises(InputError, match="none of its ids is that of a report"):
        draw_audit(options, folder=tmp_path, cells=6)


def test_a_list_to_leave_out_may_name_any_volume_of_a_report(tmp_path: Path) -> None:
    rows = "".join(f"train_{n + 1}_a_{k}.nii.gz,No emphysema in {n}.\n" for n in range(6) for k in (1, 2))
    (tmp_path / "reports.csv").write_text("accession,report\n" + rows, encoding="utf-8")
    options = LabelOptions(reports="reports.csv")
    label(options, SplitOptions(), folder=tmp_path)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "leave_out.csv").write_text("accession\ntrain_4_a_2.nii.gz\n", encoding="utf-8")
    draw_audit(options, folder=tmp_path, cells=90)
    assert set(read_drawn(tmp_path / "audit" / "1").reports) == {f"train_{n + 1}_a" for n in (0, 1, 2, 4, 5)}


def test_reports_under_pseudonyms_are_found_again(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 64, encoding="utf-8")
    (tmp_path / "key").chmod(0o600)
    options = study(tmp_path)
    label(options, SplitOptions(), folder=tmp_path, pseudonyms="key")
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "leave_out.csv").write_text("accession\n000\n", encoding="utf-8")
    draw_audit(options, folder=tmp_path, cells=90, pseudonyms="key")
    drawn = read_drawn(tmp_path / "audit" / "1")
    assert len(drawn.reports) == 19
    assert set(drawn.reports) < set(read_labels(tmp_path)["report"])
    assert not set(drawn.reports) & {f"00{n}" for n in range(20)}


def test_an_audit_needs_labels_from_reports_that_have_not_changed(tmp_path: Path) -> None:
    with pytest.raises(UseError, match="at least 3"):
        draw_audit(LabelOptions(reports="reports.csv"), folder=tmp_path, cells=2)
    with pytest.raises(UseError, match="labels from a table"):
        draw_audit(LabelOptions(table="labels.csv"), folder=tmp_path, cells=9)
    options = study(tmp_path)
    text = (tmp_path / "reports.csv").read_text(encoding="utf-8")
    (tmp_path / "reports.csv").write_text(text.replace("pleural effusion", "hernia"), encoding="utf-8")
    with pytest.raises(InputError, match="not as they were when they were labelled"):
        draw_audit(options, folder=tmp_path, cells=90)
    assert not (tmp_path / "audit" / "1" / "drawn.json").exists()


def test_trauma_labels_are_audited_with_the_evidence_of_the_whole_structure(tmp_path: Path) -> None:
    (tmp_path / "reports.csv").write_text(
        'accession,report\na,"Grade IV liver laceration."\nb,"Liver: normal."\n', encoding="utf-8"
    )
    options = LabelOptions(reports="reports.csv", lexicon="ratic")
    label(options, SplitOptions(), folder=tmp_path)
    draw_audit(options, folder=tmp_path, cells=6)
    page = (tmp_path / "audit" / "1" / "sheet.html").read_text(encoding="utf-8")
    article = next(a for a in re.findall(r"<article.*?</article>", page, re.DOTALL) if "Grade" in a)
    healthy = re.search(r'<li class="(f\d+)"[^>]*><b>liver_healthy', article)
    assert healthy is not None
    assert re.search(rf'<mark class="[^"]*\b{healthy.group(1)}\b[^"]*">', article)


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        *(
            (word, "present")
            for word in ("1", "1.0", "yes", "YES ", "Present", "ja", "evet", "EVET", "x", "+", "'+", "TRUE", "Doğru")
        ),
        *(
            (word, "absent")
            for word in ("0", "no", "No.", "absent", "nein", "hayır", "HAYIR", "HAYİR", "yok", "not_mentioned", "FALSE")
        ),
        *((word, "uncertain") for word in ("?", "uncertain", "0,5", "möglich", "şüpheli", "belirsiz", "Unklar")),
        *((word, None) for word in ("", "2", "perhaps not", "-", "01.02.2024", "#REF!")),
    ],
)
def test_answers_are_understood_in_the_words_of_people(word: str, answer: str | None) -> None:
    assert answer_of(word) == answer


@pytest.mark.parametrize(("encoding", "separator"), [("utf-8", ","), ("utf-16", "\t"), ("cp1254", ";"), ("cp1252", ";")])
def test_a_filled_table_is_read_as_any_spreadsheet_saves_it(tmp_path: Path, encoding: str, separator: str) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=9)
    own = tmp_path / "audit" / "1"
    words = {"present": "EVET", "uncertain": "?"}
    fill(own, lambda row: {"reader_1": words.get(row["state"], "Nein")}, encoding=encoding, separator=separator)
    result = score_audit(own)
    assert result.answered == result.drawn
    assert {estimate.value for estimate, _ in result.macro.values() if estimate} == {1.0}


def test_a_score_tells_each_finding_and_writes_it_without_a_report_or_its_text(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=30)
    own = tmp_path / "audit" / "1"
    right = as_the_rules_said

    def told(row: Mapping[str, str]) -> Mapping[str, str]:
        wrong = row["finding"] == "pleural_effusion" and row["report"] == "000"
        return {"reader_1": "0"} if wrong else right(row)

    fill(own, told)
    result = score_audit(own)
    effusion = result.findings["pleural_effusion"]
    assert effusion.measures["precision"].value == pytest.approx(3 / 4)  # type: ignore[union-attr]
    assert effusion.measures["recall"].value == 1  # type: ignore[union-attr]
    assert effusion.flip_rates["present"][0].value == pytest.approx(3 / 4)  # type: ignore[union-attr]
    told_json = json.loads((own / "score.json").read_text(encoding="utf-8"))
    assert told_json["findings"]["pleural_effusion"]["precision"]["value"] == pytest.approx(3 / 4)
    assert set(told_json["findings"]["emphysema"]["flip_rates"]) == {"present", "uncertain", "absent", "not_mentioned"}
    lines = lines_of(result)
    assert lines[0].split() == ["finding", "cells", "precision", "recall", "F1", "specificity"]
    assert next(line for line in lines if line.startswith("pleural_effusion")).split()[2:4] == ["0.75", "(0.30–0.95)"]
    spoken = "\n".join(lines) + (own / "score.json").read_text("utf-8") + (own / "score.html").read_text("utf-8")
    for word in ("Canarius", "Heart size", *(f"00{n}" for n in range(20))):
        assert not re.search(rf"(?<![\d.]){word}(?!\d)", spoken), word


def test_half_a_sheet_is_scored_and_told(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=9)
    own = tmp_path / "audit" / "1"
    fill(own, as_the_rules_said, rows=40)
    result = score_audit(own / "cells.csv")
    assert result.answered == 40 < result.drawn
    assert result.notes[0] == f"{result.drawn - 40} of {result.drawn} cells have no answer yet; the others stand for them."


def test_two_readers_in_copies_of_their_own_are_joined(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=9)
    own = tmp_path / "audit" / "1"
    empty = (own / "cells.csv").read_bytes()
    first = read_drawn(own).reports[0]
    fill(own, lambda row: {"reader_2": as_the_rules_said(row)["reader_1"] if row["report"] != first else "?"})
    (own / "cells.csv").rename(own / "cells second reader.csv")
    (own / "cells.csv").write_bytes(empty)
    fill(own, as_the_rules_said)
    result = score_audit(own)
    differing = [c for c in read_drawn(own).cells if c.report == first and c.state != "uncertain"]
    assert result.agreement.cells == result.drawn
    assert result.disagreements == tuple(c.id for c in differing) != ()
    assert result.agreement.kappa is not None
    assert 0 < result.agreement.kappa.low < result.agreement.kappa.value < result.agreement.kappa.high < 1
    assert any(line.startswith("Readers: ") and f"{len(differing)} cells to talk about" in line for line in lines_of(result))


def test_cells_that_are_no_answer_are_told_by_row_and_not_said_again(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=9)
    own = tmp_path / "audit" / "1"
    third = read_drawn(own).cells[2].id
    fill(own, lambda row: {"reader_1": "Mr Canarius" if row["cell"] == third else "1"})
    with pytest.raises(InputError, match="no answer in row 4, reader_1; expected 1, 0 or") as refused:
        score_audit(own)
    assert "Canarius" not in str(refused.value)
    assert not (own / "score.json").exists()


def test_an_unfilled_table_one_of_another_audit_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    options = study(tmp_path, reports=40)
    draw_audit(options, folder=tmp_path, cells=6)
    draw_audit(options, folder=tmp_path, cells=6)
    first, second = tmp_path / "audit" / "1", tmp_path / "audit" / "2"
    with pytest.raises(InputError, match="no answers"):
        score_audit(first)
    fill(first, as_the_rules_said)
    (second / "cells.csv").write_bytes((first / "cells.csv").read_bytes())
    with pytest.raises(InputError, match="no cell of this audit in row 2, 3"):
        score_audit(second)
    (second / "cells.csv").unlink()
    with pytest.raises(InputError, match="no such file"):
        score_audit(second)
    with pytest.raises(MissingError, match="there is no audit here"):
        score_audit(tmp_path / "audit" / "3")


def test_a_table_whose_heading_was_changed_is_refused_with_the_name_that_is_missing(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=6)
    path = tmp_path / "audit" / "1" / "cells.csv"
    path.write_bytes(path.read_bytes().replace(b"reader_1", b"reader one"))
    with pytest.raises(InputError, match="no column reader_1"):
        score_audit(path)


def test_a_sheet_of_other_labels_is_refused_and_other_targets_are_no_other_labels(tmp_path: Path) -> None:
    options = study(tmp_path)
    draw_audit(options, folder=tmp_path, cells=6)
    own = tmp_path / "audit" / "1"
    fill(own, as_the_rules_said)
    label(LabelOptions(reports="reports.csv", uncertain="ignore"), SplitOptions(), folder=tmp_path)
    assert score_audit(own).answered > 0
    text = (tmp_path / "reports.csv").read_text(encoding="utf-8")
    (tmp_path / "reports.csv").write_text(text.replace("Normal chest CT", "Hiatal hernia"), encoding="utf-8")
    label(options, SplitOptions(), folder=tmp_path)
    with pytest.raises(InputError, match="labels that changed since this audit was drawn"):
        score_audit(own)


def test_a_report_is_forgotten_in_every_audit_and_the_rest_still_counts(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=30)
    own = tmp_path / "audit" / "1"
    fill(own, as_the_rules_said)
    before = score_audit(own).answered
    changed = forget_audited(tmp_path, ["002"])
    assert {path.name for path in changed} == {"sheet.html", "score.json", "score.html", "cells.csv", "drawn.json"}
    left = pl.read_parquet(tmp_path / LABELS).filter(pl.col("report") != "002")
    left.write_parquet(tmp_path / LABELS, metadata={"espalier": json.dumps({"kind": "labels", "version": 1})})
    after = score_audit(own)
    assert 0 < after.answered < before
    assert not any(re.search(rb',002,|"002"', path.read_bytes()) for path in own.iterdir())
    assert forget_audited(tmp_path, ["002"]) == []


def test_audits_have_kinds_of_their_own_and_those_made_before_still_count(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=30)
    own = tmp_path / "audit" / "1"
    fill(own, as_the_rules_said)
    told = json.loads((own / "drawn.json").read_text())
    assert told["espalier"] == {"kind": "audit", "version": 1}
    told["espalier"]["kind"] = "record"
    (own / "drawn.json").write_text(json.dumps(told))
    answered = score_audit(own).answered
    assert json.loads((own / "score.json").read_text())["espalier"]["kind"] == "audit_score"
    forget_audited(tmp_path, ["002"])
    assert json.loads((own / "drawn.json").read_text())["espalier"]["kind"] == "audit"
    assert 0 < len(read_drawn(own).cells) < answered


@pytest.mark.parametrize(
    ("stamp", "error", "says"),
    [
        ({"kind": "audit_score", "version": 1}, InputError, "expected kind 'audit'"),
        ({"kind": "record", "version": 1}, InputError, "not the record of an audit"),
        ({"kind": "audit", "version": 2}, VersionError, "Install the newer Espalier"),
    ],
)
def test_another_file_in_the_place_of_a_draw_is_refused(
    stamp: dict[str, Any], error: type[Exception], says: str, tmp_path: Path
) -> None:
    (tmp_path / "drawn.json").write_text(json.dumps({"espalier": stamp, "rows": []}))
    with pytest.raises(error, match=says):
        read_drawn(tmp_path)


def test_a_draw_that_was_killed_is_drawn_again_and_forgotten_whole(tmp_path: Path) -> None:
    options = study(tmp_path)
    draw_audit(options, folder=tmp_path, cells=6)
    own = tmp_path / "audit" / "1"
    whole = {path.name: path.read_bytes() for path in own.iterdir()}
    (own / "drawn.json").unlink()
    draw_audit(options, folder=tmp_path, cells=6)
    assert {path.name: path.read_bytes() for path in own.iterdir()} == whole
    (own / "drawn.json").unlink()
    assert {path.name for path in forget_audited(tmp_path, ["002"])} == {"sheet.html", "cells.csv"}
    assert list(own.iterdir()) == []


def test_overlapping_evidence_is_marked_for_each_of_its_questions() -> None:
    one = Evidence("a", 0, 22, 6, 14)
    other = Evidence("b", 0, 22, 10, 18)
    text = marked("There ABCDEFGHIJKL <x>.", {1: ("f0", [one]), 2: ("f1", [other])})
    assert re.sub(r"<sup.*?/sup>|<[^>]+>", "", text) == "There ABCDEFGHIJKL &lt;x&gt;."
    assert '<mark class="f0 f1">EFGH</mark>' in text
    assert '<sup class="f0">1</sup>' in text
    assert "&lt;x&gt;" in text


@pytest.mark.real
def test_an_audit_of_real_reports_finds_what_all_their_manual_labels_say(real_data: Path, tmp_path: Path) -> None:
    source = read_csv(real_data / "reports" / "ct_rate_reports_300.csv")
    ids = source.column("AccessionNo", setting="id_column")
    manual = {
        (one, finding_id(title)): cell == "1"
        for title in CT_RATE_TITLES
        for one, cell in zip(ids, source.column(title, setting="table"), strict=True)
    }
    (tmp_path / "reports.csv").write_bytes((real_data / "reports" / "ct_rate_reports_300.csv").read_bytes())
    options = LabelOptions(reports="reports.csv", id_column="AccessionNo", text_column="report_text")
    label(options, SplitOptions(), folder=tmp_path)
    states = read_labels(tmp_path).select("report", "finding", "state").rows()
    hits, means = [], []
    for seed in range(5):
        draw_audit(options, folder=tmp_path, cells=90, seed=seed)
        own = tmp_path / "audit" / "1"
        fill(own, lambda row: {"reader_1": "1" if manual[row["report"], row["finding"]] else "0"})
        result = score_audit(own)
        known = {}
        for finding, one in result.findings.items():
            pairs = [(s in {"present", "uncertain"}, manual[r, f]) for r, f, s in states if f == finding]
            tp, fp, fn = pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True))
            known[finding] = {"precision": tp / (tp + fp), "recall": tp / (tp + fn), "f1": 2 * tp / (2 * tp + fp + fn)}
            for name, right in known[finding].items():
                estimate = one.measures[name]
                assert estimate is not None
                hits.append(estimate.low <= right <= estimate.high)
        for name in ("precision", "recall", "f1"):
            estimate = result.macro[name][0]
            assert estimate is not None
            right = sum(own[name] for own in known.values()) / len(known)
            means.append(estimate.low <= right <= estimate.high)
        for path in own.iterdir():
            path.unlink()
    assert sum(hits) / len(hits) >= 0.92
    assert sum(means) / len(means) >= 0.8


@pytest.mark.parametrize("name", ["finding", "report"])
def test_answers_in_rows_of_another_finding_or_report_are_refused(tmp_path: Path, name: str) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=6)
    own = tmp_path / "audit" / "1"
    others = [getattr(cell, name) for cell in read_drawn(own).cells]
    fill(own, lambda row: as_the_rules_said(row) | {name: next(o for o in others if o != row[name])}, rows=1)
    with pytest.raises(InputError, match=rf"another {name} than the cell has in row 2\b"):
        score_audit(tmp_path / "audit" / "1")


def test_codes_sorted_apart_from_their_rows_are_refused(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=6)
    own = tmp_path / "audit" / "1"
    codes = iter(sorted((cell.id for cell in read_drawn(own).cells), reverse=True))
    table = read_csv(own / "cells.csv")
    lines = [",".join(table.columns), *(",".join([next(codes), *row[1:4], "1", *row[5:]]) for row in table.rows)]
    (own / "cells.csv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError, match="than the cell has in row"):
        score_audit(tmp_path / "audit" / "1")


def test_ids_that_a_spreadsheet_spoilt_do_not_stop_the_score(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=6)
    own = tmp_path / "audit" / "1"
    fill(
        own, lambda row: as_the_rules_said(row) | {"report": row["report"].lstrip("0") if row["report"] < "003" else "1.2E+19"}
    )
    assert score_audit(tmp_path / "audit" / "1").findings


def test_a_second_reader_in_the_first_ones_column_is_told_to_use_the_other(tmp_path: Path) -> None:
    draw_audit(study(tmp_path), folder=tmp_path, cells=6)
    own = tmp_path / "audit" / "1"
    fill(own, as_the_rules_said)
    first = (own / "cells.csv").read_bytes()
    fill(own, lambda row: {"reader_1": "0" if row["reader_1"] == "1" else "1"})
    (own / "cells-second.csv").write_bytes(first)
    with pytest.raises(InputError, match="reader_1 differs from an earlier row or table") as caught:
        score_audit(tmp_path / "audit" / "1")
    assert "reader_2" in caught.value.do
    assert len(str(caught.value)) < 400
