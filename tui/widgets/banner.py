"""What must not be missed: a stop that is coming, an end that needs a hand, a folder that cannot be read."""

from __future__ import annotations

from textual.reactive import reactive

from engine.limit.allowance import Allowance
from engine.live.state import ExperimentState
from engine.machine.room import GOES_ON
from tui.format import clock, moment
from tui.glyphs import RUN_SYMBOLS
from tui.messages import View
from tui.plain import wrapped
from tui.widgets.line import Line, width_of
from tui.widgets.panel import Lines
from tui.widgets.small import HEIGHT, WIDTH
from tui.words import ENDED, pending_stop, runs_stopped_here, runs_words

EVIDENCE = 2
MOST = 8
TESTED = 4
INDENT = "   "
CLEAN = "nothing of it is left running"


def banner_lines(
    view: View | None, problem: str, width: int, readonly: bool = False, room: int = MOST
) -> tuple[list[Line], str]:
    """At most `room` lines, and how grave they are: '' (nothing to say), warn, bad or good."""
    if problem:
        return [
            [(f" ✖ {line}" if not at else f"{INDENT}{line}", "alarm")]
            for at, line in enumerate(wrapped(problem, width - 4, min(2, room)))
        ], "bad"
    if view is None:
        return [], ""
    state = view.state
    if state.phase in ENDED:
        return _ended(state, width, readonly, room)
    if state.disk_full:
        return [[(" ✖ ", "alarm"), (GOES_ON, "alarm")]], "bad"
    coming = pending_stop(view)
    if coming and state.reached is not None and state.stop is not None:
        coming = f"its {state.reached.text} is near: {'' if runs_words(state) else 'it '}{coming}"
    if coming:
        return [_coming(state, coming, readonly, width)], "warn"
    if state.trainer_alive and not state.supervisor_alive:
        return [
            [(" ! ", "notice"), ("its supervisor is gone: this run goes on, the next one waits for a new one", "warn")]
        ], "warn"
    if view.allowance is not None and view.allowance.tight:
        return [_limited(view, view.allowance, readonly, width)], "warn"
    return [], ""


def _limited(view: View, allowed: Allowance, readonly: bool, width: int) -> Line:
    """When it ends at the latest, and what will not be done by then."""
    first, fit = allowed.first, allowed.fit
    assert fit is not None
    at = clock(first.at, view.state.now)
    briefer = (
        f"ends by {at} at the latest ({first.inner}): {fit.text}",
        f"ends by {at} ({first.inner}): {fit.text.partition(';')[0]}",
        f"ends by {at}: {fit.text.partition(';')[0]}",
    )
    said = next((text for text in briefer if len(text) + 4 <= width), briefer[-1])
    line: Line = [(" ! ", "notice"), (said, "warn")]
    keys: Line = [("   u", "key"), (" change it", "label")]
    return line if readonly or width_of(line) + width_of(keys) > width else [*line, *keys]


