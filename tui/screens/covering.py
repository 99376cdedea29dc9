"""What screens of panels share: one panel may fill the screen, and those that cover a dashboard lead back to it."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.screen import Screen

from tui.screens.help import HelpScreen
from tui.widgets.oneline import Remark
from tui.widgets.panel import Panel

T = TypeVar("T")


class Panelled(Screen[T]):
    """Enlarges the panel that asks for it, and back."""

    def on_panel_enlarge(self, message: Panel.Enlarge) -> None:
        if self.maximized is message.panel:
            self.minimize()
        else:
            self.maximize(message.panel, container=False)


class Covering(Panelled[T]):
    """Over a dashboard, with a line for remarks and `KEYS` of its own in its help. Escape makes an enlarged panel small
    before it leads `back`."""

    KEYS: ClassVar[tuple[tuple[str, str, str], ...]] = ()

    def show(self) -> None:
        """Draw what depends on the size, too."""
        raise NotImplementedError

    def back(self) -> T | None:
        """What it is dismissed with."""
        return None

    def on_resize(self) -> None:
        self.show()

    def remark(self, text: str, role: str = "label") -> None:
        if self.is_mounted:
            self.query_one(Remark).say(text, role)

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen(self.focused if isinstance(self.focused, Panel) else None, keys=self.KEYS))

    def action_leave(self) -> None:
        if self.maximized is not None:
            self.minimize()
        else:
            self.dismiss(self.back())
