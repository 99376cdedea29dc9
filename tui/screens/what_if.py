"""What if: change counts, knobs, GPUs and cores, see what that comes to here and on other hardware, and decide."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import msgspec
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.reactive import reactive
from textual.worker import get_current_worker

from engine.errors import UsageError
from engine.memory.footprint import Estimate
from engine.text import clean
from engine.whatif import bring_about, estimate, hardware, options as choices, session_limits
from engine.whatif.estimate import Subject
from engine.whatif.hardware import Gpu
from engine.whatif.options import Option
from tui.estimating import between
from tui.plain import clipped
from tui.screens.covering import Covering
from tui.what_if import HELP, KEYS, Answer, Board, answered, stepped, with_value
from tui.widgets.answer import AnswerPanel
from tui.widgets.asking import AskPanel
from tui.widgets.choosing import OptionsPanel
from tui.widgets.gpus import GpusPanel
from tui.widgets.line import Line, ends
from tui.widgets.oneline import Remark, Written, keys_line

BY = "the dashboard"
# A training that goes on is looked at again so often.
AGAIN_SECONDS = 10.0
Load = Callable[[tuple[Gpu, ...]], Subject]


class WhatIfScreen(Covering[None]):
    """Over what `load` reads, in a thread: a training that runs, has ended or is played again, or a launch."""

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-medium"), (50, "-tall")]
    KEYS = HELP
    AUTO_FOCUS = "AskPanel"
    ALLOW_IN_MAXIMIZED_VIEW = "#what-if-title, #what-if-keys"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "decide", "record"),
        Binding("r", "reset", "as it is"),
        Binding("question_mark,f1", "help", "help"),
        Binding("escape,w", "leave", "back"),
    ]

    board: reactive[Board | None] = reactive(None, repaint=False, init=False, always_update=True)

    class Launch(Message):
        """Open the launch dialog with an option of it."""

        def __init__(self, subject: Subject, option: Option, board: Board) -> None:
            super().__init__()
            self.subject = subject
            self.option = option
            self.board = board

    def __init__(self, load: Load, *, barred: str = "", again: bool = False) -> None:
        """`barred`: why nothing can be launched or recorded; `again`: what is read changes as time goes on."""
        super().__init__()
        self._load = load
        self._again = again
        self._sheet: tuple[Gpu, ...] = ()
        self._memory: Estimate | None = None
        self._asked = 0
        self.set_reactive(WhatIfScreen.board, Board(barred=barred))

    def compose(self) -> ComposeResult:
        yield Written(id="what-if-title")
        yield Remark(id="what-if-remark")
        with Horizontal(id="what-if-top"):
            yield AskPanel(id="ask").data_bind(WhatIfScreen.board)
            yield AnswerPanel(id="answer").data_bind(WhatIfScreen.board)
        yield GpusPanel(id="gpus").data_bind(WhatIfScreen.board)
        yield OptionsPanel(id="options").data_bind(WhatIfScreen.board)
        yield Written(id="what-if-keys")

    def on_mount(self) -> None:
        self.show()
        self._read()
        if self._again:
            self.set_interval(AGAIN_SECONDS, self._read)

    # ------------------------------------------------------------ in threads

    @work(thread=True, exclusive=True, group="read")
    def _read(self) -> None:
        """What is known, then its answer."""
        try:
            sheet = hardware.gpus()
            sessions = session_limits.sessions()
            subject = self._load(sheet)
        except (UsageError, OSError) as error:
            self.app.call_from_thread(self._failed, str(error))
            return
        self.app.call_from_thread(self._known, subject, sheet, sessions)

    def _failed(self, text: str) -> None:
        if self.is_mounted and self.board is not None and self.board.answer is None:
            self._become(problem=text)

    def _known(self, subject: Subject, sheet: tuple[Gpu, ...], sessions: tuple[session_limits.Session, ...]) -> None:
        board = self.board
        if not self.is_mounted or board is None:
            return
        first = board.subject is None
        if subject == board.subject and sheet == self._sheet:
            return
        self._sheet = sheet
        self._become(
            subject=subject,
            question=subject.question if first else board.question,
            sessions=sessions,
            gpu=board.gpu or (subject.known.gpu.name if subject.known.gpu is not None else ""),
            decision=choices.recorded(Path(subject.known.folder)),
            problem="",
        )
        self._ask()
        if first and not subject.known.footprint.peaks:
            self._estimate_memory(subject)

    @work(thread=True, group="memory")
    def _estimate_memory(self, subject: Subject) -> None:
        """About three seconds, in a process of its own."""
        found = estimate.step_memory(subject.known)
        if found is not None:
            self.app.call_from_thread(self._remember, found)

    def _remember(self, found: Estimate) -> None:
        self._memory = found
        if self.is_mounted:
            self._ask()

    def _ask(self) -> None:
        board = self.board
        if board is not None and board.subject is not None:
            self._asked += 1
            self._answer(board, self._asked)

    @work(thread=True, exclusive=True, group="answer")
    def _answer(self, board: Board, number: int) -> None:
        assert board.subject is not None
        worker = get_current_worker()
        try:
            answer = answered(
                board.subject, board.question, self._sheet, board.chosen_sessions, board.gpu, self._memory
            )
        except UsageError as error:
            if not worker.is_cancelled:
                self.app.call_from_thread(self._wrong, str(error))
            return
        if not worker.is_cancelled:
            self.app.call_from_thread(self._answered, answer, number)

    def _answered(self, answer: Answer, number: int) -> None:
        if self.is_mounted and number == self._asked:
            self._become(answer=answer)

    def _wrong(self, text: str) -> None:
        if self.is_mounted:
            self.remark(text, "alarm")

    # ------------------------------------------------------------ what is shown

    def _become(self, **changes: object) -> None:
        assert self.board is not None
        self.board = msgspec.structs.replace(self.board, **changes)
        self.show()

    def show(self) -> None:
        board = self.board
        if not self.is_mounted or board is None:
            return
        width = self.app.size.width
        self.query_one("#what-if-title", Written).write([title_line(board, width)])
        keys = [key for key in KEYS if not (board.barred and key[0] in ("enter", "d"))]
        self.query_one("#what-if-keys", Written).write([keys_line(keys, width)])

    # ------------------------------------------------------------ what is asked

    def on_ask_panel_moved(self, message: AskPanel.Moved) -> None:
        self._become(cursor=message.to, entry=None)

    def on_ask_panel_stepped(self, message: AskPanel.Stepped) -> None:
        board = self.board
        if board is None or board.subject is None:
            return
        ask = board.asks[min(board.cursor, len(board.asks) - 1)]
        if ask.name == "session":
            self._become(session=(board.session + message.by) % (len(board.sessions) + 1))
            self._ask()
        elif ask.name == "rest":
            self._change(msgspec.structs.replace(board.question, rest=not board.question.rest))
        else:
            self._take(ask.name, stepped(ask, message.by))

    def on_ask_panel_typed(self, message: AskPanel.Typed) -> None:
        board = self.board
        if board is None or board.subject is None:
            return
        ask = board.asks[min(board.cursor, len(board.asks) - 1)]
        if not isinstance(ask.value, int):
            return
        if message.done and message.text:
            self._become(entry=None)
            self._take(ask.name, int(message.text))
        else:
            self._become(entry=None if message.done else message.text)

    def on_ask_panel_entered(self) -> None:
        self.query_one(OptionsPanel).focus()

    def on_ask_panel_left(self) -> None:
        self.action_leave()

    def _take(self, name: str, value: int) -> None:
        board = self.board
        assert board is not None and board.subject is not None
        try:
            question = with_value(board.subject, board.question, name, value)
        except UsageError as error:
            self.remark(str(error), "alarm")
            return
        self._change(question)

    def _change(self, question: object) -> None:
        self.remark("")
        self._become(question=question, entry=None)
        self._ask()

    def action_reset(self) -> None:
        if self.board is not None and self.board.subject is not None:
            self._become(session=0)
            self._change(self.board.subject.question)

    # ------------------------------------------------------------ what is chosen

    def on_gpus_panel_moved(self, message: GpusPanel.Moved) -> None:
        self._become(gpu=message.name)
        self._ask()

    def on_gpus_panel_chosen(self) -> None:
        self.query_one(OptionsPanel).focus()

    def on_options_panel_moved(self, message: OptionsPanel.Moved) -> None:
        self._become(option=message.to)

    @property
    def _option(self) -> Option | None:
        board = self.board
        if board is None or board.answer is None or not board.answer.options:
            return None
        return board.answer.options[min(board.option, len(board.answer.options) - 1)]

    def on_options_panel_launch(self) -> None:
        board, option = self.board, self._option
        if board is None or board.subject is None or option is None:
            return
        if board.barred:
            self.remark(f"nothing is launched from here: {board.barred}", "warn")
            return
        here = board.answer is not None and board.answer.hardware == board.answer.rows[0].name
        found = bring_about.commands(board.subject.known, board.question, option, self._going(board), here)
        if not found or found[0][:2] != ("steptop", "run"):
            said = f"in its own folder: `{clean(bring_about.typed(found))}`"
            if found and found[0][:2] == ("steptop", "stop"):
                said = "that training goes on: s on the dashboard stops it after this run"
            nothing = "it goes on as it is: nothing to start" if self._going(board) else "it is done: nothing to start"
            self.remark(said if found else nothing, "warn")
            return
        self.post_message(self.Launch(board.subject, option, board))

    def _going(self, board: Board) -> bool:
        """Whether the option is of the very training that goes on here."""
        answer, subject = board.answer, board.subject
        return bool(subject and subject.live and answer and answer.hardware == answer.rows[0].name)

    def action_decide(self) -> None:
        board, option = self.board, self._option
        if board is None or board.subject is None or board.answer is None or option is None:
            return
        if board.barred:
            self.remark(f"nothing is recorded from here: {board.barred}", "warn")
            return
        known, hardware_name = board.subject.known, board.answer.hardware
        here, going = hardware_name == board.answer.rows[0].name, self._going(board)
        decision = choices.decide(known, board.question, hardware_name, option, BY, time.time(), going, here)
        try:
            path = choices.record(Path(known.folder), decision)
        except UsageError as error:
            self.remark(str(error), "alarm")
            return
        self._become(decision=decision)
        self.remark(f"decided: {option.title}, {between(option.timeline)} on {hardware_name}; in {path}", "good")


def title_line(board: Board, width: int) -> Line:
    """What it is about, and what was measured."""
    left: Line = [(" what if ", "key")]
    right: Line = []
    if board.subject is not None:
        known = board.subject.known
        left.append((f" {clipped(known.name, 32)}", "number"))
        if board.question != board.subject.question:
            left.append(("  changed from how it is", "accent"))
        right = [(f"{clipped(known.machine, 40)} ", "text")]
        if width >= 100:
            right = [("measured on ", "label"), *right]
    return ends(left, right, width)