def room_for(rows: int) -> int:
    """How many lines of a terminal of `rows` a banner may take: the panels below keep a line each."""
    return max(1, min(MOST, rows // 5, rows - 20))


def _coming(state: ExperimentState, coming: str, readonly: bool, width: int) -> Line:
    """What comes, and the keys that change it where there is room; the key bar has them too."""
    line: Line = [(" ■ ", "notice"), (coming, "notice")]
    keys: Line = []
    if runs_stopped_here(state):
        keys = [("   s", "key"), (" takes it back", "label"), ("   x", "key"), (" stop now", "label")]
    elif state.stop is not None and state.stop.mode == "now":
        keys = [("   X", "key"), (" by force", "label")]
    return line if readonly or width_of(line) + width_of(keys) > width else [*line, *keys]


def _ended(state: ExperimentState, width: int, readonly: bool, room: int) -> tuple[list[Line], str]:
    """How it ended, why, and what can be done; where there is little room, the reasons give way."""
    gravity = {"finished": "good", "stopped": "warn"}.get(state.phase, "bad")
    role = {"good": "good", "warn": "notice", "bad": "alarm"}[gravity]
    said = _said(state)
    onward = _onward(state, said, readonly)
    # Why a tuner took what it took is a long sentence, and the whole of its answer.
    most = TESTED if state.plan.test is not None else 2
    head = wrapped(_headline(state, said), width - 4, min(most, max(1, room - 1)))
    lines: list[Line] = [
        [(f" {RUN_SYMBOLS[state.phase]} " if not i else INDENT, role), (text, role)] for i, text in enumerate(head)
    ]
    beside = width_of(lines[-1]) + len(INDENT) + width_of(onward) <= width
    reasons = _reasons(state, said, width) if state.phase in ("failed", "lost") else []
    if beside and not reasons:
        return [*lines[:-1], [*lines[-1], (INDENT, "text"), *onward]], gravity
    return [*lines, *reasons[: max(0, room - len(lines) - 1)], [(INDENT, "text"), *onward]][:room], gravity


def _said(state: ExperimentState) -> str:
    return state.ended.text if state.ended is not None else state.verdict.text if state.verdict is not None else ""


def _headline(state: ExperimentState, said: str) -> str:
    """When and how: `11:15 stopped as asked: …`, the phase in front only where the words do not name it."""
    at = moment(state.ended.t, state.now) if state.ended is not None and state.ended.t else ""
    if state.phase in said:
        return f"{at} {said}" if at else said
    return f"{state.phase}{at and f', {at}'}{said and f': {said}'}"


def _reasons(state: ExperimentState, said: str, width: int) -> list[Line]:
    """The verdict, what to do, and the evidence: in this order, for the last ones may be cut off."""
    verdict = state.verdict
    if verdict is None:
        return []
    reason = verdict.text if verdict.text not in said else ""
    sure = "" if verdict.sure or not reason else " (not certain)"
    parts = [(line, "text") for line in wrapped(reason + sure, width - 4, 2)]
    parts += [(line, "text") for line in wrapped(verdict.advice, width - 4, 1)]
    parts += [(part, "label") for line in verdict.evidence[-EVIDENCE:] for part in wrapped(line, width - 4, 1)]
    return [[(INDENT, "text"), part] for part in parts]


def _onward(state: ExperimentState, said: str, readonly: bool) -> Line:
    """What still runs, and what can be done."""
    survivors = state.survivors
    line: Line = []
    if survivors:
        pids = ", ".join(str(pid) for pid in dict.fromkeys(survivors))
        line += [(f"still running: process {pids}", "alarm")]
    elif not (state.supervisor_alive or state.trainer_alive or CLEAN in said):
        line += [(CLEAN, "label")]
    keys: list[tuple[str, str]] = [("l", "logs")]
    if state.plan.test is not None:
        keys.insert(0, ("c", "compare"))
    if state.phase != "finished" and not readonly and not state.supervisor_alive:
        keys.insert(0, ("r", "resume"))
    for key, text in keys:
        line += [(INDENT if line else "", "text"), (key, "key"), (f" {text}", "label")]
    return line


class Banner(Lines):
    """As high as it has something to say; not there otherwise."""

    problem: reactive[str] = reactive("", repaint=False, init=False)

    def __init__(self, readonly: bool = False) -> None:
        super().__init__()
        self._readonly = readonly
        self._height = 0
        self.display = False

    def lines(self, width: int, height: int) -> list[Line]:  # noqa: ARG002  as high as `fit` made it
        return banner_lines(self.view, self.problem, width, self._readonly, room_for(self.app.size.height))[0]

    def watch_problem(self) -> None:
        self.fit()

    def watch_view(self, view: View | None) -> None:  # noqa: ARG002  the inherited signature
        self.fit()

    def fit(self) -> None:
        """As high as the view and the terminal want it."""
        size = self.app.size
        # The frame on the left, which says how grave it is, takes a column.
        lines, gravity = banner_lines(
            self.view, self.problem, max(20, size.width - 1), self._readonly, room_for(size.height)
        )
        wanted = len(lines)
        for name in ("warn", "bad", "good"):
            self.set_class(gravity == name, f"-{name}")
        if wanted and self._height != wanted:
            self._height = self.styles.height = wanted
        # The few lines of a tiny terminal say the state themselves.
        tiny = size.width < WIDTH or size.height < HEIGHT
        self.display = bool(wanted) and (bool(self.problem) or not tiny)
        self.redraw()
