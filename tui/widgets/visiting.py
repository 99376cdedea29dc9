"""A test of profiles in the panels of a training: how far it is, and when it ends."""

from __future__ import annotations

from engine.journals.events import PhaseBegun, PhaseEnded
from engine.live.state import ExperimentState
from engine.phase.standing import Standing, standing
from tui.format import DASH, clock, count, margin, moment, plural, significant, whole
from tui.messages import View
from tui.plain import clipped
from tui.widgets.line import Line, ends, width_of

LABEL = 17
# Columns for a phase's name.
NAME = 24
RANGES = "as each phase went so far; what varies or is disturbed takes longer"


def standing_of(view: View) -> Standing | None:
    """Where the test is; None between two visits, before the first one and after the last."""
    return standing(view.state, view.bottleneck.step_seconds)


def phase_words(at: Standing) -> str:
    """`phase 2/3 more workers · round 1`."""
    of = f"/{at.phases}" if at.phases else ""
    turn = f" · round {at.round + 1}" if at.mode == "train" else ""
    return f"phase {at.phase + 1}{of} {clipped(at.name, NAME)}{turn}"


def test_words(view: View) -> str:
    """`phase 2/3` of a test under way; what kind of test it was."""
    at, test = standing_of(view), view.state.plan.test
    if at is not None:
        return f"phase {at.phase + 1}{f'/{at.phases}' if at.phases else ''}"
    return {"bench": "bench", "tune": "tuner"}.get(test.kind if test is not None else "", "phases")


def test_end(view: View) -> float | None:
    """The clock time at which the test ends, if that can be said."""
    at = standing_of(view)
    return view.state.now + at.left if at is not None and at.left is not None else None


def visit_rows(view: View) -> list[tuple[str, str, str, float]]:
    """Label, done, total and fraction, as the progress of a training has them."""
    state, at = view.state, standing_of(view)
    ended = [visit for visit in state.visits if isinstance(visit, PhaseEnded)]
    over = state.ended is not None and state.ended.outcome == "finished"
    done = len({visit.phase for visit in ended})
    total = at.phases if at is not None else len(state.plan.test.phases) if state.plan.test is not None else 0
    part = 1.0 if over else done / total if total else 0.0
    phase = ("phase", count(at.phase + 1 if at is not None else done), count(max(total, done)) if total else DASH, part)
    step = (
        ("step", count(at.step), count(at.steps), at.step / at.steps if at.steps else 0.0)
        if at is not None
        else ("step", DASH, DASH, 1.0 if over else 0.0)
    )
    share = 1.0 if over else share_of(view, at)
    return [step, phase, ("test %", f"{100 * share:.0f}" if share else DASH, "100", share)]


def share_of(view: View, at: Standing | None) -> float:
    """Of the time that the whole test takes."""
    state = view.state
    if at is None or at.left is None or not state.visits:
        return 0.0
    gone = max(0.0, state.now - state.visits[0].t)
    return gone / (gone + at.left) if gone + at.left else 0.0


def expected_line(state: ExperimentState) -> Line:
    """What was expected of the phase before it began, or what it is tried for."""
    begun = state.visits[-1] if state.visits else None
    if not isinstance(begun, PhaseBegun) or state.ended is not None:
        return []
    if begun.low is not None and begun.high is not None:
        spread = f"{significant(begun.low)}–{significant(begun.high)} samples/s"
        return [("expected ", "label"), (spread, "number"), (f"  {begun.basis}", "faint")]
    planned = state.plan.test.phases if state.plan.test is not None else ()
    why = planned[begun.phase].why if begun.phase < len(planned) else ""
    return [(why, "label")]


def test_ended(state: ExperimentState, at: float, width: int) -> list[Line]:
    """What the forecast became."""
    ended = [visit for visit in state.visits if isinstance(visit, PhaseEnded)]
    width = min(width, 64)
    lines: list[Line] = []
    if at:
        lines.append(ends([("ended", "label")], [(moment(at, state.now), "number")], width))
    if at and state.visits:
        lines.append(ends([("first visit to end", "label")], [(whole(at - state.visits[0].t), "number")], width))
    repeated = sum(visit.repeated for visit in ended)
    counted = f"{len(ended)}{f', {repeated} of them disturbed' if repeated else ''}"
    lines.append(ends([("visits", "label")], [(counted, "number")], width))
    steps = sum(len(visit.seconds) for visit in ended)
    lines.append(ends([("steps measured", "label")], [(count(steps), "number")], width))
    return lines


def visit_ends(view: View, width: int, height: int) -> list[Line]:
    """When this visit ends, and when the test does."""
    state, at = view.state, standing_of(view)
    if at is None:
        waiting = "between two phases" if state.visits else "no phase has begun"
        return [[(waiting, "label")]]
    lines: list[Line] = []
    name = f"phase {at.phase + 1}, round {at.round + 1}"
    if at.seconds is not None:
        lines.append(_row(name, at.seconds, "", clock(state.now + at.seconds, state.now), width))
    else:
        lines.append([(f"{name:<{LABEL}}", "label"), ("warming up", "label")])
    if at.left is not None:
        spread = margin(at.left, at.low, at.high)
        lines.append(_row("whole test", at.left, spread, moment(state.now + at.left, state.now), width))
        if len(lines) < height:
            lines.append([(RANGES, "faint")])
    elif not at.phases:
        lines.append([("the tuner decides as it goes when it has seen enough", "label")])
    else:
        lines.append([("the whole test is forecast once a visit has ended", "label")])
    if len(lines) < height and (test := state.plan.test) is not None:
        steps = f"{plural(test.steps, 'step')} a phase" if test.steps else "as many steps as the precision needs"
        lines.append([(f"{steps}, in turns" if test.kind == "phases" else steps, "faint")])
    return [line if width_of(line) <= width else [(clipped(line[0][0], width), line[0][1])] for line in lines]


def _row(label: str, seconds: float, spread: str, when: str, width: int) -> Line:
    left: Line = [(f"{label:<{LABEL}}", "label"), (whole(seconds).rjust(8), "text"), (f"  {spread:<9}", "label")]
    return ends(left, [(when, "number")], min(width, 64))
