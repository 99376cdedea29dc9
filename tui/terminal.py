"""The wire to the terminal: only cells that changed are sent, only known sequences pass, a hang-up ends the program."""

from __future__ import annotations

import os
import re
import select
import threading
from functools import lru_cache
from typing import NamedTuple

from rich.cells import get_character_cell_size
from textual.drivers.linux_driver import LinuxDriver

HUNG_UP = 129

# Cursor moves and colours are drawn; mode switches and queries that a driver needs pass; every other sequence
# (OSC and DCS among them: titles, clipboards) is dropped, whatever text carried it.
_TOKEN = re.compile(
    r"\x1b\[(?P<arguments>[0-9;]*)(?P<final>[Hm])"
    r"|(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|(?P<mode>\x1b\[(?:\?[0-9;]+(?:\$p|[hl])|[<>][0-9;]*u))"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]?|.",
    re.DOTALL,
)
# Characters that take one cell in every terminal: Latin, general punctuation, arrows to geometric shapes, braille.
_NARROW = re.compile(
    "[\x20-\x7e\xa0-\xac\xae-\u02ff\u2010-\u2027\u2030-\u205e\u2190-\u2319\u2500-\u25fc\u2800-\u28ff]*"
)
# Gaps shorter than a cursor move are written over.
_GAP = 4
_SYNC_BEGIN, _SYNC_END = "\x1b[?2026h", "\x1b[?2026l"
# Motion is reported only while a button is held: hovering over an SSH line is not worth its bytes.
_REPLACED = {"\x1b[?1003h": "\x1b[?1002h", "\x1b[?1003l": "\x1b[?1002l"}


class Pen(NamedTuple):
    """How a cell looks: SGR attributes in order, and the SGR arguments of its colours ('' is the terminal's own)."""

    attributes: tuple[str, ...] = ()
    foreground: str = ""
    background: str = ""


PLAIN = Pen()
_OFF = {"22": ("1", "2"), "23": ("3",), "24": ("4", "21"), "25": ("5", "6"), "27": ("7",), "28": ("8",), "29": ("9",)}


@lru_cache(4096)
def pen_after(pen: Pen, arguments: str) -> Pen:
    """`pen` after the SGR sequence with these arguments."""
    words = arguments.split(";") if arguments else ["0"]
    attributes, foreground, background = pen
    at = 0
    while at < len(words):
        word = words[at].lstrip("0") or "0"
        if word in ("38", "48"):
            length = 5 if words[at + 1 : at + 2] == ["2"] else 3
            colour = ";".join(words[at : at + length])
            if word == "38":
                foreground = colour
            else:
                background = colour
            at += length
            continue
        number = int(word)
        if number == 0:
            attributes, foreground, background = PLAIN
        elif 30 <= number <= 37 or 90 <= number <= 97:
            foreground = word
        elif 40 <= number <= 47 or 100 <= number <= 107:
            background = word
        elif number == 39:
            foreground = ""
        elif number == 49:
            background = ""
        elif word in _OFF:
            attributes = tuple(a for a in attributes if a not in _OFF[word])
        elif word not in attributes:
            attributes = tuple(sorted((*attributes, word)))
        at += 1
    return Pen(attributes, foreground, background)


@lru_cache(4096)
def change(old: Pen | None, new: Pen) -> str:
    """The shortest SGR sequence from `old` (None: unknown) to `new`."""
    if old == new:
        return ""
    words: list[str] = []
    lost = old is None or not set(old.attributes) <= set(new.attributes)
    lost = lost or (
        old is not None and bool((old.foreground and not new.foreground) or (old.background and not new.background))
    )
    if lost or old is None:
        words.append("0" if new != PLAIN else "")
        old = PLAIN
    words += [a for a in new.attributes if a not in old.attributes]
    if new.foreground != old.foreground:
        words.append(new.foreground)
    if new.background != old.background:
        words.append(new.background)
    return f"\x1b[{';'.join(words)}m"


@lru_cache(4096)
def blank(pen: Pen) -> Pen:
    """What can be seen of `pen` on a space."""
    return pen if set(pen.attributes) & {"4", "7", "9", "21"} else Pen((), "", pen.background)


