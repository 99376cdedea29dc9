"""A report as somebody reads it: its tables' figures as numbers again, and the journals read without steptop's code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

SECONDS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
BYTES = {"B": 1.0, "KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3, "TiB": 1024.0**4}
NUMBER = re.compile(r"^[+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?$")


def tables(report: dict[str, Any]) -> dict[str, list[list[list[dict[str, Any]]]]]:
    """Table id -> rows -> cells -> pieces, of a report's JSON."""
    return {
        block["id"]: [row["cells"] for row in block["rows"]]
        for section in report["sections"] for block in section["blocks"] if block["is"] == "table"
    }


def row(rows: list[Any], name: str) -> list[Any]:
    """The row whose first cell says `name`."""
    found = [cells for cells in rows if said(cells[0]) == name]
    assert len(found) == 1, (name, [said(cells[0]) for cells in rows])
    return found[0]


def said(cell: list[dict[str, Any]]) -> str:
    return "".join(piece.get("text", "–") for piece in cell)


def number(cell: list[dict[str, Any]]) -> float:
    """The only figure of a cell."""
    values = [piece for piece in cell if piece["is"] == "value"]
    assert len(values) == 1 and values[0]["value"] is not None, cell
    return float(values[0]["value"])


def read_back(text: str) -> tuple[float, float]:
    """A figure as it is shown, in seconds, bytes or as it stands, and how far rounding may have moved it."""
    total, last = 0.0, 0.0
    for word, unit in re.findall(r"([\d.,]+(?:e-?\d+)?) ?(ms|[dhms])(?![A-Za-z])", text):
        step = SECONDS[unit] * _grain(word)
        total, last = total + float(word.replace(",", "")) * SECONDS[unit], step
    if last:
        return total, 0.51 * last
    first, _, unit = text.partition(" ")
    word = first.lstrip("×")
    assert NUMBER.match(word), text
    factor = BYTES.get(unit, 0.01 if unit == "%" else 1.0)
    return float(word.replace(",", "")) * factor, 0.51 * factor * _grain(word)


def _grain(word: str) -> float:
    """The weight of a number's last digit."""
    digits, _, power = word.replace(",", "").partition("e")
    after = len(digits.partition(".")[2])
    return float(10.0 ** (int(power or 0) - after))


class Journals:
    """An experiment's folder, its lines as plain dictionaries."""

    def __init__(self, folder: Path) -> None:
        self.plan = json.loads((folder / "plan.json").read_text())
        self.data = json.loads((folder / "data.json").read_text()) if (folder / "data.json").exists() else {}
        self.events = _lines(folder / "events.jsonl")
        self.machine = _lines(folder / "machine.jsonl") if (folder / "machine.jsonl").exists() else []
        self.runs = {
            path.name: [line for part in sorted(path.glob("steps-*.jsonl")) for line in _lines(part)]
            for path in sorted(folder.glob("fold_*"))
        }

    def of(self, run: str, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.runs[run] if line["k"] == kind]

    def every(self, kind: str) -> list[dict[str, Any]]:
        return [line for run in self.runs for line in self.of(run, kind)]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]
