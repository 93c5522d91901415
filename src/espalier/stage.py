"""One loop over scans for every scan-wise stage: what is done, what is set aside, what is left.

What is on disk is the state. Each finished scan leaves a small record under `records/<stage>/`, written after its
output took its final name; a scan whose record carries the key of the present settings is not touched again.
"""

import contextlib
import errno
import importlib
import json
import os
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import polars as pl

from espalier import errors
from espalier.engines import local, place
from espalier.errors import EspalierError, InputError, ResourceError, ScanError
from espalier.outputs import hash_of, read_json, write_csv, write_json

Rows = list[dict[str, Any]]
Work = Callable[[Path, str, Mapping[str, Any]], Rows]
COST: Final = "cost.json"
GIVE_UP_AFTER: Final = 25
DEATHS: Final = {
    "timed_out": "Raise timeout_s if the scan is only large, else export it again; then run the same command again.",
    "out_of_memory": "Raise memory_gb or use fewer workers, then run the same command again.",
    "worker_died": "Use fewer workers if memory was short, else export the scan again; then run the same command again.",
}
"""What to do about a scan whose worker did not live, by reason."""
NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
HEAD: Final = re.compile(rb'\{\s*"espalier": (?P<stamp>\{[^{}]*\}),\s*"(?P<content>\w+)": ')
HEAD_BYTES: Final = 512
"""Enough for the stamp with which a record begins, and the name of what follows: `rows` or `set_aside`."""
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
    threads: int = 1,
    timeout_s: float | None = None,
    memory_gb: float | None = None,
    collect: bool = True,
    verb: str = "",
) -> Outcome:
    """Do `work` on every scan that has no record with its present key; return what all records say.

    Parameters
    ----------
    stage
        Its name; records lie in `folder/records/<stage>/`.
    work
        A module-level function of (study folder, scan, options) that returns the scan's rows or raises `ScanError`.
    scans
        Scan ids, in the order of the resulting rows.
    folder, keys
        The study's folder, and per scan the hash of everything its output depends on.
    options
        Passed to `work`; JSON must know them.
    workers, threads
        Processes side by side (1 works in this process unless there are limits), and threads of each on this machine.
    timeout_s, memory_gb
        A scan whose work takes longer, or whose worker needs more memory (10^9 bytes) or dies, is tried once more
        alone, with twice the memory, then set aside as `timed_out`, `out_of_memory` or `worker_died`. Under other
        limits, or with another number of workers, it is tried anew.
    collect
        False leaves the rows on disk, for `read_records`, and out of the outcome.
    verb
        The name under which `set_aside.csv` tells of a stage that gave up, where it is not the stage's own.

    Raises
    ------
    InputError
        When the last scans all failed: then the fault is not theirs.
    """
    limits = _Limits(workers=workers, threads=threads, timeout_s=timeout_s, memory_gb=memory_gb, elsewhere=_elsewhere(stage))
    records = folder / "records" / stage
    aside = {scan: own for scan in scans if (own := _verdict(records / f"{scan}.json", keys[scan], limits)) is not None}
    left = [scan for scan in scans if scan not in aside]
    errand = _Errand(stage=stage, work=work, folder=folder, options=options)
    answers = _work_beside(errand, left, keys, limits) if limits.beside else _work_here(errand, left)
    refused: Rows = []
    with _timed(stage, folder, limits, total=len(scans), left=len(left)) as advance, closing(answers):
        for scan, answer in answers:
            aside[scan] = _keep(answer, records / f"{scan}.json", keys[scan], limits)
            advance(1)
            if _is_hopeless(refused, answer, len(scans)):
                raise _given_up(stage, [one for one in scans if aside.get(one)], refused, folder=folder, verb=verb)
    return _collected(stage, [scan for scan in scans if collect or aside[scan]], len(scans), folder=folder, fresh=len(left))


def read_costs(folder: Path) -> Mapping[str, Mapping[str, float]]:
    """Return what scans cost on this machine so far: by stage `scans` and the `seconds` that one worker had for them."""
    path = folder / "records" / COST
    return read_json(path, kind="cost")["stages"] if path.is_file() else {}


@contextmanager
def _timed(stage: str, folder: Path, limits: "_Limits", *, total: int, left: int) -> Iterator[Callable[[int], None]]:
    """Show progress, and add what the block cost to what scans cost before. Clusters keep accounts of their own."""
    finished, begun = Counter[str](), time.monotonic()
    try:
        with progress(stage, total=total, done=total - left) as advance:

            def count(pieces: int) -> None:
                finished[stage] += pieces
                advance(pieces)

            yield count
    finally:
        if finished and not limits.elsewhere:
            with contextlib.suppress(EspalierError):
                costs = {name: dict(own) for name, own in read_costs(folder).items()}
                before = costs.get(stage, {"scans": 0, "seconds": 0.0})
                seconds = before["seconds"] + (time.monotonic() - begun) * min(limits.workers, left)
                costs[stage] = {"scans": before["scans"] + finished[stage], "seconds": round(seconds, 3)}
                write_json(folder / "records" / COST, {"stages": costs}, kind="cost")


