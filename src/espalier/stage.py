"""One loop over scans for every scan-wise stage: what is done, what is set aside, what is left.

What is on disk is the state. Each finished scan leaves a small record under `records/<stage>/`, written after its
output took its final name; a scan whose record carries the key of the present settings is not touched again.
"""

import importlib
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from espalier import errors
from espalier.engines import local
from espalier.errors import EspalierError, InputError, ScanError
from espalier.outputs import key_of, read_json, write_csv, write_json

Rows = list[dict[str, Any]]
Work = Callable[[Path, str, Mapping[str, Any]], Rows]
GIVE_UP_AFTER: Final = 25
SET_ASIDE_COLUMNS: Final = ("source", "scan", "reason", "found", "expected", "do", "stage")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a stage did: rows of the scans that are done, and who was set aside with which reason."""

    stage: str
    rows: Rows
    set_aside: Rows
    done: int
    fresh: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a verb tells at its end: how many are done and set aside, a sentence, and the files it wrote."""

    verb: str
    done: int
    set_aside: int = 0
    words: str = ""
    wrote: tuple[Path, ...] = ()


def write_set_aside(folder: Path, stage: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put the rows of one stage into `set_aside.csv`, in place of those it left there before."""
    path = folder / "set_aside.csv"
    kept: list[dict[str, Any]] = []
    if path.is_file():
        kept = [row for row in pl.read_csv(path, infer_schema=False).to_dicts() if row["stage"] != stage]
    write_csv(path, [*kept, *({**row, "stage": stage} for row in rows)], SET_ASIDE_COLUMNS, private=True)


def run_stage(
    stage: str,
    work: Work,
    scans: Sequence[str],
    *,
    folder: Path,
    keys: Mapping[str, str],
    options: Mapping[str, Any],
    workers: int = 1,
) -> Outcome:
    """Do `work` on every scan that has no record with its present key; return all records.

    Parameters
    ----------
    stage
        The stage's name; records lie in `folder/records/<stage>/`.
    work
        A module-level function of (study folder, scan, options) that returns the scan's rows or raises `ScanError`.
    scans
        Scan ids, in the order of the resulting rows.
    folder
        The study's folder.
    keys
        Per scan the hash of everything its output depends on.
    options
        Plain values passed to `work`; JSON must know them.
    workers
        Processes side by side; 1 works in this process.

    Raises
    ------
    InputError
        When `GIVE_UP_AFTER` scans in a row failed: then the fault is not theirs.
    """
    records = folder / "records" / stage
    left = [scan for scan in scans if key_of(records / f"{scan}.json") != keys[scan]]
    answers = _work_here(work, left, folder, options) if workers <= 1 else _work_beside(work, left, folder, options, workers)
    refused_in_a_row = 0
    with progress(stage, total=len(scans), done=len(scans) - len(left)) as advance:
        for scan, answer in answers:
            refused_in_a_row = 0 if "rows" in answer else refused_in_a_row + 1
            write_json(records / f"{scan}.json", answer, kind="record", key=keys[scan], private=True)
            advance(1)
            if refused_in_a_row >= GIVE_UP_AFTER and refused_in_a_row >= len(left) // 2:
                raise InputError(
                    f"stage {stage}",
                    found=f"the last {refused_in_a_row} scans all failed; the last reason: {answer['set_aside']['found']}",
                    do="Mend the cause, then run the same command again.",
                )
    return _collect(stage, records, scans, fresh=len(left))


def _collect(stage: str, records: Path, scans: Sequence[str], *, fresh: int) -> Outcome:
    rows: Rows = []
    set_aside: Rows = []
    for scan in scans:
        record = read_json(records / f"{scan}.json", kind="record")
        rows.extend(record.get("rows", []))
        if "set_aside" in record:
            set_aside.append(record["set_aside"])
    return Outcome(stage=stage, rows=rows, set_aside=set_aside, done=len(scans) - len(set_aside), fresh=fresh)


def _work_here(
    work: Work, scans: Sequence[str], folder: Path, options: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for scan in scans:
        yield scan, _answer(work, folder, scan, options)


def _work_beside(
    work: Work,
    scans: Sequence[str],
    folder: Path,
    options: Mapping[str, Any],
    workers: int,
) -> Iterator[tuple[str, dict[str, Any]]]:
    name = f"{work.__module__}:{work.__qualname__}"
    command = [sys.executable, "-m", "espalier.stage", name, str(folder), json.dumps(dict(options))]
    for one in local.run(command, scans, workers=workers):
        if one.answer is None:
            do = "Run the stage with fewer workers or more memory."
            yield (
                one.id,
                _aside(ScanError(one.id, code="worker_died", found=f"the worker was {one.death}, twice", do=do), one.id),
            )
        elif "error" in one.answer:
            raise raised_elsewhere(one.answer["error"])
        else:
            yield one.id, one.answer


def _answer(work: Work, folder: Path, scan: str, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"rows": work(folder, scan, options)}
    except ScanError as error:
        return _aside(error, scan)


def _aside(error: ScanError, scan: str) -> dict[str, Any]:
    return {
        "set_aside": {
            "source": error.source,
            "scan": scan,
            "reason": error.code,
            "found": error.found,
            "expected": error.expected,
            "do": error.do,
        }
    }


@contextmanager
def progress(what: str, *, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar with rate and time left on stderr while the block runs; quiet in a pipe.

    Yields a function that takes the number of pieces just finished.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total, completed=done, rate="")

        def advance(pieces: int) -> None:
            bar.advance(task, pieces)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:.1f}/s" if speed else "")

        yield advance


def main(arguments: Sequence[str]) -> None:
    """Serve one stage's work over standard input and output; started by `engines`, not by people."""
    local.die_with_parent()
    name, folder, options = arguments
    module, function = name.split(":")
    work: Work = getattr(importlib.import_module(module), function)
    answers = sys.stdout
    sys.stdout = sys.stderr
    settings = json.loads(options)
    for line in sys.stdin:
        scan = line.strip()
        try:
            answer = _answer(work, Path(folder), scan, settings)
        except EspalierError as error:
            answer = {"error": [type(error).__name__, error.source, error.found, error.expected, error.do]}
        except Exception as error:  # noqa: BLE001 - told to the parent, which stops the run
            traceback.print_exc()
            found = f"{type(error).__name__} at {scan}"
            answer = {"error": ["EspalierError", "a worker", found, "", "Run again with --debug and report it."]}
        print(json.dumps(answer), file=answers, flush=True)


def raised_elsewhere(parts: Sequence[str]) -> EspalierError:
    """Return the error that a worker process met, as the class it was there."""
    name, source, found, expected, do = parts
    kind: type[EspalierError] = getattr(errors, name)
    return kind(source, found=found, expected=expected, do=do)


if __name__ == "__main__":
    if not sys.argv[1].startswith("espalier."):
        raise SystemExit("only Espalier's own stages run here")
    main(sys.argv[1:])
