"""Help: what the focused panel shows, and every key."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from tui.actions import COMMANDS, Situation
from tui.widgets.panel import Panel

MOVES = (
    ("tab, shift+tab", "next and previous panel"),
    ("h j k l, arrows", "the panel in that direction"),
    ("1 to 9", "a panel by its number"),
    ("mouse", "click focuses, double click enlarges, the key bar can be clicked"),
)


class HelpScreen(ModalScreen[None]):
    """Closes with escape, q or ?."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,f1", "dismiss", "close")]

    def __init__(self, focused: Widget | None, situation: Situation) -> None:
        super().__init__()
        self._panel = focused if isinstance(focused, Panel) else None
        self._situation = situation

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide-dialog"):
            title = self._panel.TITLE if self._panel is not None else "Help"
            yield Static(Content(title), classes="dialog-title", markup=False)
            with VerticalScroll(classes="dialog-body"):
                if self._panel is not None:
                    yield Static(Content(f"{self._panel.HELP}\n"), markup=False)
                else:
                    yield Static(Content("Focus a panel (tab) and press ? to read what it shows.\n"), markup=False)
                yield Static(self._keys(), markup=False)

    def _keys(self) -> Content:
        parts: list[Content] = []
        for command in COMMANDS:
            key = command.shown_key or command.key
            possible = command.possible(self._situation)
            parts.append(_entry(key, command.title, command.help, possible))
        parts += [_entry(keys, text, "", True) for keys, text in MOVES]
        return Content("\n").join(parts)


def _entry(key: str, title: str, text: str, possible: bool) -> Content:
    return Content.assemble(
        (f"{key:>16}  ", "$accent bold" if possible else "$faint"), (title, "$number" if possible else "$faint"),
        (f"  {text}" if text else "", "$label" if possible else "$faint"),
    )
