"""Every knob as a table, from its one declaration: `python -m engine.config.knob_table FILE` writes it into a file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from engine.config.knob import Knob, Value, shown
from engine.config.profile import KNOBS

BEGIN, END = "<!-- knobs: written by `make knobs` -->", "<!-- /knobs -->"


def markdown() -> str:
    """The README's table."""
    rows = [
        f"| `{knob.name}` | {_cell(knob.allowed)} | {shown(knob.default)} | {knob.unit} | {knob.kind.value} "
        f"| {_cell(knob.help)} |"
        for knob in KNOBS.values()
    ]
    return "\n".join(["| knob | values | default | unit | kind | what it does |", "|---|---|---|---|---|---|", *rows])


def lines(values: Mapping[str, str] | None = None) -> list[str]:
    """The same for a terminal, two lines a knob; `values`: what each is set to, in words."""
    said = []
    for knob in KNOBS.values():
        value = f"{values.get(knob.name, ''):<20} " if values else ""
        unit = f" {knob.unit}" if knob.unit else ""
        taken = f"{knob.allowed}{unit}, default {shown(knob.default)}"
        said.append(f"  {knob.name:<25}{value}{taken:<44} {knob.kind.value}")
        said.append(f"  {'':<25}{knob.help}")
    return said


def described(knob: Knob) -> dict[str, Value | list[str] | None]:
    """For JSON."""
    return {
        "name": knob.name,
        "default": knob.default,
        "kind": knob.kind.value,
        "unit": knob.unit,
        "low": knob.low,
        "high": knob.high,
        "choices": list(knob.choices),
        "live": knob.live,
        "help": knob.help,
    }


def written(text: str) -> str:
    """`text` with the table between the two marks as it should be. Raises ValueError without marks."""
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"no place for the table: it needs {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{markdown()}\n{END}{after}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace(" \\| ", ", ")


def main(names: list[str]) -> int:
    for name in names:
        file = Path(name)
        file.write_text(written(file.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
