"""What is left to do, counted: steps, validations, checkpoints, test subjects, starts, gaps. No seconds yet."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import TypeAlias

import msgspec

from engine.config.experiment import Plan, split_of, steps_per_epoch
from engine.config.leading import measure
from engine.eta.costs import Cost, pooled
from engine.eta.validation import validation_samples
from engine.eta.variants import paces_of
from engine.live.state import ExperimentState, RunState

# Unit -> how many. Units: step, drift (steps of other runs), anew (the square of each of those runs' steps, which are
# slow or quick together), apart (seconds that steps of other variants take more or less), untried (steps of a variant
# that has not run yet), cold (steps after the present epoch), validate and evaluate (subjects), "validate (whole)"
# and "evaluate (whole)" (where subjects are not counted), checkpoint, startup, volume (subjects scored as wholes
# between epochs), closing (a process's start and end), gap, and any other span's name.
Amounts: TypeAlias = dict[str, float]

STRUCTURED = ("startup", "validate", "evaluate", "checkpoint", "prepare")
LINE_SECONDS = 0.3
# Spans whose items are counted, by the name of their cost.
COUNTED = {"validate": "validate", "reconstruct": "volume"}
# Of a step, or a line of quick ones, that is overdue: it has not ended, so something is left of it.
OVERDUE = 0.1


class Rhythm(msgspec.Struct, frozen=True, kw_only=True):
    """What happens beside the steps. `validate_items` and `evaluate_items`: subjects each time, None where not counted;
    `rates`: spans per epoch that follow no known interval; `whole_is_test`: what is reconstructed after the last epoch
    is evaluated with that."""

    epochs: int
    steps: int
    validate_every: int = 0
    validate_items: float | None = None
    reconstruct_every: int = 0
    evaluate_items: float | None = None
    checkpoint_every: int = 0
    checkpoint_seconds: float = 0.0
    rates: dict[str, float] = {}
    whole_is_test: bool = False

    @property
    def tested_at_end(self) -> bool:
        """Whether the last epoch's end leaves nothing to evaluate."""
        return self.whole_is_test and bool(self.reconstruct_every) and self.epochs % self.reconstruct_every == 0

    def ends(self, first: int, last: int | None = None) -> Amounts:
        """What belongs to the ends of epochs `first` to `last`."""
        last = first if last is None else last
        if last < first:
            return {}
        amounts: Amounts = {name: rate * (last - first + 1) for name, rate in self.rates.items()}
        if self.validate_every:
            times = last // self.validate_every - (first - 1) // self.validate_every
            whole = self.validate_items is None
            _add(amounts, "validate (whole)" if whole else "validate", times * (self.validate_items or float(whole)))
        if self.reconstruct_every:
            times = last // self.reconstruct_every - (first - 1) // self.reconstruct_every
            _add(amounts, "volume", times * (self.evaluate_items or 0.0))
        if self.checkpoint_every:
            times = last // self.checkpoint_every - (first - 1) // self.checkpoint_every
            times += last == self.epochs and last % self.checkpoint_every != 0
            _add(amounts, "checkpoint", float(times))
        return amounts

    def timed(self, steps: float, step_seconds: float) -> float:
        """Checkpoints by the clock within so many steps; one at an epoch's end sets the clock back."""
        if not self.checkpoint_seconds:
            return 0.0
        if not self.checkpoint_every:
            return steps * step_seconds / self.checkpoint_seconds
        period = self.checkpoint_every * self.steps
        return floor(period * step_seconds / self.checkpoint_seconds) * steps / period


def added(a: Amounts, b: Amounts) -> Amounts:
    return {name: a.get(name, 0.0) + b.get(name, 0.0) for name in {**a, **b}}


def _add(amounts: Amounts, name: str, count: float) -> None:
    amounts[name] = amounts.get(name, 0.0) + count


# ---------------------------------------------------------------- the rhythm of a run


