"""Reports per second and macro F1 of our rules beside medspaCy and negspacy, with our phrases as their target rules.

    python benchmarks/labels.py OUT.json [--peer medspacy=PYTHON] [--peer negspacy=PYTHON] [--rounds 10]

Each peer runs in an environment of its own, named by its Python, since its pins fight with ours:

    python -m venv A && A/bin/pip install "numpy<2" medspacy
    python -m venv B && B/bin/pip install negspacy

All read the same reports in the same rounds, one after another in turn, one thread each; every report is read once, and CPU
seconds count, so that what else the machine does matters little. With ESPALIER_DATA set these are the real reports in its
folder `reports` (on which our rules were written, so that our F1 is that of known reports); else made-up ones. Peers get
what our phrases match in these very reports as rules word for word, their fastest kind; they keep their own rules of
negation. What else a lexicon of ours says, exclusions and sentences about what is normal, has no place in theirs.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ[name] = "1"

import argparse
import csv
import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo import machine

from espalier.labels.findings import FINDINGS, finding_id
from espalier.labels.lexicon import read_lexicon
from espalier.labels.reading import make_reader
from espalier.labels.text import plain
from espalier.outputs import write_json
from espalier.phantom.options import PhantomOptions
from espalier.phantom.patient import make_patient

GOAL = 400
REAL = "reports/ct_rate_reports_300.csv"
MADE_UP = 300


@dataclass
class Reader:
    """One of those compared: what it says of the reports, and the seconds that took."""

    name: str
    version: str = ""
    process: "subprocess.Popen[str] | None" = None
    seconds: list[float] = field(default_factory=list)
    states: list[Mapping[str, str]] = field(default_factory=list)

    def ask(self, message: object) -> Any:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(message), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} ended without an answer")
        return json.loads(answer)

    def read(self, texts: Sequence[str]) -> None:
        if self.process is None:
            begun = time.process_time()
            states: list[Mapping[str, str]] = [OURS.read(text)[0] for text in texts]
            self.seconds.append(time.process_time() - begun)
        else:
            told = self.ask(list(texts))
            self.seconds.append(told["seconds"])
            states = told["states"]
        self.states += states


OURS = make_reader("ct-rate")


def real_reports() -> tuple[list[str], list[set[str]]]:
    with (Path(os.environ["ESPALIER_DATA"]) / REAL).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [row["report_text"] for row in rows], [{finding_id(n) for n, cell in row.items() if cell == "1"} for row in rows]


def made_up_reports() -> tuple[list[str], list[set[str]]]:
    options = PhantomOptions(patients=MADE_UP, anatomy="chest", seed=5, pixels=16, slice_mm=(10.0, 10.0))
    patients = [make_patient(number, options) for number in range(MADE_UP)]
    return [p.report for p in patients], [{f for f, there in p.truth.findings.items() if there} for p in patients]


def rules(texts: Sequence[str]) -> list[dict[str, str]]:
    """Return what our phrases match in the reports, word for word: the fastest rules that the peers have."""
    found = set()
    own = read_lexicon("ct-rate").rules
    for text in texts:
        lower = plain(text)
        for one in own:
            found |= {(one.finding, text[start:end]) for phrase in one.phrases for start, end in phrase.spans(lower)}
    return [{"finding": finding, "words": words} for finding, words in sorted(found)]


@contextmanager
def peers(named: Sequence[str], own: Sequence[Mapping[str, str]]) -> Iterator[list[Reader]]:
    readers = []
    for one in named:
        name, _, python = one.partition("=")
        command = [python, str(Path(__file__).with_name("labels_peer.py")), name]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        readers.append(Reader(name=name, process=process))
        readers[-1].version = readers[-1].ask(own)["version"]
    try:
        yield readers
    finally:
        for reader in readers:
            if reader.process is not None and reader.process.stdin is not None:
                reader.process.stdin.close()
                reader.process.wait(timeout=60)


def f1_scores(states: Sequence[Mapping[str, str]], truth: Sequence[set[str]], findings: Sequence[str]) -> dict[str, float]:
    """Return F1 by finding; uncertain counts as present, as in the published labels."""
    scores = {}
    for finding in findings:
        said = [own.get(finding) in {"present", "uncertain"} for own in states]
        hits = sum(one and finding in own for one, own in zip(said, truth, strict=True))
        total = sum(said) + sum(finding in own for own in truth)
        scores[finding] = 2 * hits / total if total else 1.0
    return scores


def compare(readers: Sequence[Reader], texts: Sequence[str], rounds: int) -> None:
    """Let all read all reports, in rounds of the same reports; who begins changes from round to round."""
    size = -(-len(texts) // rounds)
    for number, start in enumerate(range(0, len(texts), size)):
        turn = number % len(readers)
        for reader in (*readers[turn:], *readers[:turn]):
            reader.read(texts[start : start + size])
        print(f"round {number + 1}: " + ", ".join(f"{r.name} {size / r.seconds[-1]:.0f}/s" for r in readers), flush=True)


def rows_of(ours: Reader, others: Sequence[Reader], scores: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    reports = len(ours.states)
    speed = reports / sum(ours.seconds)
    mean = {name: sum(own.values()) / len(own) for name, own in scores.items()}
    rows = [row("reports read, goal", speed, GOAL, "reports/s"), row("macro F1, ours alone", mean["ours"], None, "F1")]
    for other in others:
        peer = f"{other.name} {other.version}"
        rows.append(row(f"reports read, other {peer}", speed, reports / sum(other.seconds), "reports/s"))
        rows.append(row(f"macro F1, other {peer}", mean["ours"], mean[other.name], "F1"))
        for finding, score in scores["ours"].items():
            rows.append(row(f"F1 of {finding}, other {peer}", score, scores[other.name][finding], "F1"))
    return rows


def row(what: str, ours: float, other: float | None, unit: str) -> dict[str, Any]:
    ratio = round(ours / other, 3) if other else None
    return {
        "what": what,
        "ours": round(ours, 4),
        "other": None if other is None else round(other, 4),
        "ratio": ratio,
        "unit": unit,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    real = "ESPALIER_DATA" in os.environ
    texts, truth = real_reports() if real else made_up_reports()
    findings = [f for f in FINDINGS["ct-rate"] if any(f in own for own in truth)]
    with peers(asked.peer, rules(texts)) as others:
        ours = Reader(name="ours")
        compare([ours, *others], texts, asked.rounds)
    scores = {reader.name: f1_scores(reader.states, truth, findings) for reader in (ours, *others)}
    rows = rows_of(ours, others, scores)
    for one in rows:
        print(f"{one['what']:70s} {one['ours']:9.3f} {one['other'] or float('nan'):9.3f} {one['unit']}")
    kind = "real, those on which our rules were written" if real else "made up, espalier.phantom, chest, seed 5"
    settings = {
        "reports": f"{len(texts)} {kind}",
        "characters": sum(map(len, texts)),
        "findings": len(findings),
        "rounds": asked.rounds,
        "threads": 1,
        "seconds": "CPU",
        "uncertain": "present",
        "peers": "what our phrases match here, word for word, and their own negation rules; not our exclusions",
        "absent peers": sorted({"medspacy", "negspacy"} - {reader.name for reader in others}),
    }
    about = {"machine": machine(), "date": datetime.now(UTC).date().isoformat()}
    write_json(asked.out, {**about, "settings": settings, "rows": rows}, kind="benchmark")


if __name__ == "__main__":
    main()
