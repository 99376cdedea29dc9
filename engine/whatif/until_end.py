"""When the experiment would end with other knobs: the forecast, and what the rest of it would take more or less.

What is left is counted as the forecast counts it (engine.eta.remaining), once as it is and once with the other knobs;
each unit costs what it costs now, but for what the knobs change of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot
from typing import NamedTuple

import msgspec

from engine.config.knob import Value
from engine.config.prepared import steps_per_epoch
from engine.config.profile import Profile
from engine.diagnosis.modelled import Range, complete
from engine.errors import UsageError
from engine.eta.costs import Cost
from engine.eta.forecast import Forecast
from engine.eta.remaining import runs_left, whole_run
from engine.eta.rhythm import Amounts, Rhythm, added
from engine.live.state import ExperimentState, RunState
from engine.whatif.known import Z90, Known, known_of, rhythm_with

OF_AN_EPOCH = ("batch_size", "accumulate_steps", "steps_per_epoch")
# What goes through the network without being learned from.
SCORED = ("validate", "evaluate", "volume")
# Held-out volumes load as those to learn from do, to about so much.
ALIKE = 0.25
WAITS = 0.85


class Left(NamedTuple):
    """Of the runs that are left: what it comes to as it is, and with the other knobs."""

    before: Amounts
    after: Amounts


def finish_with(now: Forecast, more: Range) -> Range:
    """Seconds until the end: the forecast and what it takes `more`, with the range of both. Empty where nothing can be
    said."""
    held = now.experiment
    if held.seconds is None or more.value is None or more.low is None or more.high is None:
        return Range()
    value = max(0.0, held.seconds + more.value)
    if held.low is None or held.high is None:
        return Range(value, basis=more.basis)
    # What is shorter has a smaller range too.
    scale = value / held.seconds if held.seconds else 1.0
    down = hypot(scale * (held.seconds - held.low), more.value - more.low)
    up = hypot(scale * (held.high - held.seconds), more.high - more.value)
    return Range(value, max(0.0, value - down), value + up, more.basis)


def seconds_more(
    state: ExperimentState, knobs: Mapping[str, Value], faster: Range, now: Forecast | None = None
) -> Range:
    """Seconds that the rest of the experiment takes more (less: below 0) with `knobs`, those that differ; empty where
    nothing can be said. `faster`: samples per second over those now; `now`: the forecast as it runs."""
    try:
        known = known_of(state, ())
    except UsageError:
        return Range()
    held = complete(state.plan.profile.knobs)
    edited = held | dict(knobs)
    if edited == held or faster.value is None or faster.low is None or faster.high is None:
        return Range(0.0, 0.0, 0.0, "as it runs") if edited == held else Range()
    left = _left(state, known, held, edited)
    step = known.step.mean
    if now is not None and now.parts.get("train") and left.before.get("step"):
        step = now.parts["train"] / left.before["step"]
    samples = _samples(edited) / _samples(held)
    item, least, most = _scoring(known, held, edited)
    changed = [name for name in left.before | left.after if name != "step" and name in known.costs]

    def total(slower: float, factor: float) -> float:
        steps = step * (left.after.get("step", 0.0) * slower - left.before.get("step", 0.0))
        return steps + sum(_beside(left, name, known.costs[name], factor) for name in changed)

    unsure = sum(
        abs(left.after.get(name, 0.0) - left.before.get(name, 0.0)) * Z90 * known.costs[name].spread for name in changed
    )
    value = total(samples / faster.value, item)
    low, high = total(samples / faster.high, least) - unsure, total(samples / faster.low, most) + unsure
    return Range(value, min(low, value), max(high, value), "what is left, counted with these knobs")


def _beside(left: Left, name: str, cost: Cost, factor: float) -> float:
    scored = factor if name in SCORED else 1.0
    return cost.mean * (left.after.get(name, 0.0) * scored - left.before.get(name, 0.0))


def _samples(knobs: Mapping[str, Value]) -> int:
    return int(knobs["batch_size"]) * int(knobs["accumulate_steps"])


# ---------------------------------------------------------------- what is left


def _left(state: ExperimentState, known: Known, held: dict[str, Value], edited: dict[str, Value]) -> Left:
    running = state.run is not None and state.run.phase == "running"
    runs = [*([state.run] if running and state.run is not None else []), *runs_left(state, running)]
    before: Amounts = {}
    after: Amounts = {}
    for run in runs:
        rhythm = known.rhythms.get(run.key.fold) or next(iter(known.rhythms.values()))
        there = _rhythm(state, known, run, rhythm, held, edited)
        done = min(run.step, rhythm.epochs * rhythm.steps)
        onward = round(done * there.steps / rhythm.steps)
        before = added(before, whole_run(rhythm, known.step.mean, done))
        after = added(after, whole_run(there, known.step.mean, onward))
    return Left(before, after)


def _rhythm(
    state: ExperimentState,
    known: Known,
    run: RunState,
    rhythm: Rhythm,
    held: dict[str, Value],
    edited: dict[str, Value],
) -> Rhythm:
    """What the run does with the edited knobs; what they do not concern stays as it was seen."""
    fold = run.key.fold if run.key.fold in known.rhythms else next(iter(known.rhythms))
    steps = rhythm.steps
    if any(held[name] != edited[name] for name in OF_AN_EPOCH):
        steps = _steps(state, run, rhythm, held, edited)
    there = rhythm_with(known, fold, edited, rhythm.epochs, steps)
    if known.plan.experiment.command:
        return there
    kept = {} if held["val_patches_per_volume"] != edited["val_patches_per_volume"] else {
        "validate_items": rhythm.validate_items or there.validate_items
    }
    return msgspec.structs.replace(there, evaluate_items=rhythm.evaluate_items, **kept)


def _steps(
    state: ExperimentState, run: RunState, rhythm: Rhythm, held: dict[str, Value], edited: dict[str, Value]
) -> int:
    """Of an epoch: all samples of the fold once, or as many as are asked for."""
    splits = state.prepared.splits if state.prepared is not None else ()
    split = next((one for one in splits if one.fold == run.key.fold), None)
    if split is not None:
        return max(1, steps_per_epoch(split, Profile(name="", knobs=edited)))
    if edited["steps_per_epoch"]:
        return int(edited["steps_per_epoch"])
    return max(1, -(-rhythm.steps * _samples(held) // _samples(edited)))


# ---------------------------------------------------------------- what is scored


def _scoring(known: Known, held: dict[str, Value], edited: dict[str, Value]) -> tuple[float, float, float]:
    """How many times as long a held-out volume takes with other processes that load for it: value, least, most."""
    before, after = int(held["val_num_workers"]), int(edited["val_num_workers"])
    seen = known.costs.get("validate") or known.costs.get("evaluate")
    if before == after or seen is None or known.workload is None or seen.mean <= 0:
        return 1.0, 1.0, 1.0
    before, after = (min(count, known.workload.cores) for count in (before, after))
    value = _item(seen.mean, known.workload.load_seconds, before, after) / seen.mean
    away = ALIKE * abs(value - 1)
    return value, value - away, value + away


def _item(seconds: float, load: float, before: int, after: int) -> float:
    """Without workers it is loaded and then computed; with them whichever takes longer."""
    waiting = min(seconds, load / max(1, before))
    if not before:
        computing = seconds - waiting
    elif waiting >= WAITS * seconds:
        # Its workers are what it waits for; how quickly it would compute nobody has seen.
        return seconds * before / after if after else before * seconds
    else:
        computing = seconds
    return max(computing, min(seconds, load) / after) if after else computing + min(seconds, load)
