"""The options: how long each takes, what one gets and what one loses."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from engine.whatif.hardware_table import TOO_SMALL
from engine.whatif.options import Option
from tui.estimating import between, middle, money
from tui.format import plural
from tui.plain import clipped
from tui.what_if import Board
from tui.widgets.asking import BoardPanel
from tui.widgets.line import Line

TITLE, RUNS, TIME, RANGE, COST = 17, 10, 10, 12, 18


def option_line(option: Option, here: bool, focused: bool, width: int) -> Line:
    known = option.timeline.value is not None
    line: Line = [
        ("▸ " if here else "  ", "key" if focused else "faint"),
        (f"{option.number} ", "key"),
        (f"{option.title:<{TITLE - 2}}", "number" if here else "text"),
        (plural(option.runs, "run").ljust(RUNS), "label"),
        (middle(option.timeline).rjust(TIME), "number" if known else "faint"),
        (between(option.timeline).rjust(RANGE), "label"),
    ]
    if width >= 100:
        line.append((money(option.money).rjust(COST), "text"))
    if width >= 150:
        line.append((f"   {clipped('; '.join(option.gets), max(0, width - 84))}", "faint"))
    return line


def option_lines(board: Board, width: int, height: int, focused: bool) -> list[Line]:
    answer = board.answer
    if answer is None:
        return []
    if not answer.options:
        return [[(f"  nothing to decide for on {answer.hardware}: {TOO_SMALL}", "label")]]
    at = min(board.option, len(answer.options) - 1)
    lines = [option_line(one, n == at, focused, width) for n, one in enumerate(answer.options)]
    option = answer.options[at]
    told: list[Line] = [[("    + ", "good"), (text, "text")] for text in option.gets]
    told += [[("    − ", "warn"), (text, "text")] for text in option.loses]
    if height > len(lines) + len(told):
        lines.append([])
    return [*lines, *told][:height]


class OptionsPanel(BoardPanel):
    """Up and down choose, enter launches."""

    TITLE = "Options"
    NUMBER = 4
    HELP = (
        "One run gives a model; all of them give mean and standard deviation; fewer restarts lie between. Times and "
        "cost are of the GPU chosen above.\n"
        "enter opens the launch dialog with the option; d records it in the experiment's folder."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "before", show=False),
        Binding("down,j", "move(1)", "next", show=False),
        Binding("enter", "launch", "launch", show=False),
    ]

    class Moved(Message):
        def __init__(self, to: int) -> None:
            super().__init__()
            self.to = to

    class Launch(Message):
        """With the option chosen."""

    def show(self, board: Board, width: int, height: int) -> list[Line]:
        on = board.answer.hardware if board.answer is not None else ""
        self.entitle(f"on {on}" if on else "", "$label")
        return option_lines(board, width, height, self.has_focus)

    def action_move(self, by: int) -> None:
        if self.board is not None and self.board.answer is not None:
            self.post_message(self.Moved(max(0, min(self.board.option + by, len(self.board.answer.options) - 1))))

    def action_launch(self) -> None:
        self.post_message(self.Launch())

    def on_click(self, event: events.Click) -> None:
        at = event.y - self.gutter.top
        if self.board is not None and self.board.answer is not None and 0 <= at < len(self.board.answer.options):
            self.post_message(self.Moved(at))
