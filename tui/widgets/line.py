"""Lines of the screen as data: spans of text, each with the role that colours it."""

from __future__ import annotations

from typing import TypeAlias

from rich.cells import cell_len

from engine.text import clean
from tui import glyphs
from tui.plain import clipped

Span: TypeAlias = tuple[str, str]
Line: TypeAlias = list[Span]


def width_of(line: Line) -> int:
    return sum(cell_len(text) for text, _ in line)


def text_of(line: Line) -> str:
    return "".join(text for text, _ in line)


def cut(line: Line, width: int) -> Line:
    """`line` in at most `width` cells, every text cleaned; what does not fit ends with a mark."""
    found: Line = []
    room = width
    for text, role in line:
        text = clean(text)
        size = cell_len(text)
        if size > room:
            if room > 0:
                found.append((clipped(text, room), role))
            return found
        found.append((text, role))
        room -= size
    return found


def ends(left: Line, right: Line, width: int) -> Line:
    """`left` and `right` at the two ends of a line; `right` goes if both do not fit."""
    gap = width - width_of(left) - width_of(right)
    return [*left, (" " * gap, "text"), *right] if right and gap >= 1 else left


def bar(fraction: float | None, width: int, role: str = "bar") -> Line:
    """A progress bar in half cells."""
    if width <= 0:
        return []
    halves = round(2 * width * min(max(fraction or 0.0, 0.0), 1.0))
    if fraction and halves == 0:
        halves = 1
    full, half = divmod(halves, 2)
    spans: Line = [(glyphs.BAR_FULL * full + glyphs.BAR_HALF * half, role)] if halves else []
    return [*spans, (glyphs.BAR_EMPTY * (width - full - half), "track")]


def block(fraction: float, width: int, role: str = "bar") -> Line:
    """A broad bar, blank beyond; a sliver for anything more than nothing."""
    full = round(width * min(max(fraction, 0.0), 1.0))
    drawn = glyphs.BLOCK * full if full else glyphs.SLIVER if fraction > 0 else ""
    return [(drawn, role), (" " * (width - len(drawn)), "text")]


def spark(values: list[float | None], width: int, top: float) -> Span:
    """The last `width` values as a row of blocks from 0 to `top`; a missing one is blank."""
    levels = glyphs.SPARKS
    last = values[-width:]
    drawn = "".join(
        " " if v is None else levels[min(int(max(v, 0.0) / top * len(levels)), len(levels) - 1)] if top else levels[0]
        for v in last
    )
    return drawn.rjust(width), "accent"
