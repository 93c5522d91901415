"""The one strict reader of settings: TOML in, frozen dataclass out, every mistake named at once."""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from espalier.errors import SettingsError

Options = TypeVar("Options")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; raise `SettingsError` with the line where it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise SettingsError(path, found="no such file", do="Make one with `espalier new study.toml`.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(path, found=f"not TOML: {error}", do="Correct that line.") from error


def parse(kind: type[Options], tables: Mapping[str, Any], *, source: Path | str) -> Options:
    """Turn plain tables into a frozen dataclass; raise one `SettingsError` that names every mistake.

    Parameters
    ----------
    kind
        The dataclass, whose fields may be dataclasses in turn.
    tables
        As read from TOML.
    source
        The file they came from, for messages and line numbers.
    """
    mistakes = _unknown(kind, tables, ())
    if not mistakes:
        try:
            return _adapter(kind).validate_python(dict(tables))
        except ValidationError as error:
            mistakes = [_sentence(e["loc"], e["msg"], e.get("input")) for e in error.errors()]
    text = Path(source).read_text(encoding="utf-8-sig") if Path(source).is_file() else ""
    told = "; ".join(_with_line(m, text) for m in mistakes)
    raise SettingsError(source, found=told, do="Correct the settings file." if len(mistakes) == 1 else "Correct all of these.")


def changed(tables: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Return a copy of `tables` with each `table.key=value` of the command line's `--set` put in; values are TOML."""
    out = _deep_copy(tables)
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise SettingsError(f"--set {change}", found="no '='", expected="--set table.key=value", do="Add a value.")
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        *path, last = name.strip().split(".")
        table = out
        for part in path:
            table = table.setdefault(part, {})
        table[last] = parsed
    return out


def merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return `shared` with the values of `own` in their places, table by table."""
    out = _deep_copy(shared)
    for key, value in own.items():
        out[key] = merged(out[key], value) if isinstance(value, Mapping) and isinstance(out.get(key), Mapping) else value
    return out


def _deep_copy(tables: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _deep_copy(v) if isinstance(v, Mapping) else v for k, v in tables.items()}


def _adapter(kind: type[Options]) -> TypeAdapter[Options]:
    # Frozen slots dataclasses refuse a config of their own; strictness about names is `_unknown`'s.
    return TypeAdapter(kind, config=None) if is_dataclass(kind) else TypeAdapter(kind, config=ConfigDict(extra="forbid"))


def _unknown(kind: type[Any], tables: Mapping[str, Any], path: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    mistakes = []
    for name, value in tables.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.55) or [k for k in known if k.startswith(name)][:1]
            hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(sorted(known))}."
            mistakes.append(((*path, name), f"no such setting.{hint}"))
        elif isinstance(value, Mapping) and (inner := _dataclass_in(hints[name])):
            mistakes += _unknown(inner, value, (*path, name))
    return mistakes


def _dataclass_in(hint: Any) -> type[Any] | None:
    candidates = [hint, *get_args(hint)]
    return next((c for c in candidates if isinstance(c, type) and is_dataclass(c)), None)


def _sentence(path: Sequence[Any], message: str, found: object) -> tuple[tuple[str, ...], str]:
    plain = message.removeprefix("Value error, ")
    shown = "" if plain != message or isinstance(found, Mapping) else f" (found {found!r})"
    return tuple(str(p) for p in path), plain[:1].lower() + plain[1:] + shown


def _with_line(mistake: tuple[tuple[str, ...], str], text: str) -> str:
    path, message = mistake
    table, name = ".".join(path[:-1]), path[-1] if path else ""
    where = f"[{table}] {name}" if table else name
    line = _line_of(text, table, name)
    return f"line {line}, {where}: {message}" if line else f"{where}: {message}" if where else message


def _line_of(text: str, table: str, name: str) -> int | None:
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.split("#")[0].strip()
        if bare.startswith("["):
            current = bare.strip("[] ")
            if f"{table}.{name}".strip(".") == current:
                return number
        elif current == table and bare.split("=")[0].strip().strip('"') == name:
            return number
    return None
