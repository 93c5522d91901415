import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pytest

from espalier.cli.main import main
from espalier.labels.label import EVIDENCE, LABELS, read_labels
from espalier.labels.model_cache import CACHE
from espalier.outputs import hash_file

from .stub_model import Sent, honest, stub

STUDY = '[labels]\nreports = "reports.csv"\n[labels.model]\nurl = "{url}"\nname = "stub"\nwait_s = 0.01\nretries = 0\n'


TEXTS = MappingProxyType({"A1": '"Possible atelectasis. Atelectasis cannot be excluded."', "A2": "No nodules.", "A3": ""})


def study(folder: Path, url: str, *, texts: Mapping[str, str] = TEXTS, more: str = "") -> str:
    rows = "".join(f"{one},{text}\n" for one, text in texts.items())
    (folder / "reports.csv").write_text(f"accession,report\n{rows}", encoding="utf-8")
    (folder / "study.toml").write_text(STUDY.format(url=url) + more, encoding="utf-8")
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


def test_a_killed_label_run_asks_again_only_for_what_is_not_kept(tmp_path: Path) -> None:
    texts = {f"A{n}": f"Possible atelectasis of {n} segments." for n in range(8)}

    def say(request: dict[str, Any], number: int) -> Sent:
        if number == 5:
            os.kill(running.pid, signal.SIGKILL)
        return honest(request, number)

    with stub(say) as server:
        path = study(tmp_path, server.url, texts=texts, more="parallel = 1\n")
        command = [sys.executable, "-m", "espalier.cli", "label", path]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert running.wait(120) == -signal.SIGKILL
        assert not (tmp_path / LABELS).exists()
        kept = answers_kept(tmp_path)
        # The fifth answer was not heard any more.
        assert 1 <= kept <= 4
        first = [request["messages"][1]["content"] for request in server.requests[:kept]]
        before = len(server.requests)
        assert run(["label", path]) == 0
        second = [request["messages"][1]["content"] for request in server.requests[before:]]
    assert len(second) == len(texts) - kept
    assert not set(first) & set(second)
    assert answers_kept(tmp_path) == len(texts)
    assert read_labels(tmp_path).filter(pl.col("finding") == "atelectasis")["report"].to_list() == list(texts)


def answers_kept(folder: Path) -> int:
    with closing(sqlite3.connect(folder / CACHE)) as connection:
        return int(connection.execute("SELECT count(*) FROM answer").fetchone()[0])
