"""A report as Markdown with footnotes, whatever names and exception texts hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from engine.report.marked import INTRO, bearing, numbered
from engine.report.model import (
    Basis,
    Block,
    Commands,
    Items,
    Missing,
    Name,
    Paragraph,
    Pieces,
    Plot,
    Report,
    Section,
    Table,
    Value,
)
from engine.report.numbers import moment
from engine.text import clean

Numbers = Mapping[Basis, int]

# What Markdown, or GitHub's kind of it, would read as more than text. An underscore within a word is only text.
_ACTIVE = re.compile(r"[\\`*\[\]<>|~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_LINKED = re.compile(r"(?i)(?<=[a-z])(?=://)|(?<=\bwww)(?=\.)|(?<=mailto)(?=:)|(?<=xmpp)(?=:)|(?=@)")
_BEGINS = re.compile(r"^(\s*)([-+#=>]|\d+(?=[.)]))")


def render(report: Report, pictures: Mapping[str, str] | None = None) -> str:
    """`pictures`: file names of plots by id, beside the file this is written to; without, plots are only named."""
    numbers = numbered(report)
    lines = [f"# {text(report.experiment)}", ""]
    lines += [text(report.title), ""] if report.title else []
    lines += [f"Written {moment(report.written)}. {text(INTRO)}", ""]
    for section in report.sections:
        lines += _section(section, numbers, pictures or {})
    lines += ["## Bases", ""]
    lines += [f"[^{number}]: {begun(text(basis.text))}" for basis, number in numbers.items()]
    return "\n".join(lines) + "\n"


def text(words: str) -> str:
    """`words` as nothing but text."""
    safe = _ACTIVE.sub(lambda found: f"\\{found[0]}", clean(words))
    return _LINKED.sub("\\\\", safe)


def begun(line: str) -> str:
    """A line that begins nothing: no list, heading or quotation."""
    return _BEGINS.sub(lambda found: f"{found[1]}{_unlisted(found[2])}", line)


def _unlisted(mark: str) -> str:
    return f"\\{mark}" if not mark.isdigit() else f"{mark}\\"


def code(words: str, cell: bool = False) -> str:
    """A code span, with more backticks around it than are in it; in a table's cell pipes would end the cell."""
    safe = clean(words) or "–"
    longest = max((len(run) for run in re.findall(r"`+", safe)), default=0)
    fence, pad = "`" * (longest + 1), " " if safe.startswith("`") or safe.endswith("`") else ""
    if cell and "|" in safe:
        return text(words)  # a backslash before a pipe would be shown in a code span of some readers
    return f"{fence}{pad}{safe}{pad}{fence}"


def _section(section: Section, numbers: Numbers, pictures: Mapping[str, str]) -> Iterator[str]:
    yield f"## {text(section.title)}"
    yield ""
    for block in section.blocks:
        yield from _block(block, numbers, pictures)
        yield ""


def _block(block: Block, numbers: Numbers, pictures: Mapping[str, str]) -> Iterator[str]:
    match block:
        case Paragraph():
            yield begun(_pieces(block.pieces, numbers, bearing([block.pieces])))
        case Table():
            yield from _table(block, numbers)
        case Items():
            for one in block.items:
                tick = {"done": "[x] ", "failed": "[ ] **failed:** ", "open": "[ ] ", "none": ""}[one.tick]
                grave = f"**{one.severity}:** " if one.severity else ""
                yield f"- {tick}{grave}{begun(_pieces(one.pieces, numbers, bearing([one.pieces])))}"
        case Commands():
            for command in block.commands:
                yield f"- {code(command.line)}: {_pieces(command.why, numbers, bearing([command.why]))}"
        case Plot():
            mark = f"[^{numbers[block.basis]}]"
            if block.id in pictures:
                yield f"![{text(block.title)}]({pictures[block.id]})"
                yield ""
            drawn = "" if block.id in pictures else ": drawn in a file (`-o FILE.md`, `-o FILE.html`)"
            yield f"*{text(block.title)}*{mark}{drawn}"


def _table(table: Table, numbers: Numbers) -> Iterator[str]:
    yield _line([text(column) for column in table.columns])
    yield _line(["---"] * len(table.columns))
    for one in table.rows:
        marked, at, cells = bearing(one.cells), 0, []
        for cell in one.cells:
            here = {place - at for place in marked}
            cells.append(_pieces(cell, numbers, here, cell=True))
            at += len(cell)
        if one.severity in ("critical", "warning") and one.severity not in cells:
            cells[0] = f"**{cells[0]} ({one.severity})**"
        yield _line(cells)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _pieces(pieces: Pieces, numbers: Numbers, marked: set[int], cell: bool = False) -> str:
    """Text of one line; `marked`: the places of Values that bear a mark."""
    said = []
    for place, piece in enumerate(pieces):
        match piece:
            case Value():
                mark = f"[^{numbers[piece.basis]}]" if place in marked else ""
                said.append(text(piece.text) + mark)
            case Missing():
                said.append(f"– ({text(piece.reason)})")
            case Name():
                said.append(code(piece.text, cell))
            case _:
                said.append(text(piece.text))
    return "".join(said)
