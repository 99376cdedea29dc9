"""Tables of quoted facts as TOML: rows of one kind, every mistake in them told with file, line and remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import UsageError, unknown
from engine.paths import read_toml

LONGEST = 60


class Row(NamedTuple):
    """One [[kind]] table: its values, and the lines `begin` to `end` (from 1) of the file that hold them."""

    path: Path
    kind: str
    values: dict[str, Any]
    begin: int
    lines: tuple[str, ...]
    prefix: str = ""

    def where(self, key: str = "") -> str:
        """`hardware.toml, line 12`: where `key` is set; the row's first line for one that is not."""
        for number, line in enumerate(self.lines, self.begin):
            if key and line.split("=", 1)[0].strip().strip("\"'") == key:
                return f"{self.path}, line {number}"
        return f"{self.path}, line {self.begin}"

    def only(self, fields: Sequence[str]) -> None:
        for key in self.values:
            if key not in fields:
                raise unknown("field", key, fields, self.where(key))

    def needs(self, fields: Sequence[str]) -> None:
        missing = [field for field in fields if field not in self.values]
        if missing:
            called = self.values.get("name")
            who = f" {called!r}" if isinstance(called, str) else ""
            raise UsageError(f"{self.where()}: {self.kind}{who} lacks {', '.join(missing)}")

    def text(self, key: str) -> str:
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise UsageError(f"{self._said(key)}: it is a text, in quotes")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values.get(key)
        if not isinstance(value, list) or not all(isinstance(one, str) and one.isprintable() for one in value):
            raise UsageError(f'{self._said(key)}: it is a list of texts, such as ["one", "two"]')
        return tuple(value)

    def positive(self, key: str) -> float:
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise UsageError(f"{self._said(key)}: it is a number above 0")
        return float(value)

    def table(self, key: str, fields: Sequence[str]) -> Row:
        """The table under `key`, written inline."""
        value = self.values.get(key)
        if not isinstance(value, dict):
            raise UsageError(f"{self._said(key)}: it is a table of {', '.join(fields)}")
        inner = Row(self.path, key, value, self._line(key), (), f"{key}.")
        inner.only(fields)
        return inner

    def _line(self, key: str) -> int:
        return int(self.where(key).rsplit(" ", 1)[1])

    def _said(self, key: str) -> str:
        value = self.values.get(key)
        text = repr(value)
        short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
        return f"{self.where(key)}: " + (f"{self.prefix}{key} = {short}" if key in self.values else f"{key} is missing")


def rows(path: Path, kind: str, kinds: Sequence[str] = ()) -> tuple[Row, ...]:
    """Every [[kind]] of a TOML file, in order; `kinds`: what else may stand in it beside them. Raises UsageError."""
    raw = read_toml(path)
    known = (kind, *kinds)
    for key in raw:
        if key not in known:
            raise unknown("table", key, known, str(path))
    listed = raw.get(kind, [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise UsageError(f"{path}: write [[{kind}]] above each {kind}")
    lines = path.read_text("utf-8").splitlines()
    heads = [number for number, line in enumerate(lines, 1) if line.strip().startswith("[[")]
    own = [number for number in heads if "".join(lines[number - 1].split("#")[0].split()) == f"[[{kind}]]"]
    found = []
    for index, values in enumerate(listed):
        begin = own[index] if len(own) == len(listed) else 1
        end = next((number for number in heads if number > begin), len(lines) + 1)
        found.append(Row(path, kind, values, begin, tuple(lines[begin - 1 : end - 1])))
    return tuple(found)
