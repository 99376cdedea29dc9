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
from tui.plain import wrapped
from tui.widgets.panel import Panel

KEY, TITLE = 18, 24
WIDEST, FRAME = 110, 8
MOVES = (
    ("tab, shift+tab", "next and previous panel"),
    ("arrows, h j k", "the panel in that direction"),
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
        width = min(WIDEST, int(self.app.size.width * 0.96)) - FRAME
        entries = [(c.shown_key or c.key, c.title, c.help, c.possible(self._situation)) for c in COMMANDS]
        entries += [(keys, text, "", True) for keys, text in MOVES]
        return Content("\n").join(part for entry in entries for part in _entry(*entry, width))


def _entry(key: str, title: str, text: str, possible: bool, width: int) -> list[Content]:
    """Key, title and text in columns; on a narrow screen the text goes below, indented."""
    beside = width >= KEY + TITLE + 40
    room = width - KEY - (TITLE if beside else 0)
    lines = wrapped(text, room, 3)
    first = lines.pop(0) if beside and lines else ""
    key_style, title_style, text_style = (
        ("$accent bold", "$number", "$label") if possible else ("$faint", "$faint", "$faint")
    )
    head = Content.assemble(
        (f"{key:>{KEY - 2}}  ", key_style), (f"{title:<{TITLE}}" if first else title, title_style), (first, text_style)
    )
    indent = " " * (width - room)
    return [head, *(Content.assemble((indent + line, text_style)) for line in lines)]
