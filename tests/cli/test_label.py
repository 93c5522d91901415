"""`espalier label` and its flags, as a user calls them on a table of reports alone."""

import json
from pathlib import Path

import polars as pl
import pytest

from espalier.cli.main import main

REPORTS = [
    ("007", "Findings: There is a small pleural effusion. The heart is enlarged."),
    ("1E05", "No pleural effusion. Heart size is normal. A new pulmonary nodule."),
    ("3", "Emphysema. Cannot exclude atelectasis."),
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    lines = ["id,text", *(f'{one},"{text}"' for one, text in REPORTS)]
    (tmp_path / "r.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "study.toml").write_text('[labels]\nreports = "r.csv"\nid_column = "id"\ntext_column = "text"\n')
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(["label", *arguments])
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out + told.err


def test_a_table_of_reports_alone_is_labelled(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, words = call(capsys, str(study))
    labels = pl.read_parquet(study / "labels.parquet")
    state = {(one, finding): state for one, finding, state in labels.select("report", "finding", "state").iter_rows()}
    assert code == 0
    assert "3 reports read" in words
    assert "espalier show" in words
    assert (state["007", "pleural_effusion"], state["1E05", "pleural_effusion"]) == ("present", "absent")
    assert state["3", "atelectasis"] == "uncertain"


@pytest.mark.parametrize("lexicon", ["ct-rate", "rad-chestct", "ratic", "ct-rate-de"])
def test_every_shipped_lexicon_is_sound(lexicon: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, words = call(capsys, "--check", lexicon)
    assert (code, lexicon in words) == (0, True)


def test_an_unknown_lexicon_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, words = call(capsys, "--check", "ctrate")
    assert code == 2
    assert "Did you mean ct-rate?" in words


def test_an_audit_is_drawn_filled_and_scored(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, words = call(capsys, str(study), "--audit", "3")
    assert code == 0
    assert "--audit-score audit/1" in words
    assert (study / "audit" / "1" / "sheet.html").stat().st_mode & 0o077 == 0
    cells = pl.read_csv(study / "audit" / "1" / "cells.csv", infer_schema=False)
    cells.with_columns(reader_1=pl.lit("1")).write_csv(study / "audit" / "1" / "cells.csv")
    code, words = call(capsys, str(study), "--audit-score", "audit/1", "--json")
    assert code == 0
    assert json.loads(words)["audit"]


def test_flags_that_do_not_fit_are_refused(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, str(study), "--blind")[0] == 2
    assert call(capsys)[0] == 2
    assert call(capsys, str(study), "--suggest") == (0, "Nothing stands in three reports.\n")
