"""Untrusted text on the screen: cleaned, never markup."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from engine.text import clean


def plain(text: object, style: str = "") -> Content:
    """`text` as content that nothing in it can style, link or make act."""
    return Content.styled(clean(str(text)), style) if style else Content(clean(str(text)))


def fit(text: str, width: int, mark: str = "…") -> str:
    """`text` cleaned and in exactly `width` cells, cut with a mark or filled with spaces."""
    text = clean(text)
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text + " " * (width - cell_len(text))
    return set_cell_size(text, width - 1) + mark


def clipped(text: str, width: int, mark: str = "…") -> str:
    """`text` cleaned, cut with a mark where it is longer than `width` cells."""
    text = clean(text)
    return text if cell_len(text) <= width else fit(text, width, mark)


def wrapped(text: str, width: int, lines: int) -> list[str]:
    """`text` cleaned and broken between words: at most `lines` lines of `width` cells, the last cut with a mark."""
    words, line = clean(text).split(), ""
    found: list[str] = []
    if width <= 0 or lines <= 0:
        return []
    for number, word in enumerate(words):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= width:
            line = longer
            continue
        if len(found) == lines - 1:
            return [*found, clipped(" ".join([*([line] if line else []), *words[number:]]), width)]
        if line:
            found.append(line)
        line = clipped(word, width)
    return [*found, line] if line else found
