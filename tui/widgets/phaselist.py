"""The phases of a test in a few lines: name, how each stands, samples per second, how many times the first's."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config.plan import Plan
from engine.journals.events import PhaseBegun
from engine.live.state import ExperimentState
from engine.phase.phases import PhaseResult, best
from engine.visit_status import results_of
from tui.format import DASH, plural, significant
from tui.messages import View
from tui.phase_table import WORDS
from tui.plain import fit
from tui.widgets.interval import interval, scale_of
from tui.widgets.line import Line, width_of
from tui.widgets.panel import Panel

VERDICT_ROLES = {
    "ok": "text",
    "faster": "good",
    "slower": "bad",
    "not distinguishable": "label",
    "unstable": "warn",
    "waiting": "faint",
    "stopped": "warn",
    "running": "accent",
}
PACE, RATIO, VERDICT, NAME = 8, 7, 13, 10
LEAST_GRAPH = 12


def role_of(verdict: str) -> str:
    """Whatever ended a test is bad."""
    return VERDICT_ROLES.get(verdict, "bad")


def verdict_word(verdict: str) -> str:
    return WORDS.get(verdict, verdict.replace("_", " "))


def under_way(state: ExperimentState) -> int | None:
    """The number of the phase that is visited now."""
    begun = state.visits[-1] if state.visits else None
    return begun.phase if isinstance(begun, PhaseBegun) and state.ended is None else None


def phase_lines(
    found: Sequence[PhaseResult], width: int, height: int, now: int | None = None, winner: int | None = None
) -> list[Line]:
    """A line for each, the one under way marked; where they do not all fit, those around it."""
    rows = [_row(one, found, width, now, winner) for one in found]
    if len(rows) <= height:
        return rows
    first = max(0, min(len(rows) - height + 1, (now or 0) - height // 2)) if now is not None else 0
    shown = rows[first : first + height - 1]
    return [*shown, [(f"  {plural(len(rows) - len(shown), 'other phase')}", "faint")]]


def _row(one: PhaseResult, found: Sequence[PhaseResult], width: int, now: int | None, winner: int | None) -> Line:
    here = one.number == now
    role = role_of(one.verdict)
    graph = width - 2 - NAME - PACE - RATIO - VERDICT - 6
    longest = max(len(f"{other.number + 1}. {other.name}") for other in found) + 1
    # Names have the room of a graph that is not there, and of one that stays wide enough without it.
    drawn = graph >= LEAST_GRAPH and any(other.ratio is not None for other in found)
    name_room = NAME + (min(max(0, longest - NAME), graph - LEAST_GRAPH) if drawn else max(0, graph))
    mark = ("▶ ", "accent") if here else ("✔ ", "good") if one.number == winner else ("  ", "text")
    pace = significant(one.measured.samples_per_second) if one.measured is not None else DASH
    ratio = f"×{one.ratio.value:.2f}" if one.ratio is not None else DASH
    line: Line = [
        mark,
        (fit(f"{one.number + 1}. {one.name}", name_room), "number" if here else "text"),
        (pace.rjust(PACE), "number" if one.measured is not None else "faint"),
        (ratio.rjust(RATIO), role if one.ratio is not None else "faint"),
    ]
    room = width - width_of(line) - VERDICT - 3
    if room >= LEAST_GRAPH:
        ratios = [other.ratio for other in found if other.ratio is not None]
        scale = scale_of([bound for other in ratios for bound in (other.low, other.high)])
        if one.ratio is not None:
            line += [(" ", "text"), *interval(scale, room, one.ratio.low, one.ratio.value, one.ratio.high, role)]
        else:
            line.append((" " * (room + 1), "text"))
    word = "measuring" if here else verdict_word(one.verdict)
    return [*line, (f"  {word}", "accent" if here else role)]


def winner_of(state: ExperimentState, found: Sequence[PhaseResult]) -> int | None:
    """The phase that was found best, once the test is over."""
    if state.ended is None or len(found) < 2:
        return None
    one = best(found, state.ended.knobs)
    return one.number if one is not None else None


class PhasesPanel(Panel):
    """In a test of profiles, where a training has its runs."""

    TITLE = "Phases"
    NUMBER = 7
    HELP = (
        "Each phase of the test: samples per second, how many times the first phase's, with the 95 % interval on one "
        "scale for all, and the verdict. An interval that holds ×1 is no difference that could be told from chance.\n"
        "c: all of it, with what was expected before, span by span."
    )
    _known: tuple[tuple[object, ...], tuple[PhaseResult, ...]] | None = None

    def depends(self, view: View) -> tuple[object, ...]:
        state = view.state
        return (state.visits, state.plan, state.prepared, state.ended)

    def _results(self, state: ExperimentState) -> tuple[PhaseResult, ...]:
        parts: tuple[object, ...] = (state.visits, state.plan, state.prepared, state.ended)
        if self._known is None or any(a is not b for a, b in zip(self._known[0], parts, strict=True)):
            self._known = parts, results_of(state)
        return self._known[1]

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        state = view.state
        found = self._results(state)
        self.entitle(planned(state.plan, len(found)), "$label")
        return phase_lines(found, width, height, under_way(state), winner_of(state, found))


def planned(plan: Plan, count: int) -> str:
    """What kind of test it is."""
    kind = plan.test.kind if plan.test is not None else ""
    return {"bench": "one profile, in parts", "tune": f"{count} tried", "phases": f"{count} in turns"}.get(kind, "")
