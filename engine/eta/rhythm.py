"""What a run does and how often: its epochs and steps, and what comes every few of them. No seconds yet."""

from __future__ import annotations

from math import floor
from typing import TypeAlias

import msgspec

from engine.config.leading import measure
from engine.config.plan import Plan
from engine.config.prepared import split_of, steps_per_epoch
from engine.eta.costs import pooled
from engine.eta.validation import validation_samples
from engine.live.state import ExperimentState, RunState

# Unit -> how many. Units: step, drift (steps of other runs), anew (the square of each of those runs' steps, which are
# slow or quick together), apart (seconds that steps of other variants take more or less), untried (steps of a variant
# that has not run yet), cold (steps after the present epoch), validate and evaluate (subjects), "validate (whole)"
# and "evaluate (whole)" (where subjects are not counted), checkpoint, startup, volume (subjects scored as wholes
# between epochs), closing (a process's start and end), gap, and any other span's name.
Amounts: TypeAlias = dict[str, float]

STRUCTURED = ("startup", "validate", "evaluate", "checkpoint", "prepare")


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
            add_to(amounts, "validate (whole)" if whole else "validate", times * (self.validate_items or float(whole)))
        if self.reconstruct_every:
            times = last // self.reconstruct_every - (first - 1) // self.reconstruct_every
            add_to(amounts, "volume", times * (self.evaluate_items or 0.0))
        if self.checkpoint_every:
            times = last // self.checkpoint_every - (first - 1) // self.checkpoint_every
            times += last == self.epochs and last % self.checkpoint_every != 0
            add_to(amounts, "checkpoint", float(times))
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


def add_to(amounts: Amounts, name: str, count: float) -> None:
    amounts[name] = amounts.get(name, 0.0) + count


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
