"""A framed panel: its lines are computed from the view, and only changed ones are drawn again."""

from __future__ import annotations

from operator import is_
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from engine.text import clean
from tui.messages import View
from tui.theme import ROLES
from tui.widgets.line import Line, cut, width_of


class Lines(Widget):
    """Draws `draw(view, width, height)`; without a frame, not to be focused."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"role--{role}" for role in ROLES}
    ALLOW_SELECT = False

    view: reactive[View | None] = reactive(None, repaint=False, init=False, always_update=True)

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._drawn: list[Line] = []
        self._parts: tuple[object, ...] | None = None

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        """Lines of at most `width` cells; those beyond `height` are not shown."""
        raise NotImplementedError

    def depends(self, view: View) -> tuple[object, ...] | None:  # noqa: ARG002  for those that override it
        """What the drawing is a function of; None: all of `view`.

        Compared by identity: states are frozen and share what did not change.
        """
        return None

    def lines(self, width: int, height: int) -> list[Line]:
        return self.draw(self.view, width, height) if self.view is not None else []

    def watch_view(self, view: View | None) -> None:
        parts = self.depends(view) if view is not None else None
        known, self._parts = self._parts, parts
        same = parts is not None and known is not None and len(parts) == len(known) and all(map(is_, parts, known))
        if not same:
            self.redraw()

    def on_resize(self) -> None:
        self.redraw()

    def redraw(self) -> None:
        """Compute all lines, refresh those that differ."""
        width, height = self.content_size
        if width <= 0 or height <= 0:
            return
        fresh = [cut(line, width) for line in self.lines(width, height)[:height]]
        fresh += [[] for _ in range(height - len(fresh))]
        known = self._drawn
        changed = [y for y, line in enumerate(fresh) if y >= len(known) or known[y] != line]
        self._drawn = fresh
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        line = self._drawn[y] if y < len(self._drawn) else []
        style = self.rich_style
        segments = [Segment(text, self.get_component_rich_style(f"role--{role}")) for text, role in line if text]
        segments.append(Segment(" " * max(0, width - width_of(line)), style))
        return Strip(segments, width)


class Panel(Lines, can_focus=True):
    """A panel with a frame, a number to focus it by, and a help text."""

    TITLE: ClassVar[str] = ""
    NUMBER: ClassVar[int] = 0
    HELP: ClassVar[str] = ""
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "enlarge", "enlarge", show=False)]

    class Enlarge(Message):
        """Fill the screen with this panel, or put it back."""

        def __init__(self, panel: Panel) -> None:
            super().__init__()
            self.panel = panel

    _entitled: tuple[str, str, str] | None = None

    def on_mount(self) -> None:
        self.entitle()

    def entitle(self, more: str = "", role: str = "", title: str = "") -> None:
        """The title in the frame, drawn again only when it changed. `title`: another than TITLE."""
        number = f"{self.NUMBER} " if self.NUMBER else ""
        spans: list[tuple[str, str] | str] = [(number, "$faint"), (title or self.TITLE, "$label")]
        if more:
            spans.append((f"  {clean(more)}", role or "$number"))
        if self._entitled != (more, role, title):
            self._entitled = (more, role, title)
            self.border_title = Content.assemble(*spans)

    def action_enlarge(self) -> None:
        self.post_message(self.Enlarge(self))
