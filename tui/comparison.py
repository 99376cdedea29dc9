"""Everything the comparison of profiles shows at one moment: the phases, which one is looked at, which comes next."""

from __future__ import annotations

import msgspec

from engine.config.knob import shown
from engine.diagnosis.candidates import Candidate, following
from engine.diagnosis.consequences import Range, consequences
from engine.live.state import ExperimentState
from engine.phase.phases import PhaseResult, extrapolated, of_lines
from engine.phase.space import Finished
from engine.phase.tested import tested
from engine.visit_status import results_of
from tui.desk import Taker
from tui.format import plural
from tui.messages import View
from tui.plain import clipped
from tui.widgets.line import Line, ends
from tui.widgets.phaselist import under_way, winner_of
from tui.widgets.visiting import phase_words, standing_of
from tui.words import state_word

GATE_STEPS = 20
HELP = (
    ("↑ ↓  j k", "Choose a phase", "The panels below tell about it."),
    (
        "n",
        "Next phase",
        "A training under way takes up the next profile; asks where the last one is not measured well.",
    ),
    ("o", "Other plan", "Where the next profiles come from: all of them, or a plan of phases."),
    ("a", "Accept", "The chosen profile: a training keeps or takes it; of a test it is launched."),
    ("b", "Back", "The training goes back to the profile before the present one."),
    ("m", "Measure again", "The chosen phase is taken up once more; a test is started again as it was."),
    ("w", "Save", "The chosen phase's knobs as a profile in ./profiles."),
    ("p", "Edit", "The profile editor."),
    ("esc", "Back", "To the dashboard."),
)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """`living`: profiles of a training rather than phases of a test. `now`: the number of the phase under way;
    `winner`: of the best one, once that is known. `plan_name` and `candidates`: what could come next.
    `answer`: what a tuner found."""

    view: View
    found: tuple[PhaseResult, ...]
    selected: int = 0
    living: bool = False
    now: int | None = None
    winner: int | None = None
    taker: Taker = "nobody"
    why_not: str = ""
    plan_name: str = ""
    candidates: tuple[Candidate, ...] = ()
    answer: Finished | None = None

    @property
    def one(self) -> PhaseResult | None:
        return self.found[self.selected] if 0 <= self.selected < len(self.found) else None

    @property
    def first(self) -> PhaseResult | None:
        return self.found[0] if self.found else None

    @property
    def next(self) -> Candidate | None:
        return following(self.candidates) if self.taker == "training" else None


def found_of(state: ExperimentState) -> tuple[PhaseResult, ...]:
    """Phases of a test, or the profiles that a training has run with."""
    return results_of(state) if state.plan.test is not None else tested(state) or present(state)


def present(state: ExperimentState) -> tuple[PhaseResult, ...]:
    """The only profile that a training has run with so far, as the first phase."""
    run, profile = state.run, state.plan.profile
    if run is None or run.begin is None or state.plan.experiment.command:
        return ()
    found = of_lines(run.recent, profile.knobs)
    verdict, text = ("unstable", found.unstable) if found is not None and found.unstable else ("ok", "")
    seconds = extrapolated(state.plan, state.prepared, profile.knobs, found) if found is not None else {}
    one = PhaseResult(number=0, name=profile.name, knobs=profile.knobs, measured=found, verdict=verdict, text=text)
    return (msgspec.structs.replace(one, seconds=seconds),)


def marks_of(state: ExperimentState, found: tuple[PhaseResult, ...]) -> tuple[int | None, int | None]:
    """The phase under way, and the best one once that is known."""
    if state.plan.test is not None:
        return under_way(state), winner_of(state, found)
    running = found[-1].number if found and state.ended is None else None
    return running, None


def expected_of(view: View, one: Candidate) -> Range:
    """Samples per second of a profile that was not tried; nothing where no model knows of what it changes."""
    brings = consequences(view.state, one.changed)
    return brings.samples_per_second if brings.foretold else Range(basis="not modelled: a test phase tells")


def gate(found: tuple[PhaseResult, ...]) -> str:
    """Why the next phase should not be started yet; '' if the last one is measured well enough."""
    if not found:
        return ""
    last = found[-1]
    name = f"{last.number + 1} ({last.name})"
    if last.measured is None:
        return f"phase {name} is not measured yet: no whole block of steps after its warm-up"
    if last.measured.unstable or last.verdict == "unstable":
        return f"phase {name} is unstable: {last.text or last.measured.unstable}"
    if last.measured.steps < GATE_STEPS:
        return f"phase {name} has {last.measured.steps} steps; {GATE_STEPS} tell about 5 % apart"
    return ""


def change_words(one: Candidate) -> str:
    """`num_workers = 2, prefetch_factor = 4`; why it cannot be had; or that it is what runs."""
    if one.problem:
        return one.problem
    if not one.changed:
        return "as it runs"
    if one.fixed:
        names = ", ".join(f"{name} = {shown(one.changed[name])}" for name in one.fixed)
        return f"{names} cannot change while it trains: `steptop phases` tests it"
    return ", ".join(f"{name} = {shown(value)}" for name, value in one.changed.items())


# ---------------------------------------------------------------- title and keys


def keys(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Those that do something now."""
    training = comparison.taker == "training"
    items: list[tuple[str, str]] = [("↑↓", "phase")] if len(comparison.found) > 1 else []
    if comparison.living:
        items += [("n", "next phase"), ("a", "accept"), ("b", "roll back"), ("m", "again")] if training else []
    elif comparison.found:
        items += [("a", "launch with it"), ("m", "measure again")]
    items += [("p", "edit"), *([("w", "save")] if comparison.found else [])]
    items += [("o", "other plan")] if training else []
    return (*items, ("?", "help"), ("esc", "back"))


def title_line(comparison: Comparison, width: int) -> Line:
    """Whose phases they are, and how far that is."""
    state = comparison.view.state
    word = state_word(state)
    left: Line = [(" compare ", "key"), (f" {clipped(state.plan.name, 30)} ", "number")]
    left.append((f" {word.symbol} {word.text} ", word.role))
    at = standing_of(comparison.view)
    if at is not None:
        left.append((f" {phase_words(at)}", "label"))
    elif comparison.living and comparison.found:
        left.append((f" {plural(len(comparison.found), 'profile')} in this run", "label"))
    right: Line = []
    several = sum(one.mode == "train" for one in comparison.found) > 1
    if comparison.winner is not None and several:
        best = comparison.found[comparison.winner]
        test = state.plan.test
        said = "none is surely faster than" if comparison.winner == comparison.found[0].number else "best:"
        if test is not None and test.kind == "tune":
            said = "in use, and kept:" if best.knobs == test.phases[0].knobs else "taken:"
        right = [(f"{said} ", "label"), (f"{best.number + 1}. {clipped(best.name, 24)} ", "good")]
    return ends(left, right, width)
