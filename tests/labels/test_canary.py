"""A patient's name and record number, planted in reports, ids and file names, reach no message, log, page or foreign file."""

import logging
import os
import shutil
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from espalier.cli.main import main
from espalier.errors import EspalierError

from .stub_model import Sent, answers, honest, said, stub

FIRST, LAST, NUMBER = "Zebulon", "Quartermain", "QMRN4711Q"
NAME = f"{FIRST} {LAST}"
CANARIES = (FIRST, LAST, NUMBER, FIRST.lower(), LAST.lower(), NUMBER.lower(), FIRST.upper(), LAST.upper())
WITH_IDS = {"labels.parquet", "unmatched.csv", "cells.csv", "drawn.json"}
"""Private files with ids of reports, and those with their text as well."""
WITH_TEXT = {"evidence.parquet", "sheet.html"}
BROUGHT = {"reports.csv", "study.toml", "mine.toml"}
HEADING = f"Patient {NAME}, MRN {NUMBER}."
TEXTS = (
    f"{HEADING} Small left pleural effusion of {NAME}. No nodules. Possible atelectasis {NUMBER}.",
    f"{HEADING} {NAME} has bronchi of coarse calibre. No pleural effusion. Emphysema cannot be excluded.",
    f"{HEADING} {NAME} has bronchi of coarse calibre. A nodule of 5 mm in {LAST}'s right lung.",
    f"{HEADING} {NAME} has bronchi of coarse calibre {NUMBER}. Hiatal hernia. Possible cardiomegaly in {NAME}.",
    "Normal chest.",
)
LEXICON = '[set]\nname = "mine"\nextends = "ct-rate"\n'

Say = Callable[..., tuple[int, str]]


def write_study(folder: Path, *, rows: str = "", model: str = "", settings: str = "") -> Path:
    """Write a study whose reports, ids and a column of file names hold the canaries."""
    own = "".join(f'{NUMBER}-{n},"{text}",/scans/{LAST}_{FIRST}/{NUMBER}_{n}.nii.gz,{NAME}\n' for n, text in enumerate(TEXTS))
    (folder / "reports.csv").write_text(f"accession,report,file,name\n{own}{rows}", encoding="utf-8")
    (folder / "mine.toml").write_text(LEXICON, encoding="utf-8")
    tables = f'[labels]\nreports = "reports.csv"\nlexicon = "mine.toml"\n{settings}\n{model}'
    (folder / "study.toml").write_text(tables, encoding="utf-8")
    return folder / "study.toml"


def asking(url: str, **more: Any) -> str:
    own = {"order": '"model only"', "wait_s": 0.01, "retries": 0, "group": 18, **more}
    return f'[labels.model]\nurl = "{url}"\nname = "stub"\n' + "".join(f"{name} = {value}\n" for name, value in own.items())


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Return a function that runs a command and returns its exit code and all that it said, logs and tracebacks included."""
    monkeypatch.setenv("ESPALIER_DEBUG", "")

    def run(*words: object) -> tuple[int, str]:
        capfd.readouterr()
        told = ""
        with caplog.at_level(logging.DEBUG):
            try:
                with pytest.raises(SystemExit) as ended:
                    main([str(word) for word in words])
                code = int(ended.value.code or 0)
            except EspalierError:
                code, told = 1, traceback.format_exc()
                assert "--debug" in words
        out = capfd.readouterr()
        return code, out.out + out.err + told + caplog.text

    return run


def leaks(text: str) -> list[str]:
    return [word for word in CANARIES if word in text]


def held(path: Path) -> bytes:
    """Return a file's bytes, and those of a table unpacked."""
    raw = path.read_bytes()
    if path.suffix == ".parquet":
        raw += pl.read_parquet(path).write_csv().encode() + repr(pl.read_parquet_metadata(path)).encode()
    return raw


def misplaced(folder: Path) -> dict[str, list[str]]:
    """Return the files that hold a canary where none may be, and any with one that others may read."""
    out: dict[str, list[str]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in BROUGHT):
        found = leaks(held(path).decode("utf-8", "replace"))
        wrong = [] if path.name in WITH_TEXT else [word for word in found if word != NUMBER or path.name not in WITH_IDS]
        if found and stat.S_IMODE(path.stat().st_mode) & 0o077:
            wrong.append("readable by others")
        if wrong:
            out[path.relative_to(folder).as_posix()] = wrong
    return out


