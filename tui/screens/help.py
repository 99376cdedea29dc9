"""Help: what the focused panel shows, every key, and what only the shell does."""

from __future__ import annotations

from collections.abc import Sequence
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

KEY, TITLE = 9, 24
WIDEST, FRAME = 110, 8
MOVES = (
    ("tab", "Next panel", "shift+tab: the one before."),
    ("h j k", "Panel in that direction", "The arrow keys too; l is the log."),
    ("1 to 9", "Panel by its number", "It stands in the frame."),
    ("mouse", "Click, double click, wheel", "Focus, enlarge, look back in the events; the keys below too."),
)
# What has no key.
SHELL = (
    ("shell", "Another order of runs", "steptop queue NAME --first, --last, --skip or --add FOLD,RESTART"),
)
FOOT = "↑ ↓ scroll · esc closes"


class HelpScreen(ModalScreen[None]):
    """Closes with escape, q or ?."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "dismiss", "close"),
        Binding("j", "scroll(1)", "down", show=False),
        Binding("k", "scroll(-1)", "up", show=False),
    ]

    def __init__(
        self,
        focused: Widget | None,
        situation: Situation | None = None,
        keys: Sequence[tuple[str, str, str]] = (),
    ) -> None:
        """`keys`: those of a screen that has its own; without, the commands of `situation`."""
        super().__init__()
        self._panel = focused if isinstance(focused, Panel) else None
        self._situation = situation or Situation()
        self._own = keys

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide-dialog") as dialog:
            dialog.border_subtitle = FOOT
            title = self._panel.TITLE if self._panel is not None else "Help"
            yield Static(Content(title), classes="dialog-title", markup=False)
            with VerticalScroll(classes="dialog-body"):
                if self._panel is not None:
                    yield Static(Content(f"{self._panel.HELP}\n"), markup=False)
                else:
                    yield Static(Content("Focus a panel (tab) and press ? to read what it shows.\n"), markup=False)
                yield Static(self._keys(), markup=False)

    def action_scroll(self, lines: int) -> None:
        self.query_one(".dialog-body").scroll_relative(y=lines, animate=False)

    def _keys(self) -> Content:
        width = min(WIDEST, int(self.app.size.width * 0.96)) - FRAME
        if self._own:
            return table([(*key, True) for key in self._own], width)
        shown = [c for c in COMMANDS if not (c.writes and self._situation.recording)]
        entries = [(c.shown_key or c.key, c.title, c.help, c.possible(self._situation)) for c in shown]
        entries += [(*move, True) for move in (*MOVES, *(() if self._situation.recording else SHELL))]
        return table(entries, width)


def table(entries: Sequence[tuple[str, str, str, bool]], width: int) -> Content:
    """Key, title and text in columns as wide as the longest of each needs."""
    keys = max(KEY - 2, *(len(key) for key, *_ in entries)) + 2
    titles = max(TITLE, *(len(title) for _, title, *_ in entries)) + 3
    return Content("\n").join(part for entry in entries for part in _entry(*entry, width, keys, titles))


def _entry(key: str, title: str, text: str, possible: bool, width: int, keys: int, titles: int) -> list[Content]:
    """On a narrow screen the text goes below where it does not fit behind."""
    columns = width >= keys + titles + 37
    room = width - keys - (titles if columns else 0)
    beside = columns or len(title) + 2 + len(text) <= room
    lines = wrapped(text, room, 3)
    first = lines.pop(0) if beside and lines else ""
    key_style, title_style, text_style = (
        ("$accent bold", "$number", "$label") if possible else ("$faint", "$faint", "$faint")
    )
    named = f"{title:<{titles}}" if columns else f"{title}  "
    head = Content.assemble((f"{key:>{keys - 2}}  ", key_style), (named, title_style), (first, text_style))
    indent = " " * (width - room)
    return [head, *(Content.assemble((indent + line, text_style)) for line in lines)]
