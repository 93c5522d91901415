import json
from pathlib import Path

import polars as pl
import pytest

from espalier.cli.main import main
from espalier.labels.label import EVIDENCE, LABELS, read_labels
from espalier.outputs import hash_file

from .stub_model import Sent, honest, stub

STUDY = '[labels]\nreports = "reports.csv"\n[labels.model]\nurl = "{url}"\nname = "stub"\nwait_s = 0.01\nretries = 0\n'


def study(folder: Path, url: str) -> str:
    text = 'accession,report\nA1,"Possible atelectasis. Atelectasis cannot be excluded."\nA2,No nodules.\nA3,\n'
    (folder / "reports.csv").write_text(text, encoding="utf-8")
    (folder / "study.toml").write_text(STUDY.format(url=url), encoding="utf-8")
    return str(folder / "study.toml")


def run(words: list[str]) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return ended.value.code


def test_a_study_with_a_model_is_labelled_by_both_and_again_from_what_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with stub() as server:
        path = study(tmp_path, server.url)
        assert run(["label", path]) == 0
        assert "model stub: 1 findings asked in 1 requests" in capsys.readouterr().out
        before = {name: hash_file(tmp_path / name) for name in (LABELS, EVIDENCE)}
        for name in before:
            (tmp_path / name).unlink()
        assert run(["label", path]) == 0
        assert "0 findings asked in 0 requests, 1 answered before" in capsys.readouterr().out
    assert len(server.requests) == 1
    assert {name: hash_file(tmp_path / name) for name in before} == before
    row = pl.read_parquet(tmp_path / EVIDENCE).row(by_predicate=pl.col("rule") == "model stub", named=True)
    assert (row["finding"], row["state"], row["evidence"]) == ("atelectasis", "uncertain", "Atelectasis cannot be excluded.")


def test_without_an_answer_the_label_weighs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with stub(lambda *_: Sent(b"", status=400)) as server:
        assert run(["label", study(tmp_path, server.url)]) == 0
    out = capsys.readouterr().out
    assert "1 without an answer (1 × request refused, perhaps as too long)" in out
    assert "1 of them without text or label" in out
    row = read_labels(tmp_path).row(by_predicate=(pl.col("report") == "A1") & (pl.col("finding") == "atelectasis"), named=True)
    assert (row["state"], row["weight"]) == ("failed", 0.0)


def test_a_dry_run_asks_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with stub(honest) as server:
        assert run(["label", study(tmp_path, server.url), "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["findings"], told["calls"], told["price"]) == (1, 1, None)
    assert server.requests == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["reports.csv", "study.toml"]
