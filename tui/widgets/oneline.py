"""A line or a few that a screen writes itself: a title, keys, a remark."""

from __future__ import annotations

from collections.abc import Sequence

from textual.reactive import reactive

from tui.plain import wrapped
from tui.widgets.line import Line, width_of
from tui.widgets.panel import Lines

Key = tuple[str, str]


class Written(Lines):
    """Draws what it is given; not there while that is nothing, if `vanishes`."""

    said: reactive[tuple[tuple[tuple[str, str], ...], ...]] = reactive((), repaint=False, init=False)

    def __init__(self, *, vanishes: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._vanishes = vanishes
        self._height = 0
        self.display = not vanishes

    def write(self, lines: Sequence[Line]) -> None:
        self.said = tuple(tuple(line) for line in lines)

    def watch_said(self) -> None:
        if self._vanishes:
            self.display = bool(self.said)
            if self.said and len(self.said) != self._height:
                self._height = self.styles.height = len(self.said)
        self.redraw()

    def lines(self, width: int, height: int) -> list[Line]:  # noqa: ARG002  it is cut
        return [list(line) for line in self.said]


class Remark(Written):
    """What became of what was asked for, below the title; not there while there is nothing to say."""

    LINES = 5

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(vanishes=True, id=id)

    def say(self, text: str, role: str = "label") -> None:
        """'' takes it away."""
        first = " ! " if role == "alarm" else "   "
        lines = wrapped(text, max(20, self.app.size.width - 4), self.LINES)
        self.write([[("   " if at else first, role), (line, role)] for at, line in enumerate(lines)])


def keys_line(keys: Sequence[Key], width: int) -> Line:
    """As many keys with their words as fit; the first ones matter most, the last two always stay."""
    kept = list(keys)
    while True:
        line: Line = [span for key, text in kept for span in ((f" {key}", "key"), (f" {text} ", "text"))]
        if width_of(line) <= width or len(kept) <= 2:
            return line
        kept.pop(-3 if len(kept) > 2 else 0)
