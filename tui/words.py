"""How a state is said: words, symbols and colours for what is going on."""

from __future__ import annotations

from typing import NamedTuple

from engine.beside import hanging
from engine.config.leading import measure
from engine.journals.events import PhaseBegun, PhaseEnded
from engine.live.state import ENDED as ENDED, ExperimentState, RunState
from tui import glyphs
from tui.format import clock, plural, whole
from tui.messages import View
from tui.preparation import preparing, samples
from tui.theme import ROLES

# What interrupts the steps for less than this is not worth a word: the screen would only flicker.
BRIEF_SECONDS = 2.0
STOPPING = "finishes its step, writes a checkpoint and ends"

_ACTIVITIES = {
    "startup": "starting",
    "validate": "validating",
    "evaluate": "evaluating",
    "checkpoint": "writing a checkpoint",
    "reconstruct": "reconstructing",
}
_PHASES = {
    "preparing": ("preparing", "accent"),
    "queued": ("queued", "label"),
    "running": ("training", "good"),
    "stopping": ("stopping", "warn"),
    "stopped": ("stopped", "warn"),
    "finished": ("finished", "good"),
    "failed": ("failed", "bad"),
    "lost": ("lost", "bad"),
}
_PHASE_SYMBOLS = {"finished": "✔", "stopped": "■", "failed": "✖", "lost": "?", "queued": "○"}
RUN_ROLES = {
    "waiting": "faint",
    "running": "good",
    "finished": "good",
    "stopped": "warn",
    "failed": "bad",
    "lost": "bad",
}
LEVEL_ROLES = {"info": "text", "good": "good", "warn": "warn", "bad": "bad"}

assert {role for _, role in _PHASES.values()} <= set(ROLES)


class Word(NamedTuple):
    """A state in one word, with its symbol and the role that colours both."""

    symbol: str
    text: str
    role: str


def state_word(state: ExperimentState) -> Word:
    text, role = _PHASES[state.phase]
    text = f"preparing {samples(state)}" if state.phase == "preparing" else text
    symbol = _PHASE_SYMBOLS.get(state.phase, glyphs.DOT)
    if state.stalled_seconds:
        other = hanging(state)
        whose = f"run {other + 1} " if other is not None and other != state.current else ""
        return Word(symbol, f"{whose}stalled {whole(state.stalled_seconds)}", "bad")
    activity = lasting_activity(state)
    if state.phase in ("running", "stopping") and activity:
        doing = activity_word(state, activity)
        text = doing if state.phase == "running" or runs_stopped_here(state) else f"stopping · {doing}"
    elif state.phase == "stopping" and runs_stopped_here(state):
        text = "training"
    if state.plan.test is not None and text == "training":
        text = "measuring"
    return Word(symbol, text, role)


def lasting_activity(state: ExperimentState, run: RunState | None = None) -> str:
    """The span under way in `run` (the one shown), '' while stepping and for one that has only just begun between two
    steps."""
    run = run or state.run
    if run is None or not run.activity:
        return ""
    brief = run.step > 0 and run.activity_since > 0 and 0 <= state.now - run.activity_since < BRIEF_SECONDS
    return "" if brief else run.activity


def activity_word(state: ExperimentState, activity: str) -> str:
    if activity == "reconstruct" and measure(state.plan.experiment).whole == "samples":
        return "drawing samples"
    return _ACTIVITIES.get(activity, activity or "training")