class Canvas:
    """What the terminal shows, cell by cell, so that a frame can be cut down to what differs."""

    def __init__(self, width: int, height: int) -> None:
        self.forget(width, height)

    def forget(self, width: int, height: int) -> None:
        """Nothing is known of the terminal's cells any more."""
        self.width, self.height = width, height
        self._characters: list[list[str | None]] = [[None] * width for _ in range(height)]
        self._pens: list[list[Pen | None]] = [[None] * width for _ in range(height)]
        self._cursor: tuple[int, int] | None = None
        self._pen: Pen | None = None

    def feed(self, data: str) -> str:
        """The sequences that turn what is shown into what `data` draws."""
        out: list[str] = []
        x = y = 0
        pen = PLAIN
        asked = None
        for token in _TOKEN.finditer(data):
            match token.lastgroup:
                case "final":
                    arguments = token["arguments"]
                    if token["final"] == "m":
                        pen = pen_after(pen, arguments)
                    else:
                        row, _, column = arguments.partition(";")
                        y, x = int(row or 1) - 1, int(column or 1) - 1
                        asked = (y, x)
                case "text":
                    x += self._text(out, y, x, token["text"], pen)
                    asked = None
                case "mode":
                    out.append(_REPLACED.get(token["mode"], token["mode"]))
                case _:
                    pass
        if asked is not None and out:
            # Input methods look where the cursor is, even a hidden one.
            self._move(out, *asked)
        return "".join(out)

    def _text(self, out: list[str], y: int, x: int, text: str, pen: Pen) -> int:
        """Draw `text` at a place; returns its width in cells."""
        if _NARROW.fullmatch(text) is None:
            return self._wide(out, y, x, text, pen)
        width = len(text)
        if not 0 <= y < self.height or x >= self.width:
            return width
        text = text[: self.width - x]
        if text.isspace():
            pen = blank(pen)
        end = x + len(text)
        shown, pens = self._characters[y], self._pens[y]
        fresh = list(text)
        if shown[x:end] == fresh and all(p is pen or p == pen for p in pens[x:end]):
            return width
        begin = last = -1
        for at in range(x, end):
            if shown[at] != text[at - x] or pens[at] != pen:
                if begin >= 0 and at - last > _GAP:
                    self._emit(out, y, begin, text[begin - x : last + 1 - x], pen)
                    begin = at
                elif begin < 0:
                    begin = at
                last = at
        self._emit(out, y, begin, text[begin - x : last + 1 - x], pen)
        shown[x:end] = fresh
        pens[x:end] = [pen] * len(fresh)
        return width

    def _wide(self, out: list[str], y: int, x: int, text: str, pen: Pen) -> int:
        """Text with characters of two cells or none: all of it is sent if any cell differs."""
        cells: list[str] = []
        for character in text:
            size = get_character_cell_size(character)
            if size == 0 and cells:
                cells[-1 if cells[-1] else -2] += character
            elif size:
                cells += [character, *[""] * (size - 1)]
        if not 0 <= y < self.height:
            return len(cells)
        end = min(x + len(cells), self.width)
        shown, pens = self._characters[y], self._pens[y]
        if shown[x:end] != cells[: end - x] or any(p != pen for p in pens[x:end]):
            self._emit(out, y, x, text, pen)
            self._cursor = None
            shown[x:end] = cells[: end - x]
            pens[x:end] = [pen] * (end - x)
        return len(cells)

    def _emit(self, out: list[str], y: int, x: int, text: str, pen: Pen) -> None:
        self._move(out, y, x)
        if self._pen != pen:
            out.append(change(self._pen, pen))
            self._pen = pen
        out.append(text)
        # At the right edge the cursor waits to wrap: where it then is differs between terminals.
        self._cursor = (y, x + len(text)) if x + len(text) < self.width else None

    def _move(self, out: list[str], y: int, x: int) -> None:
        if self._cursor == (y, x):
            return
        if self._cursor is not None and self._cursor[0] == y and self._cursor[1] < x:
            out.append(f"\x1b[{x - self._cursor[1]}C")
        else:
            out.append(f"\x1b[{y + 1};{x + 1}H")
        self._cursor = (y, x)


class LeanDriver(LinuxDriver):
    """Textual's driver over a Canvas; ends the program at once when the terminal is gone.

    Nothing is lost by that: trainings belong to their supervisor, and settings are written when they change.
    """

    _canvas: Canvas | None = None
    _synchronised = ""
    _watched = False

    def start_application_mode(self) -> None:
        self._canvas = Canvas(*self._get_terminal_size())
        if self.input_tty and not self._watched:
            self._watched = True
            watcher = threading.Thread(target=self._watch_hang_up, name="hang-up", daemon=True)
            watcher.start()
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        if self._canvas is not None:
            # Frames leave the pen as their last cell was drawn; what follows is the shell's.
            self._canvas.forget(*self._get_terminal_size())
            super().write("\x1b[m")
        super().stop_application_mode()

    def _watch_hang_up(self) -> None:
        """Sleeps until the terminal hangs up. A read of a dead terminal returns at once for ever, so nobody may try."""
        poller = select.poll()
        poller.register(self.fileno, 0)
        while True:
            if any(happened & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, happened in poller.poll()):
                os._exit(HUNG_UP)

    def forget(self) -> None:
        """The terminal was resized or written on by somebody else: send every cell again."""
        if self._canvas is not None:
            self._canvas.forget(*self._get_terminal_size())

    def ring(self, data: str) -> None:
        """Send a bell or a notification as it is: it moves no cursor. Callers pass fixed words only."""
        if data:
            super().write(data)

    def write(self, data: str) -> None:
        canvas = self._canvas
        if canvas is None:
            super().write(data)
            return
        if data == _SYNC_BEGIN:
            self._synchronised = data
            return
        if data == _SYNC_END:
            if not self._synchronised:
                super().write(data)
            self._synchronised = ""
            return
        if (canvas.width, canvas.height) != (size := self._get_terminal_size()):
            canvas.forget(*size)
        lean = canvas.feed(data)
        if lean:
            super().write(self._synchronised + lean)
            self._synchronised = ""
