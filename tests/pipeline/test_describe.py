"""`espalier show`: what a file is, the page of a cohort, and what became of one scan."""

import json
from pathlib import Path

import polars as pl
import pytest

from espalier.cli.main import main
from espalier.cohort.table import COHORT, write_cohort, write_series_table
from espalier.errors import InputError
from espalier.outputs import write_table
from espalier.pipeline.describe import describe

ROW = {
    "scan": "00000000000000aa", "patient": "Zqpatient", "study_uid": "Zqstudy", "series_uid": "Zqseries", "source": "Zqsource",
    "shape_z": 100, "shape_y": 512, "shape_x": 512, "spacing_z_mm": 3.0, "spacing_y_mm": 0.75, "spacing_x_mm": 0.75,
    "verdict": "sound", "notes": [], "manufacturer": "Maker", "slice_mm": 3.0, "format": "dicom", "files": ["Zqfile"],
}  # fmt: skip


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    write_series_table(tmp_path, [{**ROW, "slices": 100, "chosen": True, "why": "the only series"}], key="key")
    return write_cohort(tmp_path, [ROW], key="key")


def call(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out, told.err


def test_a_cohort_writes_its_page_and_tells_its_counts_and_path(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call("show", str(cohort), capsys=capsys)
    page = cohort.with_name("cohort.html")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "The only scan is usable."
    assert out.splitlines()[-1] == f"The page: {page}"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_cohort_tells_the_same_as_data(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(call("show", str(cohort), "--json", capsys=capsys)[1])
    assert (told["kind"], told["rows"], told["usable"], told["patients"]) == ("cohort", 1, 1, 1)
    assert told["says"][0] == "The only scan is usable."
    assert Path(told["page"]).is_file()


@pytest.mark.parametrize("where", ["table", "folder"])
def test_one_scan_is_explained_without_a_page(cohort: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(cohort if where == "table" else cohort.parent)
    code, out, _ = call("show", place, "--scan", "Zqseries", capsys=capsys)
    assert code == 0
    assert "is used: sound." in out
    assert "Zq" not in out
    assert not cohort.with_name("cohort.html").exists()
    assert json.loads(call("show", place, "--scan", "Zqpatient", "--json", capsys=capsys)[1])["scan"] == ROW["scan"]


def test_an_unknown_scan_is_wrong_use_and_is_not_repeated(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call("show", str(cohort), "--scan", "Zqpatient9", capsys=capsys)
    assert (code, out) == (2, "")
    assert "Zq" not in err


def test_a_scan_of_something_else_than_a_cohort_is_refused(tmp_path: Path) -> None:
    other = tmp_path / COHORT
    write_table(other, pl.DataFrame({"scan": ["a"]}), kind="masks")
    with pytest.raises(InputError, match="kind 'masks'"):
        describe(other, scan="a")


def test_other_tables_tell_kind_rows_and_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "splits.parquet", pl.DataFrame({"scan": ["a", "b"], "split": ["train", "test"]}), kind="splits")
    lines = describe(tmp_path / "splits.parquet").lines
    assert "kind: splits" in lines
    assert "rows: 2" in lines
    assert "columns: scan (String), split (String)" in lines


def test_what_is_not_espaliers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("words")
    with pytest.raises(InputError, match="not a file of Espalier's"):
        describe(tmp_path / "words.txt")