def fill(cells: Path) -> None:
    heading, *rows = cells.read_text(encoding="utf-8-sig").splitlines()
    place = heading.split(",").index("reader_1")
    filled = [",".join("1" if n == place else cell for n, cell in enumerate(row.split(","))) for row in rows]
    cells.write_text("\n".join([heading, *filled]) + "\n", encoding="utf-8")


FLAGS = pytest.mark.parametrize("flags", [(), ("--json",), ("--debug",)], ids=["words", "json", "debug"])


@FLAGS
def test_the_whole_way_of_labels_names_nobody(flags: tuple[str, ...], say: Say, tmp_path: Path) -> None:
    path = write_study(tmp_path)
    told = {
        "label": say("label", path, *flags),
        "again": say("label", path, *flags),
        "suggest": say("label", path, "--suggest", *flags),
        "check": say("label", "--check", tmp_path / "mine.toml", *flags),
    }
    for kind in ("--audit", "--blind"):
        shutil.rmtree(tmp_path / "audit", ignore_errors=True)
        told[kind] = say("label", path, "--audit", "6", *(["--blind"] if kind == "--blind" else []), *flags)
        fill(tmp_path / "audit" / "1" / "cells.csv")
        told[f"{kind} score"] = say("label", path, "--audit-score", "audit/1", *flags)
        assert misplaced(tmp_path) == {}
    for verb in ("status", "show"):
        told[verb] = say(verb, path if verb == "status" else tmp_path / "labels.parquet", *flags)
    assert {name: code for name, (code, _) in told.items() if code} == {}
    assert {name: leaks(text) for name, (_, text) in told.items() if leaks(text)} == {}
    assert misplaced(tmp_path) == {}
    # Where they may stand they do: else nothing was looked at.
    assert leaks(held(tmp_path / "evidence.parquet").decode("utf-8", "replace"))
    assert leaks((tmp_path / "audit" / "1" / "sheet.html").read_text(encoding="utf-8"))


SAYS: dict[str, Callable[[dict[str, Any], int], Sent]] = {
    "honest": honest,
    "no json": lambda *_: said(f"The patient {NAME} ({NUMBER}) has an effusion."),
    "cut json": lambda *_: said(f'{{"pleural_effusion": {{"evidence": "{NAME}'),
    "wrong state": lambda request, _: said(answers(request, {"lung_nodule": (NAME, NUMBER)})),
    "made-up quote": lambda request, _: said(answers(request, {"lung_nodule": ("present", f"{NAME} has a mass")})),
    "quote of the name": lambda request, _: said(answers(request, {"lung_nodule": ("present", HEADING)})),
    "names as findings": lambda *_: said(f'{{"{NAME}": {{"evidence": "{NUMBER}", "state": "present"}}}}'),
    "no object": lambda *_: Sent(f'["{NAME}"]'.encode()),
    "server error": lambda *_: Sent(NAME.encode(), status=500),
    "not found": lambda *_: Sent(NAME.encode(), status=404),
    "refused": lambda *_: Sent(NUMBER.encode(), status=400),
    "redirect": lambda *_: Sent(b"", status=302, headers={"Location": f"http://127.0.0.1:1/{LAST}/{NUMBER}"}),
    "odd headers": lambda *_: Sent(b"", status=429, headers={"Retry-After": NAME}),
    "cut off": lambda *_: Sent(NAME.encode(), length=9999),
    "closed": lambda *_: Sent(None),
}


@pytest.mark.parametrize("flags", [(), ("--debug",)], ids=["words", "debug"])
@pytest.mark.parametrize("name", SAYS)
def test_whatever_a_model_answers_nothing_of_it_is_told(name: str, flags: tuple[str, ...], say: Say, tmp_path: Path) -> None:
    with stub(SAYS[name]) as server:
        path = write_study(tmp_path, model=asking(server.url, timeout_s=5.0))
        told = [say("label", path, "--dry-run", *flags), say("label", path, *flags), say("label", path, "--json", *flags)]
        assert NAME in server.requests[0]["messages"][1]["content"]
    assert [leaks(text) for _, text in told] == [[], [], []]
    assert misplaced(tmp_path) == {}
    cache = tmp_path / "records" / "language_model.sqlite"
    assert not cache.exists() or not leaks(cache.read_bytes().decode("latin-1"))


