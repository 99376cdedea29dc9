"""What a report is made of: sections of paragraphs, tables, lists and plots, and a basis on every number.

Plain text of a paragraph or cell holds no digits: a number is a Value, which has a basis, and a name is a Name. What is
not known is a Missing, which has a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

import msgspec

# measured: read from a journal, or summed over one; counted: of files and lists; modelled: worked out from measurements
# by a model that may be wrong; quoted: somebody else's figure, with its source and date; set: decided at launch.
Kind: TypeAlias = Literal["measured", "counted", "modelled", "quoted", "set"]
Severity: TypeAlias = Literal["critical", "warning", "note", "ok", "locked", ""]
Tick: TypeAlias = Literal["done", "failed", "open", "none"]


class Basis(msgspec.Struct, frozen=True):
    """Where a number is from: which file and steps, which model, which source and when."""

    kind: Kind
    text: str


class Value(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="value"):
    """A figure, or a sentence that holds some. `text`: as shown; `value` in `unit`, with its range, for programs."""

    text: str
    basis: Basis
    value: float | int | None = None
    unit: str = ""
    low: float | None = None
    high: float | None = None


class Missing(msgspec.Struct, frozen=True, tag_field="is", tag="missing"):
    """Shown as a dash with its reason."""

    reason: str


class Name(msgspec.Struct, frozen=True, tag_field="is", tag="name"):
    """A name, value of a knob or path: somebody else's words, shown as they are."""

    text: str


class Words(msgspec.Struct, frozen=True, tag_field="is", tag="words"):
    """The report's own words, without a digit."""

    text: str


Piece: TypeAlias = Value | Missing | Name | Words
Pieces: TypeAlias = tuple[Piece, ...]


class Mark(msgspec.Struct, frozen=True):
    """How grave something is, with what shows it."""

    severity: Severity = ""
    reason: Pieces = ()


class Paragraph(msgspec.Struct, frozen=True, tag_field="is", tag="paragraph"):
    pieces: Pieces


class Row(msgspec.Struct, frozen=True):
    cells: tuple[Pieces, ...]
    severity: Severity = ""


class Table(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="table"):
    """`id`: a name for programs, unique in a report."""

    id: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


class Item(msgspec.Struct, frozen=True):
    pieces: Pieces
    severity: Severity = ""
    tick: Tick = "none"


class Items(msgspec.Struct, frozen=True, tag_field="is", tag="items"):
    items: tuple[Item, ...]


class Command(msgspec.Struct, frozen=True):
    """Something to type, and what it does."""

    line: str
    why: Pieces


class Commands(msgspec.Struct, frozen=True, tag_field="is", tag="commands"):
    commands: tuple[Command, ...]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Points (x, y), and where it was drawn from many the least and most of each (x, low, high)."""

    name: str
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float, float], ...] = ()


class Plot(msgspec.Struct, frozen=True, kw_only=True, tag_field="is", tag="plot"):
    """`x`, `y`: what the axes are, with their units. `marks`: where on x something happened, and what. `least`: this
    share of the largest value is shown at least, so that next to nothing does not look like much."""

    id: str
    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    basis: Basis
    marks: tuple[tuple[float, str], ...] = ()
    least: float = 0.0


Block: TypeAlias = Paragraph | Table | Items | Commands | Plot


class Section(msgspec.Struct, frozen=True):
    id: str
    title: str
    blocks: tuple[Block, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`written`: wall clock of what it says (s since 1970); a training goes on after it."""

    format: int = 1
    experiment: str
    title: str
    written: float
    sections: tuple[Section, ...]


# ---------------------------------------------------------------- in few words


def say(*pieces: Piece | str) -> Pieces:
    """Pieces; plain text is the report's own words."""
    return tuple(Words(piece) if isinstance(piece, str) else piece for piece in pieces if piece != "")


def paragraph(*pieces: Piece | str) -> Paragraph:
    return Paragraph(say(*pieces))


def row(*cells: Piece | Pieces | str, severity: Severity = "") -> Row:
    return Row(tuple(cell if isinstance(cell, tuple) else say(cell) for cell in cells), severity)


def item(*pieces: Piece | str, severity: Severity = "", tick: Tick = "none") -> Item:
    return Item(say(*pieces), severity, tick)


# ---------------------------------------------------------------- walking through one


def pieces_of(report: Report) -> Iterator[Piece]:
    """Every piece in the order it is read."""
    for section in report.sections:
        for block in section.blocks:
            for group in _groups(block):
                yield from group


def _groups(block: Block) -> Iterator[Pieces]:
    match block:
        case Paragraph():
            yield block.pieces
        case Table():
            for one in block.rows:
                yield from one.cells
        case Items():
            yield from (one.pieces for one in block.items)
        case Commands():
            yield from (one.why for one in block.commands)
        case Plot():
            return


def bases_of(report: Report) -> tuple[Basis, ...]:
    """Every basis once, in the order it is first needed."""
    found: dict[Basis, None] = {}
    for section in report.sections:
        for block in section.blocks:
            for group in _groups(block):
                found |= {piece.basis: None for piece in group if isinstance(piece, Value)}
            if isinstance(block, Plot):
                found[block.basis] = None
    return tuple(found)
