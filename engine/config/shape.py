"""What a TOML file says against what it may say: each value of a wrong type, its place, and what would be right."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

# Where the value under some keys stands: `mine.toml, line 4`.
Where = Callable[..., str]
LONGEST = 60
WORDS: dict[object, tuple[str, str]] = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a text, in quotes", "texts, each in quotes"),
}


def problems(raw: Mapping[str, Any], kind: type[msgspec.Struct], where: Where, *keys: str) -> list[str]:
    """A sentence for every value of `raw` that cannot be what `kind` has there, and for every one that is missing."""
    found: list[str] = []
    for field in msgspec.structs.fields(kind):
        path = (*keys, field.name)
        if field.name in raw:
            found += _wrong(raw[field.name], field, where, path)
        elif field.required:
            found.append(f"{'.'.join(path)} is missing in {where(*keys)}: it is {_right(field.type)}")
    return found


def _wrong(value: object, field: msgspec.structs.FieldInfo, where: Where, path: tuple[str, ...]) -> list[str]:
    wanted = _without_none(field.type)
    if _is_table(wanted) and isinstance(value, dict):
        return problems(value, wanted, where, *path)
    if get_origin(wanted) is dict and isinstance(value, dict):
        # Names of the user's own, all with values of one type.
        one = msgspec.structs.replace(field, type=get_args(wanted)[1], default=msgspec.NODEFAULT)
        return [text for name in value for text in _wrong(value[name], one, where, (*path, name))]
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError:
        right, example = _right(wanted), _example(field)
        hint = f"; write [{'.'.join(path)}] on a line of its own" if "table" in right else example
        return [f"{'.'.join(path)} = {said(value)} in {where(*path)}: it is {right}{hint}"]
    return []


def _example(field: msgspec.structs.FieldInfo) -> str:
    """`, as epochs = 50`: the value it would have had."""
    default = field.default
    if not isinstance(default, str | int | float | tuple) or default in ("", ()):
        return ""
    return f", as {field.name} = {said(default)}"


def said(value: object) -> str:
    """A value as TOML writes it; a long one is cut."""
    match value:
        case str() | bool():
            text = json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            text = f"[{', '.join(said(one) for one in value)}]"
        case dict():
            text = "a table"
        case datetime.date() | datetime.time():
            text = value.isoformat()
        case _:
            text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _right(kind: object, many: bool = False) -> str:
    """What a value of `kind` is, in words."""
    kind = _without_none(kind)
    parts = get_args(kind)
    match get_origin(kind):
        case origin if origin is tuple:
            count = "" if parts[-1] is ... else f"{len(parts)} "
            return f"a list of {count}{_right(parts[0], many=True)}"
        case origin if origin is Literal:
            return f"one of {', '.join(said(part) for part in parts)}"
        case origin if origin in (UnionType, Union):
            wanted = [part for part in parts if part is not int or float not in parts]
            words = [_right(part) for part in wanted]
            return f"{', '.join(words[:-1])} or {words[-1]}"
    single, plural = WORDS.get(kind, ("a table", "tables"))
    return plural if many else single


def _without_none(kind: object) -> Any:
    parts = [part for part in get_args(kind) if part is not NoneType]
    return parts[0] if get_origin(kind) in (UnionType, Union) and len(parts) == 1 else kind


def _is_table(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