def read_records(stage: str, scans: Iterable[str], *, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each scan with its record, one at a time, in the order of `scans`.

    A record holds the scan's `rows`, or under `set_aside` its row of `set_aside.csv`.

    Raises
    ------
    MissingError
        When a scan has no record, since the stage has not worked on it.
    """
    for scan in scans:
        yield scan, read_json(folder / "records" / stage / f"{scan}.json", kind="record")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Limits:
    workers: int
    threads: int
    timeout_s: float | None
    memory_gb: float | None
    elsewhere: str

    @property
    def beside(self) -> bool:
        """Whether work runs in other processes, where it can be killed."""
        return self.workers > 1 or self.timeout_s is not None or self.memory_gb is not None or bool(self.elsewhere)

    def key_of_death(self, key: str) -> str:
        """Return the key of a scan whose worker died, which tells of the machine as much as of the scan."""
        if self.elsewhere:
            return hash_of(key, self.elsewhere, self.timeout_s, self.memory_gb)
        return hash_of(key, self.workers, self.timeout_s, self.memory_gb)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Errand:
    stage: str
    work: Work
    folder: Path
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The work's name, by which another process finds it."""
        return f"{self.work.__module__}:{self.work.__qualname__}"


def _elsewhere(stage: str) -> str:
    """Return the hash of what a job of the stage gets, "" where work runs on this machine."""
    where = place.place_of_work()
    return "" if where.is_here else hash_of(where.engine, where.site(stage))


def _verdict(path: Path, key: str, limits: _Limits) -> bool | None:
    """Tell whether the record sets its scan aside, or None where there is none with the present key."""
    found, aside = _head(path)
    return aside if found is not None and (found == key or found == limits.key_of_death(key)) else None


def _keep(answer: Mapping[str, Any], path: Path, key: str, limits: _Limits) -> bool:
    """Write a scan's record and tell whether it is set aside."""
    died = answer.get("set_aside", {}).get("reason") in DEATHS
    write_json(path, answer, kind="record", key=limits.key_of_death(key) if died else key, private=True)
    return "set_aside" in answer


def _head(path: Path) -> tuple[str | None, bool]:
    """Return the key of a whole record, or None, and whether it sets its scan aside, without reading all of it."""
    try:
        with path.open("rb", buffering=0) as stream:
            end = begin = stream.read(HEAD_BYTES)
            if len(begin) == HEAD_BYTES:
                stream.seek(-2, os.SEEK_END)
                end = stream.read()
    except OSError:
        return None, False
    head = HEAD.match(begin)
    if head is None or not end.endswith(b"}\n"):  # one that was cut short has lost its last brace
        return None, False
    return json.loads(head["stamp"]).get("key"), head["content"] == b"set_aside"


def _collected(stage: str, read: Sequence[str], total: int, *, folder: Path, fresh: int) -> Outcome:
    rows: Rows = []
    set_aside: Rows = []
    for _, record in read_records(stage, read, folder=folder):
        rows.extend(record.get("rows", []))
        if "set_aside" in record:
            set_aside.append(record["set_aside"])
    return Outcome(stage=stage, rows=rows, set_aside=set_aside, done=total - len(set_aside), fresh=fresh)


def _is_hopeless(refused: Rows, answer: Mapping[str, Any], total: int) -> bool:
    """Keep those set aside in a row; tell whether the fault is not theirs, as they are half of all, or all deaths."""
    if "set_aside" not in answer:
        refused.clear()
        return False
    refused.append(answer["set_aside"])
    last = refused[-GIVE_UP_AFTER:]
    return len(last) == GIVE_UP_AFTER and (len(refused) >= total // 2 or all(row["reason"] in DEATHS for row in last))


def _given_up(stage: str, aside: Sequence[str], refused: Rows, *, folder: Path, verb: str) -> InputError:
    """Tell all reasons so far in `set_aside.csv`, and forget the last ones, so that these scans are tried again."""
    records = folder / "records" / stage
    write_set_aside(folder, verb or stage, [record["set_aside"] for _, record in read_records(stage, aside, folder=folder)])
    for row in refused:
        (records / f"{row['scan']}.json").unlink()
    counts = Counter(row["reason"] for row in refused)
    return InputError(
        f"stage {stage}",
        found=f"the last {len(refused)} scans all failed ({', '.join(f'{n} {code}' for code, n in counts.most_common())})",
        do="Read their reasons in set_aside.csv, mend the cause, then run the same command again.",
    )


def _work_here(errand: _Errand, scans: Sequence[str]) -> Generator[tuple[str, dict[str, Any]]]:
    for scan in scans:
        try:
            yield scan, _answer(errand.work, errand.folder, scan, errand.options)
        except MemoryError:
            yield scan, _death(scan, "out_of_memory", "it needed more memory than there is")


def _work_beside(
    errand: _Errand, scans: Sequence[str], keys: Mapping[str, str], limits: _Limits
) -> Generator[tuple[str, dict[str, Any]]]:
    if not scans:
        return
    options = json.dumps(dict(errand.options))
    command = [sys.executable, "-P", "-m", "espalier.stage", errand.name, str(errand.folder), options, "quiet"]
    key = hash_of(errand.name, options, sorted(keys.items())) if limits.elsewhere else ""
    given: dict[str, Any] = {"workers": limits.workers, "timeout_s": limits.timeout_s, "memory_gb": limits.memory_gb}
    if not limits.elsewhere:
        given["threads"] = limits.threads
    with closing(place.run(command, scans, stage=errand.stage, folder=errand.folder, key=key, **given)) as finished:
        for one in finished:
            if one.answer is None:
                yield one.id, _death(one.id, one.code, f"its worker died twice, the second time alone: {one.death}")
            elif "error" in one.answer:
                raise raised_elsewhere(one.answer["error"])
            else:
                yield one.id, {name: told for name, told in one.answer.items() if name != "id"}


def _answer(work: Work, folder: Path, scan: str, options: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"rows": work(folder, scan, options)}
    except ScanError as error:
        return _aside(error, scan)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        do = "Free the disk or mend its permissions, then run the same command again."
        raise ResourceError(folder, found=f"could not be written to ({error.strerror})", do=do) from error


def _death(scan: str, code: str, found: str) -> dict[str, Any]:
    return _aside(ScanError(scan, code=code, found=found, do=DEATHS[code]), scan)


def _aside(error: ScanError, scan: str) -> dict[str, Any]:
    told = {"source": error.source, "scan": scan, "reason": error.code, "found": error.found}
    return {"set_aside": {**told, "expected": error.expected, "do": error.do}}


@contextmanager
def progress(what: str, *, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show a bar with rate and time left on stderr while the block runs; quiet in a pipe.

    Yields a function that takes the number of pieces just finished.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    name, rate = TextColumn("{task.description:<10}"), TextColumn("{task.fields[rate]}")
    columns = (name, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total, completed=done, rate="")

        def advance(pieces: int) -> None:
            bar.advance(task, pieces)
            speed = bar.tasks[0].speed
            bar.update(task, rate=f"{speed:.1f}/s" if speed else "")

        yield advance


def main(arguments: Sequence[str]) -> None:
    """Serve one stage's work over standard input and output; started by `engines`, not by people.

    `quiet` as a last argument keeps to itself what libraries print, since it may name files and patients.
    """
    local.die_with_parent()
    name, folder, options, *quiet = arguments
    debug = bool(os.environ.get("ESPALIER_DEBUG"))
    answers = _own_stdout(quiet=bool(quiet) and not debug)
    settings = json.loads(options)
    for line in sys.stdin:
        try:
            answer = _told(name, Path(folder), line.strip(), settings, debug=debug)
        except MemoryError:
            os._exit(local.OUT_OF_MEMORY)
        print(answer, file=answers, flush=True)


def _own_stdout(*, quiet: bool) -> TextIO:
    """Return the way to the parent, and turn all else that prints, native libraries too, to stderr or to nowhere."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    if quiet:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.dup2(2, 1)
    return answers


def _told(name: str, folder: Path, scan: str, settings: Mapping[str, Any], *, debug: bool) -> str:
    """Return the answer for one scan as a line of JSON, errors that stop the run included."""
    try:
        module, function = name.split(":")
        answer = _answer(getattr(importlib.import_module(module), function), folder, scan, settings)
        return json.dumps({"id": scan, **answer})
    except MemoryError:
        raise
    except EspalierError as error:
        parts = [type(error).__name__, error.source, error.found, error.expected, error.do]
    except Exception as error:  # noqa: BLE001 - told to the parent, which stops the run
        if debug:
            traceback.print_exc()
        parts = ["EspalierError", "a worker", f"{type(error).__name__} at {scan}", "", "Run again with --debug and report it."]
    return json.dumps({"id": scan, "error": parts})


def raised_elsewhere(parts: Sequence[str]) -> EspalierError:
    """Return the error that a worker process met, as the class it was there."""
    name, source, found, expected, do = parts
    kind: type[EspalierError] = getattr(errors, name)
    return kind(source, found=found, expected=expected, do=do)


if __name__ == "__main__":
    main(sys.argv[1:])
