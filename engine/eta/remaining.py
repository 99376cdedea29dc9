"""What is left to do, counted: steps, validations, checkpoints, test subjects, starts, gaps. No seconds yet."""

from __future__ import annotations

from collections.abc import Mapping

from engine.eta.costs import Cost
from engine.eta.rhythm import Amounts, Rhythm, add_to, added, rhythm_of
from engine.eta.variants import paces_of
from engine.live.state import ExperimentState, RunState

LINE_SECONDS = 0.3
# Spans whose items are counted, by the name of their cost.
COUNTED = {"validate": "validate", "reconstruct": "volume"}
# Of a step, or a line of quick ones, that is overdue: it has not ended, so something is left of it.
OVERDUE = 0.1


def of_run(state: ExperimentState, run: RunState, costs: Mapping[str, Cost]) -> tuple[Amounts, Amounts] | None:
    """What is left of the present epoch, and of the run with its evaluation; None while the steps are unknown."""
    rhythm = rhythm_of(state, run)
    if rhythm is None:
        return None
    step_seconds = costs["step"].mean
    done = min(run.step, rhythm.epochs * rhythm.steps)
    epoch, within = divmod(done, rhythm.steps)
    ending: Amounts = {}
    if within == 0 and epoch and run.activity != "startup":
        ending = _pending(run, rhythm, epoch)
    here: Amounts = {}
    if ending or within or epoch >= rhythm.epochs:
        epoch += within > 0
    else:
        epoch += 1
    left = max(0, epoch * rhythm.steps - done)
    here["step"] = _since_last_record(state, run, float(left), step_seconds)
    here = added(here, ending if within == 0 and ending else rhythm.ends(epoch) if left else {})
    add_to(here, "checkpoint", rhythm.timed(left, step_seconds))
    here = _under_way(state, run, here, costs)
    rest = rhythm.ends(epoch + 1, rhythm.epochs)
    after = max(0, rhythm.epochs - epoch)
    rest["step"] = rest["cold"] = float(after * rhythm.steps)
    add_to(rest, "checkpoint", rhythm.timed(after * rhythm.steps, step_seconds))
    evaluated = run.test is not None or (not left and not after and "evaluate" in run.parts)
    if run.activity == "evaluate" or not (evaluated or _tested_at_end(run, rhythm)):
        rest = added(rest, _evaluation(run, rhythm))
    rest["closing"] = 1.0
    return here, added(here, rest)


def _tested_at_end(run: RunState, rhythm: Rhythm) -> bool:
    """Whether the last epoch's end scores what the evaluation would. A process that begins behind it knows no more of
    that, and scores again."""
    total = rhythm.epochs * rhythm.steps
    behind = run.begin is not None and run.begin.resumed_from_step >= total
    scored = run.whole is not None and run.whole.step >= total
    return rhythm.tested_at_end and not (behind and (scored or run.activity == "startup"))


def _pending(run: RunState, rhythm: Rhythm, epoch: int) -> Amounts:
    """What of an epoch's end has not been done, its last step being done."""
    if run.activity == "evaluate" or run.test is not None:
        return {}
    pending = {name: count for name, count in rhythm.ends(epoch).items() if name not in rhythm.rates}
    validated = run.validation is not None and run.validation.step >= run.step
    saved = run.checkpoint is not None and run.checkpoint.step >= run.step
    if validated and run.activity != "validate":
        pending = {name: count for name, count in pending.items() if not name.startswith("validate")}
    if saved and run.activity != "checkpoint":
        pending.pop("checkpoint", None)
    if run.whole is not None and run.whole.step >= run.step and run.activity != "reconstruct":
        pending.pop("volume", None)
    return pending


def _since_last_record(state: ExperimentState, run: RunState, left: float, step_seconds: float) -> float:
    """Steps left less what has gone of the one under way: nearly one step at most, or one line of quick ones."""
    if run.activity or not step_seconds or not state.trainer_alive:
        return left
    quiet = max(0.0, state.now_monotonic - run.last_monotonic)
    return max(OVERDUE * min(1.0, left), left - min(quiet, max(step_seconds, LINE_SECONDS)) / step_seconds)


