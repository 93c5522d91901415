"""A patient who withdraws leaves neither answers of a language model nor words for a lexicon."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from espalier.cli.main import main
from espalier.cohort.forgotten import read_forgotten, remember_forgotten
from espalier.cohort.pseudonyms import pseudonym_of, read_key
from espalier.cohort.table import COHORT_COLUMNS, write_cohort
from espalier.labels.label import LABELS
from espalier.labels.link import read_link
from espalier.labels.model_cache import CACHE, forget_answers, open_cache, text_key
from espalier.labels.options import LabelOptions
from espalier.labels.reports import Reports, group_reports, read_tables
from espalier.labels.withdrawn import withdrawn

from .stub_model import answers, asked, said, stub

Cli = Callable[..., str]
STUDY = """
[cohort]
sources = ["scans"]
{cohort}
[labels]
reports = "reports.csv"
{labels}
[labels.model]
url = "{url}"
name = "stub"
order = ["lung_nodule", "atelectasis"]
"""
TEXTS = {"A1": "Small pleural effusion.", "A2": "No nodules.", "A3": "Normal chest.", "A4": "Normal chest."}


def write_study(folder: Path, url: str, *, cohort: str = "", labels: str = "", texts: dict[str, str] = TEXTS) -> Path:
    (folder / "study.toml").write_text(STUDY.format(url=url, cohort=cohort, labels=labels), encoding="utf-8")
    rows = "".join(f"{one},{text}\n" for one, text in texts.items())
    (folder / "reports.csv").write_text(f"accession,report\n{rows}", encoding="utf-8")
    return folder / "study.toml"


def write_scans(folder: Path, accessions: dict[str, str]) -> None:
    """Write a cohort of one scan for each accession number, of patients P1, P2, …."""
    empty: dict[str, Any] = dict.fromkeys(COHORT_COLUMNS)
    rows = [
        empty
        | {
            "scan": f"s{one[1:]}",
            "patient": f"P{one[1:]}",
            "accession": own,
            "source": f"scans/{one}",
            "notes": [],
            "files": [],
        }
        for one, own in accessions.items()
    ]
    write_cohort(folder, rows, key="k")


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Cli:
    """Return a function that runs one verb, and returns what it said once it ended well."""

    def run(*words: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        told = capfd.readouterr()
        assert ended.value.code in {0, 3}, told.err
        return told.out

    return run


def kept(folder: Path) -> tuple[int, set[str]]:
    """Return how many answers are kept, and the texts that they are about."""
    with closing(sqlite3.connect(folder / CACHE)) as connection:
        keys = [key for (key,) in connection.execute("SELECT key FROM answer")]
    return len(keys), {key[:32] for key in keys}


def test_forget_removes_what_a_model_answered_about_the_patient_and_nothing_else(say: Cli, tmp_path: Path) -> None:
    write_scans(tmp_path, {one: one for one in TEXTS})
    with stub(lambda request, _: said(answers(request, {}))) as server:
        path = write_study(tmp_path, server.url)
        say("label", path)
        assert kept(tmp_path) == (6, {text_key(text) for text in TEXTS.values()})
        before = (tmp_path / CACHE).read_bytes()
        told = say("forget", "P1", path)
        assert "files removed" in told
        assert kept(tmp_path) == (4, {text_key(TEXTS["A2"]), text_key(TEXTS["A3"])})
        # Two patients have this report word for word: it is the other's too.
        say("forget", "P3", path)
        assert kept(tmp_path) == (4, {text_key(TEXTS["A2"]), text_key(TEXTS["A3"])})
        say("forget", "P4", path)
        assert kept(tmp_path) == (2, {text_key(TEXTS["A2"])})
        gone = text_key(TEXTS["A1"]).encode()
        assert gone in before
        assert gone not in (tmp_path / CACHE).read_bytes()
        asked_before = len(server.requests)
        say("label", path)
        assert len(server.requests) == asked_before
    assert set(pl.read_parquet(tmp_path / LABELS)["report"]) == {"A2"}


def test_answers_are_found_by_the_id_of_the_scan_where_the_labels_are_gone(say: Cli, tmp_path: Path) -> None:
    write_scans(tmp_path, {one: one for one in TEXTS})
    with stub(lambda request, _: said(answers(request, {}))) as server:
        path = write_study(tmp_path, server.url)
        say("label", path)
        (tmp_path / LABELS).unlink()
        say("forget", "P1", path)
    assert kept(tmp_path) == (4, {text_key(TEXTS["A2"]), text_key(TEXTS["A3"])})


def test_answers_are_forgotten_under_pseudonyms_too(say: Cli, tmp_path: Path) -> None:
    secret = read_key(tmp_path / "key")
    write_scans(tmp_path, {one: pseudonym_of("accession", one, secret) for one in TEXTS})
    with stub(lambda request, _: said(answers(request, {}))) as server:
        path = write_study(tmp_path, server.url, cohort='pseudonyms = "key"')
        say("label", path)
        say("forget", "P1", path)
        assert text_key(TEXTS["A1"]) not in kept(tmp_path)[1]
        assert len(server.requests) == 3
        (tmp_path / "records" / "language_model.sqlite").unlink()
        assert json.loads(say("label", path, "--dry-run", "--json"))["reports"] == 2


def test_a_file_of_answers_names_no_report(say: Cli, tmp_path: Path) -> None:
    texts = {"ACC-4711": TEXTS["A1"]}
    write_scans(tmp_path, {"A1": "ACC-4711"})
    with stub(lambda request, _: said(answers(request, {}))) as server:
        say("label", write_study(tmp_path, server.url, texts=texts))
    assert b"ACC-4711" not in (tmp_path / CACHE).read_bytes()
    with open_cache(tmp_path) as cache:
        assert cache.forget(["ACC-4711"])
        assert not cache.forget(["ACC-4711"])


def test_answers_of_the_first_version_are_nobodys_and_go(say: Cli, tmp_path: Path) -> None:
    (tmp_path / CACHE).parent.mkdir()
    key = hashlib.sha256(b"old").hexdigest()
    with closing(sqlite3.connect(tmp_path / CACHE)) as old, old:
        old.execute("CREATE TABLE answer (key TEXT PRIMARY KEY, state TEXT, start INT, end INT) WITHOUT ROWID")
        old.execute("INSERT INTO answer VALUES (?, 'present', 1, 2)", (key,))
        old.execute(f"PRAGMA application_id = {0x45535041}")
        old.execute("PRAGMA user_version = 1")
    with stub(lambda request, _: said(answers(request, {}))) as server:
        write_scans(tmp_path, {one: one for one in TEXTS})
        say("label", write_study(tmp_path, server.url))
    assert kept(tmp_path)[0] == 6
    assert key.encode() not in (tmp_path / CACHE).read_bytes()


def test_answers_that_nobody_is_known_to_own_go_with_the_first_who_withdraws(tmp_path: Path) -> None:
    from espalier.labels.answers import Answer

    with open_cache(tmp_path) as cache:
        cache.put({text_key("a") + "0" * 32: Answer("not_mentioned"), text_key("b") + "0" * 32: Answer("not_mentioned")})
        cache.note([("B", text_key("b"))])
    assert forget_answers(tmp_path, ["C"]) == [tmp_path / CACHE]
    assert kept(tmp_path) == (1, {text_key("b")})
    assert forget_answers(tmp_path, ["C"]) == []


PHRASING = "Bronchi of coarse calibre in {}."


def test_suggestions_rest_on_no_report_of_a_forgotten_patient(say: Cli, tmp_path: Path) -> None:
    endings = ("segment six", "the lingula", "both lungs", "segment ten")
    texts = {f"A{n}": PHRASING.format(ending) for n, ending in enumerate(endings, start=1)}
    path = write_study(tmp_path, "http://127.0.0.1:1/v1", texts=texts)
    write_scans(tmp_path, {one: one for one in texts})
    counts = []
    for patient in ("P1", "P2"):
        told = json.loads(say("label", path, "--suggest", "--json"))["suggestions"]
        counts.append({n for _, words, n in told if words == "bronchi of coarse calibre"})
        say("forget", patient, path)
    assert counts == [{4}, {3}]
    assert json.loads(say("label", path, "--suggest", "--json"))["suggestions"] == []
    assert json.loads(say("label", path, "--dry-run", "--json"))["reports"] == 2


def grouped(folder: Path, *ids: str, **more: Any) -> tuple[Reports, LabelOptions]:
    text = "accession,report\n" + "".join(f"{one},No nodules in {n}.\n" for n, one in enumerate(ids))
    (folder / "reports.csv").write_text(text, encoding="utf-8")
    options = LabelOptions(reports="reports.csv", **more)
    return group_reports(read_tables(options, folder), options), options


def test_a_report_is_known_by_any_id_of_its_patients_scans(tmp_path: Path) -> None:
    reports, _ = grouped(tmp_path, "R1", "P2", "s3", "x/scan_4.nii.gz", "R5", "A6")
    remember_forgotten(
        tmp_path, {"report": ["R1"], "patient": ["P2"], "scan": ["s3"], "stem": ["x/scan_4"], "accession": ["A6"]}
    )
    forgotten = read_forgotten(tmp_path)
    assert withdrawn(reports, forgotten) == {"R1", "P2", "s3", "x/scan_4.nii.gz", "A6"}
    assert withdrawn(reports, forgotten, columns=("accession",)) == {"R1", "A6"}


def test_a_report_is_known_through_a_link_and_by_any_volume_of_its_scan(tmp_path: Path) -> None:
    (tmp_path / "link.csv").write_text("report_no,accession\nR1,A1\nR2,A2\n", encoding="utf-8")
    reports, options = grouped(tmp_path, "R1", "R2", link="link.csv")
    remember_forgotten(tmp_path, {"accession": ["A2"], "stem": ["valid_1_a_2"]})
    link = read_link(tmp_path / "link.csv", id_column=options.id_column)
    assert withdrawn(reports, read_forgotten(tmp_path), link=link) == {"R2"}
    volumes, _ = grouped(tmp_path, "valid_1_a_1.nii.gz", "valid_2_a_1.nii.gz")
    assert withdrawn(volumes, read_forgotten(tmp_path)) == set()
    remember_forgotten(tmp_path, {"stem": ["valid_2_a_1"]})
    assert withdrawn(volumes, read_forgotten(tmp_path)) == {"valid_2_a"}


def test_a_linked_report_does_not_come_back_where_the_labels_were_gone(say: Cli, tmp_path: Path) -> None:
    (tmp_path / "link.csv").write_text("report_no,accession\nA1,X1\nA2,X2\nA3,X3\nA4,X4\n", encoding="utf-8")
    write_scans(tmp_path, {one: f"X{one[1:]}" for one in TEXTS})
    with stub(lambda request, _: said(answers(request, {}))) as server:
        path = write_study(tmp_path, server.url, labels='link = "link.csv"')
        say("forget", "P1", path)
        say("label", path)
        assert not any(TEXTS["A1"] in request["messages"][1]["content"] for request in server.requests)
        assert {name for request in server.requests for name in asked(request)} == {"lung_nodule", "atelectasis"}
    assert set(pl.read_parquet(tmp_path / LABELS)["report"]) == {"A2", "A3", "A4"}
