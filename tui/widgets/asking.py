"""What is asked: a line for each thing that can be different, changed with the arrows or by typing."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive

from tui.plain import fit
from tui.what_if import Ask, Board
from tui.widgets.line import Line
from tui.widgets.panel import Panel

LABEL = 16
VALUE = 8


class BoardPanel(Panel):
    """Draws `show(board, width, height)`."""

    board: reactive[Board | None] = reactive(None, repaint=False, init=False, always_update=True)

    def show(self, board: Board, width: int, height: int) -> list[Line]:
        """Lines of at most `width` cells; those beyond `height` are not shown."""
        raise NotImplementedError

    def lines(self, width: int, height: int) -> list[Line]:
        return self.show(self.board, width, height) if self.board is not None else []

    def watch_board(self) -> None:
        self.redraw()

    def on_focus(self) -> None:
        self.redraw()

    def on_blur(self) -> None:
        self.redraw()


def said(value: int | str) -> str:
    return f"{value:,}" if isinstance(value, int) else value


def ask_line(ask: Ask, board: Board, here: bool, focused: bool, width: int) -> Line:
    """`▸ epochs           50  ← 30`."""
    typing = here and board.entry is not None
    value = f"{board.entry}▏" if typing else said(ask.value)
    role = "accent" if ask.changed or typing else "number" if here else "text"
    line: Line = [
        ("▸ " if here else "  ", "key" if focused else "faint"),
        (f"{ask.label:<{LABEL}}", "text" if here else "label"),
        (value.rjust(VALUE), role),
    ]
    if ask.changed and width >= LABEL + VALUE + 10:
        line.append((f"  ← {said(ask.before)}", "label"))
    elif here and width >= LABEL + VALUE + 14:
        line.append((f"  {ask.help}", "faint"))
    return [*line[:-1], (fit(line[-1][0], max(0, width - sum(len(text) for text, _ in line[:-1]))), line[-1][1])]


class AskPanel(BoardPanel):
    """Up and down choose, left and right change, digits type."""

    TITLE = "What if"
    NUMBER = 1
    HELP = (
        "What could be different. ← is the value as it is. Everything else on this screen follows: time, memory, "
        "sessions and cost.\n"
        "Batch size and workers go through the model of loader and trainer, as in the profile editor."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "before", show=False),
        Binding("down,j", "move(1)", "next", show=False),
        Binding("left,h,minus", "step(-1)", "less", show=False),
        Binding("right,l,plus,equals_sign,space", "step(1)", "more", show=False),
        Binding("enter", "take", "take", show=False),
        Binding("escape", "leave", "back", show=False),
    ]

    class Moved(Message):
        def __init__(self, to: int) -> None:
            super().__init__()
            self.to = to

    class Stepped(Message):
        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class Typed(Message):
        """The text so far, None once that is over. `done`: it is meant."""

        def __init__(self, text: str | None, done: bool = False) -> None:
            super().__init__()
            self.text = text
            self.done = done

    class Entered(Message):
        """Enter, with nothing being typed."""

    class Left(Message):
        """Escape, with nothing being typed."""

    _first = 0

    def show(self, board: Board, width: int, height: int) -> list[Line]:
        asks = board.asks
        changed = sum(ask.changed for ask in asks)
        first = self._first = max(0, min(board.cursor - height // 2, len(asks) - height))
        more = f"{first + 1} to {min(first + height, len(asks))} of {len(asks)}" if len(asks) > height else ""
        self.entitle(f"{changed} changed" if changed else more, "$accent" if changed else "$faint")
        return [
            ask_line(ask, board, at == board.cursor, self.has_focus, width)
            for at, ask in list(enumerate(asks))[first : first + height]
        ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  Textual's signature
        return self.board is None or self.board.entry is None or action in ("take", "leave")

    def on_key(self, event: events.Key) -> None:
        board = self.board
        if board is None or board.subject is None:
            return
        if board.entry is not None and event.key == "backspace":
            self.post_message(self.Typed(board.entry[:-1]))
        elif board.entry is not None and event.key in ("up", "down", "tab"):
            self.post_message(self.Typed(board.entry, done=True))
        elif event.character is not None and event.character.isdigit() and len(board.entry or "") < VALUE:
            self.post_message(self.Typed((board.entry or "") + event.character))
        else:
            return
        event.stop()
        event.prevent_default()

    def action_move(self, by: int) -> None:
        if self.board is not None and self.board.asks:
            self.post_message(self.Moved(min(max(0, self.board.cursor + by), len(self.board.asks) - 1)))

    def action_step(self, by: int) -> None:
        self.post_message(self.Stepped(by))

    def action_take(self) -> None:
        if self.board is not None and self.board.entry is not None:
            self.post_message(self.Typed(self.board.entry, done=True))
        else:
            self.post_message(self.Entered())

    def action_leave(self) -> None:
        if self.board is not None and self.board.entry is not None:
            self.post_message(self.Typed(None))
        else:
            self.post_message(self.Left())

    def on_click(self, event: events.Click) -> None:
        if self.board is not None:
            at = self._first + event.y - self.gutter.top
            if 0 <= at < len(self.board.asks):
                self.post_message(self.Moved(at))
