"""Write a profile as a TOML file: a new one, or other values in one that exists, with every comment of it kept."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Item, Table
from tomlkit.toml_document import TOMLDocument

from engine.config.knob import Value, shown
from engine.config.profile import check_source
from engine.config.profile_file import line_of, load
from engine.errors import UsageError
from engine.paths import write_atomic
from engine.text import clean

# Without workers these mean nothing, and a file that sets them all the same contradicts itself.
FOR_WORKERS = ("prefetch_factor", "persistent_workers")


def save_profile(
    path: Path,
    knobs: Mapping[str, Value],
    base: Path | None = None,
    reasons: Mapping[str, str] | None = None,
    title: str | None = None,
    replace: bool = False,
) -> Path:
    """The profile `knobs` as the file `path`, whole or not at all; returns the path.

    `base`: the file whose text is taken and changed where a value differs; knobs it sets and `knobs` does not stay.
    `reasons`: why a knob has its value, as a comment. Raises UsageError if `path` is there and `replace` is not said,
    if it cannot be written, or if a value is not one the knob takes.
    """
    if path.suffix != ".toml":
        raise UsageError(f"{path}: a profile's file is called NAME.toml")
    without = knobs.get("num_workers") == 0
    meant = {name: value for name, value in knobs.items() if not (without and name in FOR_WORKERS)}
    wanted = check_source(meant, str(path))
    document = _read(base)
    if title is not None:
        document["title"] = clean(title)
    text = _changed(document, wanted, reasons or {})
    if without:
        text = _commented_out(text)
    _check(path, text, wanted)
    _write(path, text.encode(), replace)
    return path


def _read(base: Path | None) -> TOMLDocument:
    """Its text as tomlkit has it. Raises UsageError if it is no profile."""
    if base is None:
        return tomlkit.document()
    load(base)
    try:
        return tomlkit.parse(base.read_bytes().decode())
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise UsageError(f"{base}: cannot be read: {error}") from None


def _changed(document: TOMLDocument, wanted: Mapping[str, Value], reasons: Mapping[str, str]) -> str:
    """The document's text with every value as wanted. A comment beside a value that is replaced spoke of that one: it
    stays, and a line above says what took its place and why."""
    values = document.unwrap().get("knobs", {})
    if "knobs" not in document:
        document["knobs"] = tomlkit.table()
    table = document["knobs"]
    assert isinstance(table, MutableMapping)
    above: dict[str, str] = {}
    for name, value in wanted.items():
        reason = clean(reasons.get(name, ""))
        if name not in table:
            item = tomlkit.item(value)
            table[name] = item.comment(reason) if reason and not isinstance(table, InlineTable) else item
            continue
        held = values[name]
        if (type(held), held) != (type(value), value):
            former = tomlkit.item(held).as_string()
            table[name] = value
            _in_its_column(table, name, former)
            above[name] = f"{shown(value)} instead of {shown(held)}" + (f": {reason}" if reason else "")
    text = tomlkit.dumps(document)
    for name, said in above.items():
        text = _with_line_above(text, name, f"# {said}")
    return text


def _in_its_column(table: MutableMapping[str, object], name: str, former: str) -> None:
    """The comment beside a value stays in the column it had beside the text `former`, where there is room."""
    if not isinstance(table, Table):
        return
    item = table.value.item(name)
    if not isinstance(item, Item) or len(item.trivia.comment_ws) < 2:
        return
    room = len(item.trivia.comment_ws) + len(former) - len(item.as_string())
    item.trivia.comment_ws = " " * max(1, room)


def _with_line_above(text: str, name: str, line: str) -> str:
    number = line_of(text, "knobs", name)
    if number is None:
        return text
    lines = text.split("\n")
    ending = "\r" if lines[number - 1].endswith("\r") else ""
    return "\n".join([*lines[: number - 1], line + ending, *lines[number - 1 :]])


def _commented_out(text: str) -> str:
    """The knobs that mean nothing without workers as comments: whoever wrote a reason beside one keeps it."""
    for name in FOR_WORKERS:
        number = line_of(text, "knobs", name)
        if number is not None and tomllib.loads(text)["knobs"][name] is not False:
            lines = text.split("\n")
            lines[number - 1] = f"# {lines[number - 1]}"
            text = "\n".join(lines)
    return text


def _check(path: Path, text: str, wanted: Mapping[str, Value]) -> None:
    """Raises UsageError unless `text` reads as `wanted`: nothing is written that would be refused."""
    try:
        found = check_source(tomllib.loads(text).get("knobs", {}), str(path))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: the values cannot be put into this file ({error}); save it as a new one") from None
    if any(found.get(name) != value for name, value in wanted.items()):
        raise UsageError(f"{path}: the values cannot be put into this file; save it as a new one")


def _write(path: Path, data: bytes, replace: bool) -> None:
    """Raises UsageError if it is there already, or cannot be written."""
    target = path.resolve()
    claimed = False
    try:
        if replace and target.exists():
            mode = stat.S_IMODE(target.stat().st_mode)
        else:
            # Made here or not at all: a file that somebody else makes in this moment is not written over.
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            claimed, mode = True, 0o600
        write_atomic(target, data)
        target.chmod(mode)
    except FileExistsError:
        raise UsageError(f"{path} is there already; choose another name, or say that it may be replaced") from None
    except OSError as error:
        if claimed:
            with suppress(OSError):
                target.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
