"""What must not be missed: a stop that is coming, an end that needs a hand, a folder that cannot be read."""

from __future__ import annotations

from textual.reactive import reactive

from engine.state import ExperimentState
from tui.format import moment
from tui.glyphs import RUN_SYMBOLS
from tui.messages import View
from tui.plain import wrapped
from tui.widgets.line import Line
from tui.widgets.panel import Lines
from tui.words import ENDED, pending_stop, runs_stopped_here

EVIDENCE = 2
INDENT = "   "
CLEAN = "nothing of it is left running"


def banner_lines(view: View | None, problem: str, width: int, readonly: bool = False) -> tuple[list[Line], str]:
    """The lines and how grave they are: '' (nothing to say), warn, bad or good."""
    if problem:
        return [
            [(f" ✖ {line}" if not at else f"{INDENT}{line}", "alarm")]
            for at, line in enumerate(wrapped(problem, width - 4, 2))
        ], "bad"
    if view is None:
        return [], ""
    state = view.state
    if state.phase in ENDED:
        return _ended(state, width, readonly)
    coming = pending_stop(view)
    if coming:
        return [_coming(state, coming, readonly)], "warn"
    if state.trainer_alive and not state.supervisor_alive:
        return [
            [
                (" ! ", "notice"),
                ("its supervisor is gone; the training goes on, and the next run waits for a new one", "warn"),
            ]
        ], "warn"
    return [], ""


def _coming(state: ExperimentState, coming: str, readonly: bool) -> Line:
    line: Line = [(" ■ ", "notice"), (coming, "notice")]
    if readonly:
        return line
    if runs_stopped_here(state):
        return [*line, ("   s", "key"), (" takes it back", "label"), ("   x", "key"), (" stop now", "label")]
    if state.stop is not None and state.stop.mode == "now":
        return [*line, ("   X", "key"), (" by force", "label")]
    return line


def _ended(state: ExperimentState, width: int, readonly: bool) -> tuple[list[Line], str]:
    gravity = {"finished": "good", "stopped": "warn"}.get(state.phase, "bad")
    role = {"good": "good", "warn": "notice", "bad": "alarm"}[gravity]
    verdict, ended = state.verdict, state.ended
    said = ended.text if ended is not None else verdict.text if verdict is not None else ""
    at = f", {moment(ended.t, state.now)}" if ended is not None and ended.t else ""
    head = f"{state.phase}{at}: {said}" if said else f"{state.phase}{at}"
    lines: list[Line] = [
        [(f" {RUN_SYMBOLS[state.phase]} " if not i else INDENT, role), (text, role)]
        for i, text in enumerate(wrapped(head, width - 4, 2))
    ]
    if verdict is not None and state.phase in ("failed", "lost"):
        reason = verdict.text if verdict.text not in said else ""
        sure = "" if verdict.sure or not reason else " (not certain)"
        lines += [[(INDENT, "text"), (text, "text")] for text in wrapped(reason + sure, width - 4, 2)]
        lines += [
            [(INDENT, "text"), (text, "label")]
            for line in verdict.evidence[-EVIDENCE:]
            for text in wrapped(line, width - 4, 1)
        ]
        lines += [[(INDENT, "text"), (text, "text")] for text in wrapped(verdict.advice, width - 4, 1)]
    return [*lines, _left_over(state, said, readonly)], gravity


def _left_over(state: ExperimentState, said: str, readonly: bool) -> Line:
    """What still runs, and what can be done."""
    survivors = (*(state.ended.survivors if state.ended else ()), *(state.run.survivors if state.run else ()))
    line: Line = [(INDENT, "text")]
    if survivors:
        pids = ", ".join(str(pid) for pid in dict.fromkeys(survivors))
        line += [(f"still running: process {pids}", "alarm")]
    elif not (state.supervisor_alive or state.trainer_alive or CLEAN in said):
        line += [(CLEAN, "label")]
    if state.phase != "finished" and not readonly and not state.supervisor_alive:
        line += [("   r", "key"), (" resume", "label")]
    return [*line, ("   l", "key"), (" logs", "label")]


class Banner(Lines):
    """As high as it has something to say; not there otherwise."""

    problem: reactive[str] = reactive("", repaint=False, init=False)

    def __init__(self, readonly: bool = False) -> None:
        super().__init__()
        self._readonly = readonly
        self._height = 0
        self.display = False

    def lines(self, width: int, height: int) -> list[Line]:  # noqa: ARG002  it is cut
        return banner_lines(self.view, self.problem, width, self._readonly)[0]

    def watch_problem(self) -> None:
        self._fit()

    def watch_view(self, view: View | None) -> None:  # noqa: ARG002  the inherited signature
        self._fit()

    def _fit(self) -> None:
        width = max(20, self.app.size.width - 2)
        lines, gravity = banner_lines(self.view, self.problem, width, self._readonly)
        most = max(1, self.app.size.height // 4)
        wanted = min(len(lines), most)
        for name in ("warn", "bad", "good"):
            self.set_class(gravity == name, f"-{name}")
        if wanted and self._height != wanted:
            self._height = self.styles.height = wanted
        self.display = bool(wanted)
        self.redraw()
