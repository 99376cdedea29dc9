"""The same training on one GPU after the other: times as bars on one scale, memory, sessions, cost."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from engine.diagnosis.consequences import Range
from engine.whatif.hardware_table import HardwareRow
from tui.estimating import MEMORY, between, money, name_of, session_words, speed
from tui.plain import clipped, fit
from tui.what_if import Board
from tui.widgets.asking import BoardPanel
from tui.widgets.interval import Scale, interval, scale_of
from tui.widgets.line import Line

# Under a reason that is the same.
AGAIN = "″"
ROLES = {"fits": "good", "tight": "warn", "over": "bad", "unknown": "faint"}


class Columns(NamedTuple):
    """Cells of each; 0 leaves it out."""

    name: int
    step: int
    run: int
    experiment: int
    graph: int
    speed: int
    memory: int
    cost: int
    sessions: int


def columns(width: int) -> Columns:
    if width < 90:
        return Columns(14, 0, 0, 12, max(8, width - 2 - 14 - 12 - 7 - 9 - 16), 7, 9, 16, 0)
    if width < 150:
        graph = max(12, width - 2 - 16 - 12 - 12 - 7 - 9 - 17 - 18)
        return Columns(16, 12, 0, 12, graph, 7, 9, 17, 18)
    graph = max(24, width - 2 - 18 - 14 - 14 - 14 - 8 - 10 - 19 - 46)
    return Columns(18, 14, 14, 14, graph, 8, 10, 19, 46)


def scale_for(rows: tuple[HardwareRow, ...]) -> Scale:
    """One for all of them, with the machine it was measured on in it."""
    own = rows[0].times.experiment.value or 1.0
    ends = [
        value / own
        for row in rows
        for value in (row.times.experiment.low, row.times.experiment.high)
        if value is not None and row.known
    ]
    return scale_of(ends)


def head(wide: Columns) -> Line:
    cells = (
        ("GPU", wide.name, False), ("step", wide.step, True), ("run", wide.run, True),
        ("experiment", wide.experiment, True),
    )  # fmt: skip
    line: Line = [("  ", "text")]
    for text, size, right in cells:
        if size:
            line.append((text.rjust(size) if right else text.ljust(size), "faint"))
    line.append((("   shorter ← → longer" if wide.graph >= 22 else "").ljust(wide.graph), "faint"))
    line += [("speed".rjust(wide.speed), "faint"), ("  memory".ljust(wide.memory), "faint")]
    line.append(("cost".rjust(wide.cost), "faint"))
    if wide.sessions:
        line.append(("  sessions", "faint"))
    return line


def row_line(
    row: HardwareRow, wide: Columns, scale: Scale, own: float, here: bool, focused: bool, again: bool = False
) -> Line:
    """`again`: nothing is claimed of it for the same reason as of the one above."""
    big = row.memory == "over"
    mark: Line = [("▸" if here else " ", "key" if focused else "faint"), ("●" if row.here else " ", "accent")]
    name = "number" if here else "faint" if big else "text"
    line: Line = [*mark, (fit(name_of(row), wide.name - 1) + " ", name)]
    if not row.known:
        room = wide.step + wide.run + wide.experiment + wide.graph + wide.speed
        if row.memory == "unknown":
            return [*line, (clipped(AGAIN if again else row.why, room + wide.memory + wide.cost), "faint")]
        why = fit(AGAIN if again else row.why, room)
        return [*line, (why, "faint"), (f"  {MEMORY[row.memory]}", ROLES[row.memory])]
    figures = "faint" if big else "number" if here else "text"
    for one, size in ((row.times.step, wide.step), (row.times.run, wide.run), (row.times.experiment, wide.experiment)):
        if size:
            line.append((between(one).rjust(size), figures))
    line.append(("  ", "text"))
    role = "faint" if big else "accent" if row.here else "bar"
    line += _graph(row.times.experiment, scale, wide.graph - 2, own, role)
    line.append((speed(row.speed).rjust(wide.speed), figures))
    line.append((f"  {MEMORY[row.memory]}".ljust(wide.memory), ROLES[row.memory]))
    line.append((clipped(money(row.money), wide.cost - 1).rjust(wide.cost), "faint" if big else "text"))
    if wide.sessions:
        line.append((f"  {clipped(session_words(row.sessions, wide.sessions - 2), wide.sessions - 2)}", "label"))
    return line


def _graph(one: Range, scale: Scale, width: int, own: float, role: str) -> Line:
    if one.value is None or one.low is None or one.high is None or width < 4:
        return [(" " * max(0, width), "text")]
    return interval(scale, width, one.low / own, one.value / own, one.high / own, role)


class GpusPanel(BoardPanel):
    """Up and down choose the GPU that the options are of."""

    TITLE = "On other hardware"
    NUMBER = 3
    HELP = (
        "● is the GPU it was measured on. The bar is the whole experiment with its 90 % range, on one scale; the line "
        "is that GPU's time.\n"
        "Only what a GPU computes scales with it, by bandwidth^0.75 × tensor^0.25; what waits for the loader waits "
        "as long. ±20 % among GPUs that the rule was checked on, ±35 % beyond; no claim where there is no basis.\n"
        "? marks figures that no source confirms. Prices are quoted and dated (`steptop estimate` names the sources); "
        "./hardware.toml takes your own."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "before", show=False),
        Binding("down,j", "move(1)", "next", show=False),
        Binding("home", "move(-100)", "first", show=False),
        Binding("end", "move(100)", "last", show=False),
        Binding("enter", "choose", "choose", show=False),
    ]

    class Moved(Message):
        """Another GPU is looked at."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Chosen(Message):
        """Enter: on to the options."""

    _first = 0

    def show(self, board: Board, width: int, height: int) -> list[Line]:
        answer = board.answer
        if answer is None:
            return []
        at = self.at(board)
        row = answer.rows[at]
        self.entitle(f"{row.name}: {row.why}", "$label")
        wide, scale = columns(width), scale_for(answer.rows)
        own = answer.rows[0].times.experiment.value or 1.0
        room = max(1, height - 1)
        self._first = max(0, min(at - room // 2, len(answer.rows) - room))
        shown = list(enumerate(answer.rows))[self._first : self._first + room]
        lines, above = [head(wide)], ""
        for n, one in shown:
            lines.append(row_line(one, wide, scale, own, n == at, self.has_focus, one.why == above))
            above = "" if one.known else one.why
        return lines

    def at(self, board: Board) -> int:
        rows = board.answer.rows if board.answer is not None else ()
        return next((n for n, row in enumerate(rows) if row.name == board.gpu), 0)

    def action_move(self, by: int) -> None:
        if self.board is not None and self.board.answer is not None:
            rows = self.board.answer.rows
            self.post_message(self.Moved(rows[min(max(0, self.at(self.board) + by), len(rows) - 1)].name))

    def action_choose(self) -> None:
        self.post_message(self.Chosen())

    def on_click(self, event: events.Click) -> None:
        if self.board is not None and self.board.answer is not None:
            at = self._first + event.y - self.gutter.top - 1
            if 0 <= at < len(self.board.answer.rows):
                self.post_message(self.Moved(self.board.answer.rows[at].name))

    def on_mouse_scroll_down(self) -> None:
        self.action_move(1)

    def on_mouse_scroll_up(self) -> None:
        self.action_move(-1)
