"""A panel of the comparison: drawn from it, as others are from the view."""

from __future__ import annotations

from textual.reactive import reactive

from tui.comparison import Comparison
from tui.widgets.line import Line
from tui.widgets.panel import Panel


class ComparisonPanel(Panel):
    """Draws `show(comparison, width, height)`."""

    comparison: reactive[Comparison | None] = reactive(None, repaint=False, init=False, always_update=True)

    def show(self, comparison: Comparison, width: int, height: int) -> list[Line]:
        """Lines of at most `width` cells; those beyond `height` are not shown."""
        raise NotImplementedError

    def lines(self, width: int, height: int) -> list[Line]:
        return self.show(self.comparison, width, height) if self.comparison is not None else []

    def watch_comparison(self) -> None:
        self.redraw()