CONFLICTING = f'{NUMBER}-1,"{NAME} has no emphysema at all.",x,y\n,"No id: {NAME}.",x,y\n'
HEADLESS = f'{NUMBER}-1,"{NAME} has no nodule."\n{NUMBER}-2,"{NAME} has a nodule."\n'
TURKISH = "Ş ğ ı İ: akciğer".encode("cp1254")
NAMED_AS_IDS = {"ids in place of texts", "file names as ids", "names as ids"}
SPOILT: dict[str, tuple[bytes | None, str]] = {
    "one name for two columns": (f"{NAME},{NAME}\n{NUMBER},x\n".encode(), ""),
    "no such id column": (None, 'id_column = "acession"'),
    "no such text column": (None, 'text_column = "reprot"'),
    "a text column that is nothing like one": (None, 'text_column = "zzz"'),
    "ids in place of texts": (None, 'id_column = "report"\ntext_column = "accession"'),
    "file names as ids": (None, 'id_column = "file"'),
    "names as ids": (None, 'id_column = "name"'),
    "no heading": (HEADLESS.encode(), ""),
    "no heading, columns named": (HEADLESS.encode(), 'id_column = "a"\ntext_column = "b"'),
    "a name as a setting of another kind": (None, "text_column = 3"),
    "unknown finding": (None, 'findings = ["nope"]'),
    "mixed encodings": (f"accession,report\n{NUMBER}-1,{NAME} é\n{NUMBER}-2,{NAME} ".encode() + TURKISH + b"\n", ""),
    "a wrong encoding": (f"accession,report\n{NUMBER}-1,{NAME} ".encode() + TURKISH + b"\n", 'encoding = "utf-8"'),
    "ascii named": (f"accession,report\n{NUMBER}-1,{NAME} é\n".encode(), 'encoding = "ascii"'),
    "zero bytes": (f"accession,report\n{NUMBER}-1,{NAME}\x00\x01\n".encode(), ""),
    "half of a letter": (f"accession,report\n{NUMBER}-1,{NAME} é\n".encode("utf-16")[:-3], ""),
    "an open quote": (f'accession,report\n{NUMBER}-1,"{NAME}\n'.encode(), ""),
    "a cut text": (f"accession,report\n{NUMBER}-1,A nodule.\n{NAME} goes on\n".encode(), ""),
    "too many cells": (f"accession,report\n{NUMBER}-1,{NAME},{NAME},{NUMBER}\n".encode(), ""),
    "ruined ids": (f"accession,report\n1.2E+19,{NAME}\n1.2E+19,{NUMBER}\n".encode(), ""),
    "no text at all": (f"accession,report\n{NUMBER}-1,\n{NUMBER}-2,-\n".encode(), ""),
    "two reports for one study": (b"conflicting", ""),
    "a table of labels": (f"accession,Lung nodule\n{NUMBER}-1,{NAME}\n".encode(), "table"),
    "labels that contradict": (f"accession,Lung nodule\n{NUMBER}-1,1\n{NUMBER}-1,0\n".encode(), "table"),
    "a link that fits nobody": (None, 'link = "mine.toml"'),
}


@pytest.mark.parametrize("flags", [(), ("--debug",)], ids=["words", "debug"])
@pytest.mark.parametrize("name", SPOILT)
def test_bad_tables_are_told_without_what_stands_in_them(name: str, flags: tuple[str, ...], say: Say, tmp_path: Path) -> None:
    content, settings = SPOILT[name]
    table = settings == "table"
    path = write_study(tmp_path, rows=CONFLICTING if content == b"conflicting" else "", settings="" if table else settings)
    if content not in {None, b"conflicting"}:
        (tmp_path / "reports.csv").write_bytes(content or b"")
    if table:
        path.write_text('[labels]\ntable = "reports.csv"\nfindings = "all"\n', encoding="utf-8")
    told = [say("label", path, *flags, *more) for more in ((), ("--suggest",), ("--audit", "3"), ("--dry-run",), ("-v",))]
    assert [leaks(text) for _, text in told] == [[]] * len(told)
    wrong = misplaced(tmp_path)
    if name in NAMED_AS_IDS:  # what a study names as its ids stands where ids stand
        wrong = {file: words for file, words in wrong.items() if Path(file).name not in WITH_IDS}
    assert wrong == {}


def test_a_command_of_its_own_says_nothing_either(tmp_path: Path) -> None:
    path = write_study(tmp_path, rows=CONFLICTING)
    environment = {**os.environ, "ESPALIER_DEBUG": "1", "PYTHONWARNINGS": "always", "POLARS_MAX_THREADS": "1"}
    command = [sys.executable, "-X", "dev", "-m", "espalier.cli", "label", str(path), "--debug", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert leaks(done.stdout + done.stderr) == []
    assert misplaced(tmp_path) == {}