def _under_way(state: ExperimentState, run: RunState, here: Amounts, costs: Mapping[str, Cost]) -> Amounts:
    """`here` with the rest of the span under way instead of the whole of it."""
    name = run.activity
    if not name or name == "evaluate":
        return here
    counted = {"validate": "validate"} if state.plan.experiment.command else COUNTED
    if name in counted and run.activity_total:
        return {**here, counted[name]: float(max(0, run.activity_total - run.activity_done))}
    cost = costs.get(name) or costs.get(f"{name} (whole)") or Cost(0.0)
    if run.activity_done and run.activity_total:
        left = max(0.0, 1 - run.activity_done / run.activity_total)
    else:
        left = max(0.0, 1 - run.busy_seconds(state.now_monotonic) / cost.mean) if cost.mean else 0.0
    unit = name if name in costs else f"{name} (whole)"
    if unit not in costs:
        return here
    others = max(0.0, here.get(unit, 0.0) - 1) if name in ("checkpoint", "validate") else 0.0
    return {**here, unit: others + left}


def _evaluation(run: RunState, rhythm: Rhythm) -> Amounts:
    if run.activity == "evaluate" and run.activity_total:
        return {"evaluate": float(max(0, run.activity_total - run.activity_done))}
    if rhythm.evaluate_items is None:
        return {"evaluate (whole)": 1.0}
    return {"evaluate": rhythm.evaluate_items}


def whole_run(rhythm: Rhythm, step_seconds: float, done: int = 0) -> Amounts:
    """A run from its start to its end, or from after step `done`."""
    amounts: Amounts = {"startup": 1.0, "closing": 1.0} | rhythm.ends(done // rhythm.steps + 1, rhythm.epochs)
    amounts["step"] = float(max(0, rhythm.epochs * rhythm.steps - done))
    add_to(amounts, "checkpoint", rhythm.timed(amounts["step"], step_seconds))
    if rhythm.tested_at_end and amounts["step"]:
        return amounts
    if rhythm.evaluate_items is None:
        return added(amounts, {"evaluate (whole)": 1.0})
    return added(amounts, {"evaluate": rhythm.evaluate_items})


def another_run(rhythm: Rhythm, step_seconds: float, done: int = 0) -> Amounts:
    """A run that is not the one under way, with what its steps may differ in."""
    amounts = whole_run(rhythm, step_seconds, done)
    amounts["drift"] = amounts["cold"] = amounts["step"]
    amounts["anew"] = amounts["step"] ** 2
    return amounts


def of_epoch(rhythm: Rhythm, step_seconds: float) -> Amounts:
    """An epoch from its first step to its end, of those that come every few its share."""
    amounts = {name: count / rhythm.epochs for name, count in rhythm.ends(1, rhythm.epochs).items()}
    amounts["step"] = float(rhythm.steps)
    add_to(amounts, "checkpoint", rhythm.timed(rhythm.steps, step_seconds))
    return amounts


def runs_left(state: ExperimentState, running: bool) -> list[RunState]:
    """Runs that will be started after the present one, in order: those that wait, and behind them those that failed and
    are tried again; none that was given up. After a resume those that were stopped, or failed before it, wait too."""
    if state.stop is not None and state.stop.mode == "after_run" and state.stop.phase != "done":
        return []
    going = {*state.under_way, state.current if running else None}
    others = [run for place, run in enumerate(state.runs) if place not in going and not run.given_up]
    again = [run for run in others if run.phase == "failed" and 0 < run.failures <= state.plan.retries]
    left = [run for run in others if _waits(run)] + sorted(again, key=lambda run: run.ended_monotonic)
    if state.stop_after_runs:
        begun = max(len(state.under_way), 1) if running else 0
        left = left[: max(0, state.stop_after_runs - state.runs_ended_here - begun)]
    return left


def _waits(run: RunState) -> bool:
    """It has had no try since the present supervisor started, or was put back."""
    return run.phase in ("waiting", "stopped", "lost") or (run.phase == "failed" and not run.failures)


def later_runs(state: ExperimentState, runs: list[RunState], step_seconds: float, running: bool) -> Amounts | None:
    """What those runs need in all; None if one of them is not known."""
    each = each_later(state, runs, step_seconds, running)
    if each is None:
        return None
    total: Amounts = {}
    for amounts in each:
        total = added(total, amounts)
    return total


def each_later(
    state: ExperimentState, runs: list[RunState], step_seconds: float, running: bool
) -> list[Amounts] | None:
    """What each of those runs needs, with the gap before it; None if one of them is not known."""
    found: list[Amounts] = []
    paces = paces_of(state)
    for run in runs:
        rhythm = rhythm_of(state, run)
        if rhythm is None:
            return None
        gap = bool(found) or running or bool(state.runs_ended_here)
        amounts = another_run(rhythm, step_seconds, run.step)
        found.append(amounts | {"gap": float(gap)} | paces.beside(run.key.variant, amounts["step"], step_seconds))
    return found
