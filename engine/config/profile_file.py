"""A profile as a TOML file: read with the line of whatever is wrong in it."""

from __future__ import annotations

import tomllib
from functools import partial
from pathlib import Path

from engine.config.knob import Value
from engine.config.profile import check_source
from engine.errors import UsageError, unknown
from engine.machine.cores import Machine
from engine.paths import read_toml

FIELDS = ("title", "knobs")
# Reading grows with the square of the lines; no profile has so many.
LONGEST = 1000


def load(path: Path, machine: Machine | None = None) -> tuple[str, dict[str, Value]]:
    """A profile file's title and the knobs it sets, texts that follow the machine as they stand there.

    Raises UsageError naming the file, the line and the remedy; with a `machine` also for more loader processes than it
    allows.
    """
    raw = read_toml(path)
    for key in raw:
        if key not in FIELDS:
            raise unknown("field", key, FIELDS, line_in(path, key))
    title, values = raw.get("title", ""), raw.get("knobs", {})
    if not isinstance(title, str):
        raise UsageError(f"title in {line_in(path, 'title')}: it is a text, in quotes")
    if not isinstance(values, dict):
        raise UsageError(f"knobs in {line_in(path, 'knobs')}: it is a table; write [knobs] on a line of its own")
    return title, check_source(values, partial(line_in, path, "knobs"), machine)


def line_in(path: Path, *keys: str) -> str:
    """`mine.toml, line 4`: where the value under `keys` is set."""
    try:
        line = line_of(path.read_text("utf-8"), *keys)
    except (OSError, UnicodeDecodeError):
        line = None
    return str(path) if line is None else f"{path}, line {line}"


def line_of(text: str, *keys: str) -> int | None:
    """The line, from 1, on which the statement that sets `keys` begins; None if nothing does.

    As much of the text as holds whole statements is TOML itself, so TOML's own reader tells where one appears.
    """
    begin, lines = 1, text.replace("\r\n", "\n").split("\n")
    for count in range(1, min(len(lines), LONGEST) + 1):
        try:
            found: object = tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if found is not None:
            return begin
        begin = count + 1
    return None
