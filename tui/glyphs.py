"""The characters the screen draws with, and what stands for each where only ASCII can be shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

BAR_FULL, BAR_HALF, BAR_EMPTY = "━", "╸", "─"
BLOCK, SLIVER = "▆", "▏"
SPARKS = "▁▂▃▄▅▆▇█"
BRAILLE = 0x2800

DOT, RISING, FALLING = "●", "↗", "↘"
RUN_SYMBOLS = {"waiting": "·", "running": "▶", "finished": "✔", "stopped": "■", "failed": "✖", "lost": "?"}

# One character for one, so that nothing moves.
_ASCII = {
    **dict.fromkeys("━═█▉▊▋▌", "#"),
    **dict.fromkeys("╸▍▎▏▐▕", "|"),
    "─": "-",
    "│": "|",
    "┃": "|",
    "╭": "+",
    "╮": "+",
    "╰": "+",
    "╯": "+",
    "┌": "+",
    "┐": "+",
    "└": "+",
    "┘": "+",
    "├": "+",
    "┤": "+",
    "┬": "+",
    "┴": "+",
    "┼": "+",
    "▁": "_",
    "▂": ".",
    "▃": "-",
    "▄": "=",
    "▅": "+",
    "▆": "*",
    "▇": "%",
    "▔": "-",
    "▀": "-",
    "●": "*",
    "○": "o",
    "◐": "o",
    "·": "-",
    "–": "-",
    "—": "-",
    "±": "~",
    "×": "x",
    "÷": "/",
    "°": " ",
    "…": ".",
    "→": ">",
    "←": "<",
    "↑": "^",
    "↓": "v",
    "↗": "^",
    "↘": "v",
    "▶": ">",
    "▸": ">",
    "✔": "v",
    "✖": "x",
    "■": "#",
    "□": ".",
    "▲": "^",
    "▼": "v",
    "△": "^",
    "▽": "v",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "µ": "u",
    "²": "2",
    "³": "3",
    "≤": "<",
    "≥": ">",
    "≈": "~",
    "⏎": ">",
    "⏵": ">",
    "•": "*",
    "✓": "v",
    "⚠": "!",
    "\ufffd": "?",
}


class _Table(Mapping[int, str]):
    """Anything beyond ASCII becomes one ASCII character: a braille cell by where its dots are, the unknown a '?'."""

    def __getitem__(self, code: int) -> str:
        return _ascii_for(code)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(())

    def __len__(self) -> int:
        return 0


@cache
def _ascii_for(code: int) -> str:
    if code < 0x80:
        return chr(code)
    if BRAILLE <= code < BRAILLE + 256:
        upper, lower = code & 0b00011011, code & 0b11100100
        return ":" if upper and lower else "'" if upper else "." if lower else " "
    return _ASCII.get(chr(code), "?")


_TABLE = _Table()


def ascii_only(text: str) -> str:
    """`text` with one ASCII character for each of its own."""
    return text if text.isascii() else text.translate(_TABLE)


class AsciiFilter(LineFilter):
    """Applied to every line of every widget, Textual's own among them."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  its signature
        return [
            segment if segment.text.isascii() else Segment(_ascii_cells(segment.text), segment.style, segment.control)
            for segment in segments
        ]


@cache
def _ascii_cells(text: str) -> str:
    from rich.cells import get_character_cell_size

    return "".join(_ascii_for(ord(character)) * get_character_cell_size(character) for character in text)


def terminal_is_ascii(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the locale or the kind of terminal says that nothing beyond ASCII can be shown."""
    known = os.environ if environment is None else environment
    if known.get("TERM") in ("dumb", "linux", "vt100", "vt220"):
        return True
    # Python itself sets LC_CTYPE=C.UTF-8 where it finds no locale it knows; then LANG is what the user said.
    names = (
        ("LC_ALL", "LANG")
        if known.get("LC_CTYPE") == "C.UTF-8" and known.get("LANG")
        else ("LC_ALL", "LC_CTYPE", "LANG")
    )
    locale = next((known[name] for name in names if known.get(name)), "")
    return bool(locale) and "utf" not in locale.lower()
