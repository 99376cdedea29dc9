"""A panel of the profile editor: drawn from the desk, as others are from the view."""

from __future__ import annotations

from textual.reactive import reactive

from tui.desk import Desk
from tui.widgets.line import Line
from tui.widgets.panel import Panel


class DeskPanel(Panel):
    """Draws `show(desk, width, height)`."""

    desk: reactive[Desk | None] = reactive(None, repaint=False, init=False, always_update=True)

    def show(self, desk: Desk, width: int, height: int) -> list[Line]:
        """Lines of at most `width` cells; those beyond `height` are not shown."""
        raise NotImplementedError

    def lines(self, width: int, height: int) -> list[Line]:
        return self.show(self.desk, width, height) if self.desk is not None else []

    def watch_desk(self) -> None:
        self.redraw()
