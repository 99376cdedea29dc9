"""When it ends: epoch, run, this run and then stop, the whole experiment; each with its range and its clock time."""

from __future__ import annotations

from engine.eta.forecast import Estimate
from tui.format import DASH, clock, margin, moment, percent, whole
from tui.messages import View
from tui.plain import wrapped
from tui.widgets.ladder import FEWEST_LINES, ladder_lines, pace_lines
from tui.widgets.line import Line, ends, width_of
from tui.widgets.panel import Panel
from tui.widgets.visiting import test_ended, visit_ends
from tui.words import ENDED, ends_now, runs_stopped_here

LABEL = 17
RANGES = " · ranges hold 9 times in 10"
# Wider than this the eye loses the row between the time left and the clock.
WIDEST = 64
# Beside them: what the time left goes into.
GAP, PART, PARTS = 4, 13, 28
# The run, what stops after it, the experiment.
FEWEST_ROWS = 3


def finish_lines(view: View, width: int, height: int, readonly: bool = False) -> list[Line]:
    """Four estimates and what they rest on; once it has ended, when and after how long."""
    if view.state.phase in ENDED:
        return ended_lines(view, width)
    if view.state.plan.test is not None:
        return visit_ends(view, width, height)
    state, expected = view.state, view.forecast
    whole_width, width = width, min(width, WIDEST)
    number = (state.current or 0) + 1
    epoch = state.run.epoch if state.run else 0
    pending = runs_stopped_here(state)
    beside = len(state.under_way) > 1
    last = number >= len(state.runs) and not beside
    key: Line = [] if readonly else [("s ", "key")]
    those = "them" if beside else "it"
    here: Line = [(f"stops after {those}", "notice")] if pending else [*key, (f"stop after {those}", "label")]
    rows: list[tuple[Line, Estimate, str]] = [
        ([(f"epoch {epoch}" if epoch else "epoch", "label")], expected.epoch, "number"),
        ([(f"run {number}", "label")], expected.run, "number"),
        (here, expected.stop_here, "notice" if pending else "text"),
        ([("experiment", "label")], expected.experiment, "label" if pending else "number"),
    ]
    if last:
        rows.pop(2)
    if ends_now(state):
        rows = [([("ends", "notice")], expected.experiment, "notice")]
    beside = whole_width >= WIDEST + GAP + PARTS
    basis = _basis(view, width if beside else whole_width)
    # Why it became slower is worth more than the epoch's end, which Progress shows coming.
    if height < len(rows) or (len(basis) > 1 and len(rows) > FEWEST_ROWS and height < len(rows) + len(basis)):
        rows.pop(0)
    reasons = len(rows) >= height
    lines = [_row(label, estimate, role, width, state.now, reasons) for label, estimate, role in rows]
    if len(lines) < height:
        lines += basis[: height - len(lines)]
        if view.forecast.warming and len(lines) < height:
            lines += [[part] for part in pace_lines(view, recent=True)[:1]]
    if height >= FEWEST_LINES and view.forecast.ladder and not ends_now(state):
        return ladder_lines(view, whole_width, height)
    if len(lines) + 2 < height:
        return [*lines, [], *_parts(view, height - len(lines) - 1)]
    if beside:
        parts = _parts(view, len(lines), PART)
        right = [*parts, *([] for _ in lines[len(parts) :])]
        return [_beside(line, part, width) for line, part in zip(lines, right, strict=True)]
    return lines


def _beside(line: Line, part: Line, width: int) -> Line:
    return [*line, (" " * (width + GAP - width_of(line)), "text"), *part] if part else line


def _parts(view: View, room: int, label: int = LABEL) -> list[Line]:
    """What the time left goes into, the largest first."""
    parts = sorted(view.forecast.parts.items(), key=lambda part: part[1], reverse=True)
    total = sum(seconds for _, seconds in parts)
    return [
        [(f"{name:<{label}}", "label"), (whole(seconds).rjust(8), "text"), (percent(seconds / total).rjust(7), "label")]
        for name, seconds in parts[:room]
        if total and seconds > 0
    ]


