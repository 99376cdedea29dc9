"""What a panel adds when it is given more room than it needs: facts of the run, and what happens beside the steps."""

from __future__ import annotations

from engine.journals.events import Metrics
from engine.live.held_out import carried_words
from engine.live.state import ExperimentState, RunState
from tui.format import DASH, clock, count, duration, loss, moment, plural, size, whole
from tui.messages import View
from tui.widgets.line import Line

LABEL, TIMES, EACH = 12, 8, 12


def run_details(view: View) -> list[Line]:
    """Where the run comes from, what it is, and what it has written; what is not known is left out."""
    state, run = view.state, view.state.run
    if run is None:
        return []
    facts = [
        ("started", _started(state, run)),
        ("steps", f"{count(run.step)} of {count(run.steps_total)} of this run" if run.steps_total else ""),
        ("checkpoint", _checkpoint(state, run)),
        ("trainer", _trainer(run)),
        ("attempt", _attempt(run)),
        ("precision", _precision(run)),
        ("validation", _held_out(run, run.validation)),
        (run.whole.split if run.whole is not None else "", _held_out(run, run.whole)),
        ("test", _figures(run.test.values) if run.test is not None else ""),
        ("folder", state.folder),
    ]
    return [[(f"{name:<{LABEL}}", "label"), (text, "text")] for name, text in facts if text]


def _started(state: ExperimentState, run: RunState) -> str:
    if not run.started:
        return ""
    ago = f", {whole(state.now - run.started)} ago" if state.now > run.started else ""
    return moment(run.started, state.now) + ago


def _checkpoint(state: ExperimentState, run: RunState) -> str:
    kept = run.checkpoint
    if kept is None:
        return "none yet"
    if kept.error:
        return f"step {count(kept.step)} could not be written: {kept.error}"
    at = f", {clock(kept.t, state.now)}" if kept.t else ""
    return f"step {count(kept.step)}, {size(kept.bytes)}{at}{', verified' if kept.verified else ''}"


def _trainer(run: RunState) -> str:
    begin = run.begin
    if begin is None:
        return ""
    parameters = f"{count(begin.parameters)} parameters, " if begin.parameters else ""
    workers = plural(begin.num_workers, "worker") if begin.num_workers else "no workers"
    return f"{parameters}batch {begin.batch_size}, {workers}, seed {begin.seed}, process {begin.pid or DASH}"


def _held_out(run: RunState, found: Metrics | None) -> str:
    if found is None:
        return ""
    carried = carried_words(run, found)
    return _figures(found.values) + (f" · {carried}" if carried else "")


def _precision(run: RunState) -> str:
    seen = run.precision
    return "" if seen is None else f"{seen.active} ({seen.evidence})" if seen.evidence else seen.active


def _attempt(run: RunState) -> str:
    begin = run.begin
    if begin is None or (begin.attempt <= 1 and not begin.resumed_from_step):
        return ""
    return f"{begin.attempt}, resumed after step {count(begin.resumed_from_step)}"


def _figures(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {loss(value)}" for name, value in values.items())


def beside_lines(run: RunState) -> list[Line]:
    """The spans that are no part of a step: how often, how long each, how long in all, the longest first."""
    parts = sorted(run.parts.items(), key=lambda item: item[1].seconds, reverse=True)
    if not parts:
        return []
    head = f"{'beside steps':<{LABEL + 1}}{'times':>{TIMES}}{'each':>{EACH}}{'in all':>{EACH}}"
    rows: list[Line] = [
        [
            (f"{name:<{LABEL + 1}}"[: LABEL + 1], "label"),
            (f"{part.count:>{TIMES},}", "text"),
            (duration(part.mean).rjust(EACH), "text"),
            (duration(part.seconds).rjust(EACH), "number"),
        ]
        for name, part in parts
    ]
    return [[(head, "faint")], *rows]
