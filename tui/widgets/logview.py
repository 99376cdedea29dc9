"""Lines of a log: bounded, filtered, followed, drawn only where they are seen."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from engine.text import clean
from tui.logfilter import Match, matcher
from tui.theme import ROLES

MAX_LINES = 10_000


class LogView(ScrollView, can_focus=True):
    """Shows the last MAX_LINES lines that match the filter."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"role--{role}" for role in ROLES}
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "down", show=False),
        Binding("k", "scroll_up", "up", show=False),
        Binding("h", "scroll_left", "left", show=False),
        Binding("l", "scroll_right", "right", show=False),
        Binding("g,home", "scroll_home", "first", show=False),
        Binding("G,end", "scroll_end", "last", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._all: deque[str] = deque(maxlen=MAX_LINES)
        self._shown: deque[str] = deque(maxlen=MAX_LINES)
        self._unfinished = ""
        self._filter: Match | None = None
        self._widest = 0
        self.follow = True

    def add(self, lines: Iterable[str], unfinished: str = "") -> None:
        """Append lines and replace the one still being written."""
        fresh = [clean(line) for line in lines]
        if not fresh and unfinished == self._unfinished:
            return
        self._unfinished = clean(unfinished)
        self._all.extend(fresh)
        matching = [line for line in fresh if self._matches(line)]
        full = len(self._shown) + len(matching) > MAX_LINES
        self._shown.extend(matching)
        self._widest = (
            max(self._widest, *(len(line) for line in matching), len(self._unfinished)) if matching else self._widest
        )
        self._resized(full)

    def clear(self) -> None:
        self._all.clear()
        self._shown.clear()
        self._unfinished, self._widest = "", 0
        self._resized(True)

    def filter_by(self, pattern: str) -> str:
        """Show only lines that `pattern` is found in. Returns what is wrong with it, or ''."""
        try:
            self._filter = matcher(pattern) if pattern else None
        except ValueError as error:
            return f"not a regular expression: {error}"
        self._shown = deque((line for line in self._all if self._matches(line)), maxlen=MAX_LINES)
        self._widest = max((len(line) for line in self._shown), default=0)
        self._resized(True)
        return ""

    @property
    def counts(self) -> tuple[int, int]:
        """Lines shown and lines kept."""
        return len(self._shown), len(self._all)

    def set_follow(self, follow: bool) -> None:
        self.follow = follow
        if follow:
            self.scroll_end(animate=False, x_axis=False)

    def _matches(self, line: str) -> bool:
        return self._filter is None or self._filter(line)

    def _resized(self, all_changed: bool) -> None:
        height = len(self._shown) + bool(self._unfinished)
        self.virtual_size = Size(self._widest, height)
        if self.follow:
            self.scroll_end(animate=False, x_axis=False)
        if all_changed or self.follow or height <= self.scroll_offset.y + self.size.height + 1:
            self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value and self.max_scroll_y - new_value > 1:
            self.follow = False

    def render_line(self, y: int) -> Strip:
        x, top = self.scroll_offset
        width, at = self.size.width, y + top
        line = self._shown[at] if at < len(self._shown) else self._unfinished if at == len(self._shown) else ""
        text = line[x : x + width]
        role = _role(line)
        strip = Strip([Segment(text, self.get_component_rich_style(f"role--{role}"))])
        return strip.crop_extend(0, width, self.rich_style)


_BAD = re.compile(r"\b(error|exception|traceback|failed|killed|nan)\b", re.IGNORECASE)
_WARN = re.compile(r"\bwarn(ing)?\b", re.IGNORECASE)


def _role(line: str) -> str:
    return "bad" if _BAD.search(line) else "warn" if _WARN.search(line) else "text"
