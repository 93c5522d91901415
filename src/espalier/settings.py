"""The one strict reader of settings: TOML in, frozen dataclass out, every mistake named at once."""

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from espalier.errors import SettingsError

Options = TypeVar("Options")
_TABLES: Final = (dict, Mapping)
_ONE: Final[Mapping[Any, str]] = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_MANY: Final[Mapping[Any, str]] = {str: "texts", int: "whole numbers", float: "numbers", bool: "values true or false"}


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
            mistakes = _mistakes(kind, tables, error)
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


def _mistakes(kind: type[Any], tables: Mapping[str, Any], error: ValidationError) -> list[tuple[tuple[str, ...], str]]:
    """Return what is wrong, each setting once: of one that takes several kinds pydantic tells of every kind that it is not."""
    told: dict[tuple[str, ...], str] = {}
    for one in error.errors():
        path, hint = _setting(kind, one["loc"])
        own = one["msg"].removeprefix("Value error, ")
        if own == one["msg"] and one["type"] != "missing" and _is_union(hint):
            own = f"should be {_plain(hint)} (found {_value(tables, path)!r})"
        elif own == one["msg"] and not isinstance(one.get("input"), Mapping):
            own = f"{own} (found {one.get('input')!r})"
        told.setdefault(path, own[:1].lower() + own[1:])
    return list(told.items())


def _setting(kind: Any, place: Sequence[Any]) -> tuple[tuple[str, ...], Any]:
    """Return the setting in which pydantic met a fault, and its type; `place` goes deeper, into kinds and into lists."""
    path: list[str] = []
    for part in place:
        if _is_union(kind):
            break
        inner = _dataclass_in(kind)
        if inner is not None:
            kind = get_type_hints(inner)[str(part)]
        elif get_origin(kind) in _TABLES:
            kind = get_args(kind)[1]
        else:
            break
        path.append(str(part))
    return tuple(path), kind


def _is_union(hint: Any) -> bool:
    """Tell whether a setting takes several kinds, besides being left out."""
    return len(_kinds(hint)) > 1


def _kinds(hint: Any) -> tuple[Any, ...]:
    own = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    return tuple(kind for kind in own if kind is not NoneType)


def _plain(hint: Any) -> str:
    """Return a type as people would say it: words that may stand there, then one value, then lists."""
    # Python keeps one order for all unions of the same kinds, whichever it met first.
    kinds = sorted(_kinds(hint), key=lambda kind: ({Literal: 0, tuple: 2}.get(get_origin(kind), 1), str(kind)))
    *some, last = [words for kind in kinds for words in _said(kind)]
    return f"{', '.join(some)} or {last}" if some else last


def _said(kind: Any) -> list[str]:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return [json.dumps(value) for value in inner]
    if origin is tuple:
        some = f"{len(inner)} " if Ellipsis not in inner else ""
        return [f"a list of {some}{_MANY.get(inner[0], 'values')}"]
    return [_ONE.get(kind, "a table")]


def _value(tables: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = tables
    for part in path:
        value = value[part]
    return value


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