def _row(label: Line, estimate: Estimate, role: str, width: int, now: float, reasons: bool) -> Line:
    """`reasons`: why something is not known is said here, for there is no line for it below."""
    name = sum(len(text) for text, _ in label)
    when = moment(estimate.at, now) if width >= 50 else clock(estimate.at, now)
    spread = margin(estimate.seconds, estimate.low, estimate.high)
    remaining = whole(estimate.seconds)
    if estimate.seconds is None:
        reason = f"  {estimate.basis}" if reasons else ""
        return [*label, (" " * (LABEL - name), "text"), (DASH.rjust(8), "label"), (reason, "label")]
    left: Line = [
        *label,
        (" " * (LABEL - name), "text"),
        (remaining.rjust(8), role if role != "number" else "text"),
        (f"  {spread:<9}", "label"),
    ]
    return ends(left, [(when, role)], width)


def _basis(view: View, width: int) -> list[Line]:
    """What the estimates rest on, or for an hour what has become of the pace and why, which may take two lines."""
    expected = view.forecast
    if not expected.warming and (news := pace_lines(view, recent=True)):
        text, role = news[0]
        return [[(part, role)] for part in wrapped(text, width, 2)]
    return [_rests_on(view, width)]


def _rests_on(view: View, width: int) -> Line:
    expected = view.forecast
    basis = expected.run.basis or expected.experiment.basis
    if expected.warming:
        return [(basis, "warn")] if basis.startswith("warming") else [("warming: ", "warn"), (basis, "label")]
    if expected.run.seconds is None and expected.experiment.seconds is None:
        return [(expected.text, "label")]
    known = expected.run.seconds is not None and expected.run.low is not None
    return [(basis, "label"), (RANGES, "label")] if known and len(basis + RANGES) <= width else [(basis, "label")]


def ended_lines(view: View, width: int) -> list[Line]:
    """What the forecast became."""
    state, width = view.state, min(width, WIDEST)
    at = state.ended.t if state.ended is not None else max((run.ended for run in state.runs), default=0.0)
    if state.plan.test is not None:
        return test_ended(state, at, width)
    began = min((run.started for run in state.runs if run.started), default=0.0)
    lines: list[Line] = []
    if at:
        lines.append(ends([("ended", "label")], [(moment(at, state.now), "number")], width))
    if at and began:
        lines.append(ends([("first run to end", "label")], [(whole(at - began), "number")], width))
    trained = sum(run.elapsed for run in state.runs)
    if trained:
        lines.append(ends([("training in all", "label")], [(whole(trained), "number")], width))
    done, total = state.runs_finished, len(state.runs)
    if state.phase != "finished" and state.run is not None and state.run.steps_total:
        kept = state.run.checkpoint.step if state.run.checkpoint is not None and not state.run.checkpoint.error else 0
        lines.append(
            ends(
                [("newest checkpoint", "label")], [(f"step {kept:,}" if kept else "none in this run", "number")], width
            )
        )
    lines.append(ends([("runs finished", "label")], [(f"{done} of {total}", "number")], width))
    return lines


class FinishPanel(Panel):
    """When it ends."""

    TITLE = "Finish"
    NUMBER = 2
    HELP = (
        "Time left and the clock time of the end: of this epoch, of this run, of a stop after it (key s), of the whole "
        "experiment. Enter: from one step to the experiment, and what the time left of each consists of.\n"
        "Validation, checkpoints, evaluation and the gaps between runs are counted. Ranges hold nine times in ten.\n"
        "warming: the first steps are slower than the rest; until they are over the ranges are wide."
    )

    def __init__(self, *, readonly: bool = False, id: str | None = None) -> None:
        super().__init__(id=id)
        self._readonly = readonly

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        return finish_lines(view, width, height, self._readonly)