def planned(plan: Plan, steps: int, tests: int) -> Rhythm:
    """What steptop's own trainer does in a fold of so many steps per epoch and test subjects."""
    checkpoints, own = plan.experiment.checkpoints, not plan.experiment.command
    return Rhythm(
        epochs=plan.experiment.epochs,
        steps=steps,
        validate_every=int(plan.profile["val_every_epochs"]),
        validate_items=float(validation_samples(tests, plan.profile)),
        reconstruct_every=int(plan.profile["reconstruct_every_epochs"]),
        evaluate_items=float(tests),
        checkpoint_every=checkpoints.epochs,
        checkpoint_seconds=checkpoints.minutes * 60,
        whole_is_test=own and measure(plan.experiment).whole_is_test,
    )


def rhythm_of(state: ExperimentState, run: RunState) -> Rhythm | None:
    """As the run says, or its split where it has not begun, and as has been seen; None while steps are unknown."""
    plan, current = state.plan, state.run
    split = split_of(plan, state.prepared, run.key)
    begin = run.begin if run.begin is not None or split is not None or current is None else current.begin
    if begin is None and split is None:
        return None
    steps = begin.steps_per_epoch if begin is not None else steps_per_epoch(split, plan.profile) if split else 0
    epochs = begin.epochs if begin is not None else plan.experiment.epochs
    if steps < 1 or epochs < 1:
        return None
    rhythm = msgspec.structs.replace(planned(plan, steps, len(split.test) if split is not None else 0), epochs=epochs)
    done = sum(r.step / r.steps_per_epoch for r in state.runs if r.steps_per_epoch)
    validated = pooled(state, "validate")
    if validated.items:
        rhythm = msgspec.structs.replace(rhythm, validate_items=validated.items / validated.count)
    structured: tuple[str, ...] = STRUCTURED
    if plan.experiment.command:
        rhythm = _seen(state, rhythm, done)
    else:
        structured = (*STRUCTURED, "reconstruct")
    names = sorted({name for r in state.runs for name in r.parts if name not in structured})
    rates = {name: pooled(state, name).count / done for name in names if done >= 1}
    return msgspec.structs.replace(rhythm, rates=rhythm.rates | rates)


def _seen(state: ExperimentState, rhythm: Rhythm, done: float) -> Rhythm:
    """A trainer of one's own validates, saves and evaluates as it likes: as often as it has done in `done` epochs."""
    rates: dict[str, float] = {}
    validated, evaluated, saved = (pooled(state, name) for name in ("validate", "evaluate", "checkpoint"))
    if done >= 1 and validated.count:
        name = "validate" if validated.items else "validate (whole)"
        rates[name] = (validated.items or validated.count) / done
    if done >= 1 and saved.count:
        rates["checkpoint"] = saved.count / done
    items = evaluated.items / evaluated.count if evaluated.items else None if evaluated.count else 0.0
    return msgspec.structs.replace(
        rhythm,
        rates=rates,
        evaluate_items=items,
        validate_every=0,
        reconstruct_every=0,
        checkpoint_every=0,
        checkpoint_seconds=0.0,
    )


# ---------------------------------------------------------------- what is left


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
    _add(here, "checkpoint", rhythm.timed(left, step_seconds))
    here = _under_way(state, run, here, costs)
    rest = rhythm.ends(epoch + 1, rhythm.epochs)
    after = max(0, rhythm.epochs - epoch)
    rest["step"] = rest["cold"] = float(after * rhythm.steps)
    _add(rest, "checkpoint", rhythm.timed(after * rhythm.steps, step_seconds))
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
    _add(amounts, "checkpoint", rhythm.timed(amounts["step"], step_seconds))
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
    _add(amounts, "checkpoint", rhythm.timed(rhythm.steps, step_seconds))
    return amounts


def runs_left(state: ExperimentState, running: bool) -> list[RunState]:
    """Runs that will be started after the present one, in order: those that wait, and behind them those that failed and
    are tried again. After a resume those that were stopped, or failed before it, wait too."""
    if state.stop is not None and state.stop.mode == "after_run" and state.stop.phase != "done":
        return []
    going = {*state.under_way, state.current if running else None}
    others = [run for place, run in enumerate(state.runs) if place not in going]
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
