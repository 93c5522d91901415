"""A program that is started once and asked many times, in lines of JSON over its standard input and output.

It stays in the process group of the one that started it, so that a stage's limits kill both.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Companion:
    """A running program with the first line it said."""

    process: subprocess.Popen[str]
    hello: Mapping[str, Any]


class CompanionDiedError(Exception):
    """The program is gone; the words say how, `killed` whether the kernel or somebody took it away."""

    def __init__(self, exit_code: int) -> None:
        self.killed = exit_code == -signal.SIGKILL
        known = -exit_code in set(signal.Signals)
        words = f"was killed by {signal.Signals(-exit_code).name}" if known else f"ended with exit code {exit_code}"
        super().__init__(words)


def start(command: Sequence[str], *, variables: Mapping[str, str]) -> Companion:
    """Start a program and wait for its first line; raise `CompanionDiedError` where it ends before.

    Parameters
    ----------
    command
        The program with its arguments.
    variables
        All its environment variables. What it prints besides its answers is shown with `ESPALIER_DEBUG` set only, since
        it may name files.
    """
    quiet = None if os.environ.get("ESPALIER_DEBUG") else subprocess.DEVNULL
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, env=dict(variables), encoding="utf-8")
    try:
        return Companion(process, _line(process))
    except CompanionDiedError:
        end(Companion(process, {}))
        raise


def ask(companion: Companion, question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer to one question; raise `CompanionDiedError` where there is none."""
    assert companion.process.stdin is not None
    with suppress(BrokenPipeError):
        companion.process.stdin.write(json.dumps(dict(question)) + "\n")
        companion.process.stdin.flush()
    return _line(companion.process)


def is_alive(companion: Companion) -> bool:
    """Tell whether the program still runs."""
    return companion.process.poll() is None


def end(companion: Companion) -> None:
    """Close the program's input, which is its sign to leave, and kill it where it does not."""
    process = companion.process
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    with suppress(ValueError):
        told = json.loads(line)
        if isinstance(told, dict):
            return told
    if line:  # no answer of ours: a library has found the pipe
        process.kill()
    raise CompanionDiedError(process.wait())
