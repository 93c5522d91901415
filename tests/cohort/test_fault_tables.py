"""Faults 59 to 67: tables as spreadsheets and people leave them, joined to scans whose ids are just as odd."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest

from espalier.cli.main import main
from espalier.cohort.ingest import ingest
from espalier.cohort.options import CohortOptions
from espalier.cohort.table import read_cohort
from espalier.errors import DONE, DONE_WITH_SET_ASIDE, FAILED

from .fault_scans import clean, save

IDS = ("007", "1E05", "1234567890123456", "NA", "A/../7", "Şükrü-1")
"""Accession numbers: leading zeros, a number to a spreadsheet, too long for one, a word for nothing, a path, Turkish."""
TEXT = "Findings: There is cardiomegaly. No pleural effusion.\nImpression: Cardiomegaly."
TURKISH = "Kalp boyutları artmıştır. Akciğerde nodül izlenmedi, plevral sıvı yok. Cardiomegaly."
GERMAN = "Herz vergrößert. Keine Ergüsse, kein Infiltrat für die Lunge nachweisbar. Cardiomegaly."
STUDY = '[cohort]\nsources = ["scans"]\n[labels]\nreports = "reports.csv"\n'

Study = Callable[..., Path]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for n, one in enumerate(IDS):
        slices = clean(folder / "scans" / f"p{n}")
        for dataset in slices:
            dataset.SpecificCharacterSet, dataset.AccessionNumber = "ISO_IR 192", one
            dataset.StudyInstanceUID = f"1.2.3.{n}"
        save(folder / "scans" / f"p{n}", slices)
    ingest(CohortOptions(sources=("scans",)), folder=folder)
    return folder


@pytest.fixture
def study(ingested: Path, tmp_path: Path) -> Study:
    def write(table: bytes, settings: str = "") -> Path:
        for name in ("cohort.parquet", "set_aside.csv"):
            shutil.copy(ingested / name, tmp_path)
        (tmp_path / "reports.csv").write_bytes(table)
        (tmp_path / "study.toml").write_text(STUDY + settings, encoding="utf-8")
        return tmp_path

    return write


def label(folder: Path) -> int:
    with pytest.raises(SystemExit) as left:
        main(["label", str(folder), "--workers", "1"])
    assert isinstance(left.value.code, int)
    return left.value.code


def table_of(texts: Mapping[str, str], separator: str = ",", end: str = "\r\n") -> str:
    rows = [separator.join(f'"{cell}"' for cell in row) for row in (("accession", "report"), *texts.items())]
    return end.join(rows) + end


def labels(folder: Path) -> dict[str, str]:
    """Return per scan whether its heart was read as large."""
    frame = pl.read_parquet(folder / "labels.parquet").filter(pl.col("finding") == "cardiomegaly")
    accession = dict(read_cohort(folder).select("scan", "accession").iter_rows())
    return {accession[scan]: state for scan, state in frame.select("scan", "state").iter_rows() if scan}


def unmatched(folder: Path) -> list[dict[str, str]]:
    return pl.read_csv(folder / "unmatched.csv", infer_schema=False).fill_null("").to_dicts()


def all_ids(text: str = TEXT) -> dict[str, str]:
    return dict.fromkeys(IDS, text)


PRESENT = dict.fromkeys(IDS, "present")


@pytest.mark.parametrize(
    ("encoding", "text", "words"),
    [
        ("utf-8-sig", TURKISH, "UTF-8"),
        ("utf-16", TURKISH, "UTF-16"),
        ("utf-16-le", TURKISH, "UTF-16"),
        ("cp1254", TURKISH, "Windows-1254"),
        ("cp1252", GERMAN, "Windows-1252"),
    ],
)
def test_59_an_encoding_is_found_and_told(
    study: Study, capsys: pytest.CaptureFixture[str], encoding: str, text: str, words: str
) -> None:
    ids = [one for one in IDS if encoding != "cp1252" or one.isascii()]
    folder = study(table_of(dict.fromkeys(ids, text)).encode(encoding))
    assert label(folder) == (DONE if ids == list(IDS) else DONE_WITH_SET_ASIDE)
    assert labels(folder) == dict.fromkeys(ids, "present")
    sentence = next(part for part in text.replace("\n", " ").split(". ") if "ardiomegaly" in part).rstrip(".")
    assert set(pl.read_parquet(folder / "evidence.parquet")["evidence"].str.strip_chars(" .")) == {sentence}
    assert words in capsys.readouterr().out


def test_59_a_table_that_two_encodings_fit_is_refused_until_one_is_named(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    table = b'accession,report\r\n007,"Cardiomegaly. Dr \xddz"\r\n'
    assert label(study(table)) == FAILED
    told = capsys.readouterr().err
    assert "row 2" in told
    assert "encoding = " in told
    assert label(study(table, 'encoding = "cp1254"\n')) == DONE_WITH_SET_ASIDE


def test_59_a_byte_that_is_no_utf_8_is_named_with_its_row(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of(all_ids(TURKISH)).encode()
    assert label(study(table.replace("nodül".encode(), b"nod\xfcl", 1))) == FAILED
    assert "row 2" in capsys.readouterr().err


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_60_separators_and_line_ends_are_found(study: Study, separator: str, end: str) -> None:
    text = 'Findings: size 3,5 cm; "quoted"\n\nThere is cardiomegaly, | and more; yes.'.replace('"', '""')
    assert label(study(table_of(all_ids(text), separator, end).encode())) == DONE


def test_60_decimal_commas_are_numbers_of_a_published_table(study: Study) -> None:
    rows = "".join(f"{one};1,0\r\n" for one in IDS)
    folder = study(f"accession;cardiomegaly\r\n{rows}".encode())
    (folder / "study.toml").write_text('[cohort]\nsources = ["scans"]\n[labels]\ntable = "reports.csv"\n', encoding="utf-8")
    assert label(folder) == DONE
    assert labels(folder) == PRESENT


def test_61_ids_stay_text(study: Study) -> None:
    rows = "".join(f"{one},Cardiomegaly.\n" for one in IDS)
    folder = study(f"accession,report\n{rows}".encode())
    assert label(folder) == DONE
    assert labels(folder) == PRESENT


@pytest.mark.parametrize("ruined", ["1.23457E+15", "1,23457E+15"])
def test_61_ids_that_a_spreadsheet_has_ruined_are_refused(
    study: Study, capsys: pytest.CaptureFixture[str], ruined: str
) -> None:
    assert label(study(table_of({**all_ids(), ruined: TEXT}).encode())) == FAILED
    assert "row 8" in capsys.readouterr().err


@pytest.mark.parametrize("day", ["01.02.2020", "02/01/2020", "2020-02-01", "43862", "42400"])
def test_62_a_date_of_any_style_changes_nothing(study: Study, day: str) -> None:
    rows = "".join(f"{one},{day},Cardiomegaly.\n" for one in IDS)
    folder = study(f"accession,date,report\n{rows}".encode())
    assert label(folder) == DONE
    assert labels(folder) == PRESENT


def test_63_rows_that_repeat_each_other_are_one_report(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of(all_ids()) + table_of({"007": TEXT}).partition("\r\n")[2]
    folder = study(table.encode())
    assert label(folder) == DONE
    assert labels(folder) == PRESENT
    assert "1 rows repeat another" in capsys.readouterr().out


def test_63_two_different_reports_of_a_study_are_set_aside(study: Study) -> None:
    table = table_of(all_ids()) + table_of({"007": "No cardiomegaly."}).partition("\r\n")[2]
    folder = study(table.encode())
    assert label(folder) == DONE_WITH_SET_ASIDE
    assert labels(folder) == {one: "present" for one in IDS if one != "007"}
    assert {row["reason"] for row in unmatched(folder)} == {"conflicting_reports"}
    assert pl.read_csv(folder / "set_aside.csv", infer_schema=False)["reason"].to_list() == ["conflicting_reports"]


def test_64_both_sides_of_a_mismatch_are_listed(study: Study) -> None:
    texts = {**all_ids(), "ELSE-1": TEXT}
    del texts["1E05"]
    folder = study(table_of(texts).encode())
    assert label(folder) == DONE_WITH_SET_ASIDE
    listed = {(row["side"], row["id"], row["reason"]) for row in unmatched(folder)}
    assert listed == {("report", "ELSE-1", "no_scan"), ("scan", "", "no_report")}


@pytest.mark.parametrize("word", ["", "NA", "-", "yok", "keine", "n/a"])
def test_65_a_word_for_nothing_is_no_report_but_stays_an_id(study: Study, word: str) -> None:
    folder = study(table_of({**all_ids(), "007": word}).encode())
    label(folder)
    assert labels(folder) == {**PRESENT, "007": "failed"}


def test_66_an_id_that_is_a_path_names_a_scan_and_no_file(study: Study) -> None:
    folder = study(table_of(all_ids()).encode())
    assert label(folder) == DONE
    assert labels(folder)["A/../7"] == "present"
    assert {path.name for path in folder.iterdir() if path.is_dir()} <= {"records"}


@pytest.mark.parametrize("odd", ["Ş\u200bükrü-1", "S\u0327u\u0308kru\u0308-1", "\u202eŞükrü-1", " Şükrü-1 ", '="007"'])
def test_66_ids_are_compared_without_marks_that_nobody_sees(study: Study, odd: str) -> None:
    rows = f"{odd},Cardiomegaly.\n" if odd.startswith("=") else f'"{odd}",Cardiomegaly.\n'
    folder = study(f"accession,report\n{rows}".encode())
    label(folder)
    assert list(labels(folder).values()) == ["present"]


def test_66_a_zero_byte_in_an_id_leads_to_no_traceback(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert label(study(b"accession,report\n007,Cardiomegaly.\n00\x00 8,Cardiomegaly.\n")) in {DONE_WITH_SET_ASIDE, FAILED}
    assert "fault of Espalier" not in capsys.readouterr().err


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_67_a_cell_that_a_spreadsheet_would_run_is_quoted(study: Study, sign: str) -> None:
    folder = study(table_of({**all_ids(), f"{sign}cmd|calc!A0": TEXT}).encode())
    label(folder)
    lone = [row["id"] for row in unmatched(folder) if row["side"] == "report"]
    assert lone == [f"'{sign}cmd|calc!A0" if sign not in "\t\r" else "cmd|calc!A0"]
