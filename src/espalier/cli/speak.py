"""How the command line speaks: what a verb did, what was set aside, the next command; as words or as JSON."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from espalier.errors import DONE, DONE_WITH_SET_ASIDE, EspalierError
from espalier.stage import Summary


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a verb returns: lines for people, the same as data, and the exit code."""

    lines: tuple[str, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = DONE


def told(*summaries: Summary, next_command: str = "", more: Sequence[str] = (), already_said: bool = False) -> Told:
    """Turn what stages did into what the command line says; `already_said` leaves out the stages' own lines."""
    aside = sum(s.set_aside for s in summaries)
    lines = [] if already_said else [f"{s.verb}: {s.words}" for s in summaries]
    if aside:
        lines.append(f"{aside} set aside, each with its reason in set_aside.csv.")
    lines += more
    if next_command:
        lines.append(f"Next: {next_command}")
    stages = [
        {"verb": s.verb, "done": s.done, "set_aside": s.set_aside, "words": s.words, "wrote": [str(p) for p in s.wrote]}
        for s in summaries
    ]
    code = DONE_WITH_SET_ASIDE if aside else DONE
    return Told(lines=tuple(lines), data={"stages": stages, "next": next_command, "exit_code": code}, exit_code=code)


def say(result: Told, *, as_json: bool) -> int:
    """Print a verb's result on stdout and return the exit code."""
    text = json.dumps(dict(result.data), indent=1, ensure_ascii=False) if as_json else "\n".join(result.lines)
    if text:
        print(text)
    return result.exit_code


def complain(error: EspalierError, *, as_json: bool) -> int:
    """Print an error on stderr (as JSON on stdout where asked) and return its exit code."""
    if as_json:
        parts = {"source": error.source, "found": error.found, "expected": error.expected, "do": error.do}
        print(json.dumps({"error": parts, "exit_code": error.exit_code}, indent=1, ensure_ascii=False))
    else:
        print(f"espalier: {error}", file=sys.stderr)
    return error.exit_code