def doing(state: ExperimentState) -> tuple[str, float | None, str]:
    """What happens now: a sentence, how far it is (0 to 1, None if it cannot be said), and its role."""
    if state.phase == "preparing":
        said, part = preparing(state)
        return said, part, "text"
    run = state.run
    if run is None:
        return (
            ("waiting for the supervisor to start a run" if state.phase not in ENDED else "no run was started"),
            None,
            "label",
        )
    if state.stalled_seconds and hanging(state) == state.current:
        return f"nothing new for {whole(state.stalled_seconds)}: it may hang", None, "alarm"
    if state.phase in ENDED or run.phase != "running":
        return _ended(state, run)
    activity = lasting_activity(state)
    if activity:
        # One thing has no parts to count.
        total = run.activity_total if run.activity_total > 1 else 0
        items = f" {run.activity_done} of {total}" if total else ""
        since = state.now - run.activity_since
        ago = f" · for {whole(since)}" if run.activity_since and 2 <= since < 1e6 else ""
        return f"{activity_word(state, activity)}{items}{ago}", run.activity_done / total if total else None, "text"
    if state.plan.test is not None:
        return _visiting(state), None, "text"
    return "training", None, "text"


def _visiting(state: ExperimentState) -> str:
    """What a test of profiles does at this moment."""
    begun = state.visits[-1] if state.visits else None
    if not isinstance(begun, PhaseBegun):
        return "between two phases" if begun is not None else "no phase has begun"
    return {
        "resident": "the same batch again and again: computing alone",
        "load": "loading alone: batches are thrown away",
    }.get(begun.mode, f"measuring {begun.name}")


def _ended(state: ExperimentState, run: RunState) -> tuple[str, None, str]:
    if state.plan.test is not None:
        done = sum(isinstance(visit, PhaseEnded) for visit in state.visits)
        return f"{state.phase} after {plural(done, 'visit')}", None, "text"
    if state.phase in ENDED:
        return f"{state.phase} after {plural(run.step, 'step')} of run {(state.current or 0) + 1}", None, "text"
    onward = "the next one starts" if run.phase == "finished" else "it is taken up again"
    return f"run {(state.current or 0) + 1} {run.phase}; {onward}", None, "text"


def runs_words(state: ExperimentState) -> str:
    """`runs 1 and 2`, `runs 1, 2 and 4`: those that go on side by side; '' where fewer than two do."""
    *first, last = [str(place + 1) for place in state.under_way] or [""]
    return f"runs {', '.join(first)} and {last}" if first else ""


def pending_stop(view: View) -> str:
    """When a stop that was asked for will happen, in words; '' if none is pending."""
    state = view.state
    if state.phase in ENDED:
        return ""
    stop, number = state.stop, (state.current or 0) + 1
    if stop is not None and stop.phase != "done":
        asked = " (asked, not taken up yet)" if stop.phase == "requested" else ""
        if stop.mode == "force":
            return f"is being ended by force{asked}"
        if stop.mode == "now" and state.plan.test is not None:
            return f"finishes its step and ends; this visit does not count{asked}"
        if stop.mode == "now":
            what = "each finishes its step, writes a checkpoint and ends" if runs_words(state) else STOPPING
            return f"{what}{asked}"
        if state.phase == "preparing" or state.run is None:
            return f"stops before a run starts{asked}"
        if state.plan.test is not None:
            return f"stops after this visit{asked}"
        at = view.forecast.stop_here.at
        those = runs_words(state) or f"run {number}"
        return f"stops after {those}{f', {clock(at, state.now)}' if at else ''}{asked}"
    if state.stop_after_runs:
        left = state.stop_after_runs - state.runs_ended_here
        if left > 0:
            last = number if left == 1 and state.run is not None and state.run.phase == "running" else None
            at = view.forecast.experiment.at
            when = f", {clock(at, state.now)}" if at else ""
            return (
                f"stops after run {last}{when}, as launched"
                if last
                else f"stops after {plural(left, 'more run')}{when}, as launched"
            )
    return ""


def ends_now(state: ExperimentState) -> bool:
    """Whether a stop that does not wait for the run's end is under way."""
    return state.stop is not None and state.stop.mode in ("now", "force") and state.stop.phase != "done"


def runs_stopped_here(state: ExperimentState) -> bool:
    """Whether the run under way will be the last one by request."""
    return state.stop is not None and state.stop.mode == "after_run" and state.stop.phase != "done"
