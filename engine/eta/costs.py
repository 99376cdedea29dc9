"""What one of everything costs: a step, a validation, a checkpoint, a test subject, a start, a gap between runs.

A cost is measured in the run itself where it can be, else in other runs of the experiment, else in earlier experiments
of the same kind, else modelled; `basis` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt
from typing import Literal, TypeAlias

import msgspec

from engine.counts import plural
from engine.eta.newest import like
from engine.eta.periodic import periodic
from engine.eta.steady import comparable, meant, steady
from engine.eta.timing import (
    KeyTiming as KeyTiming,
    benchmark_key as benchmark_key,
    between,
    between_runs as between_runs,
    training_key as training_key,
)
from engine.live.conditions import Anew
from engine.live.segments import Pace, Segment
from engine.live.state import ExperimentState, Part, RunState

# The same training after a resume: another node, a cache gone cold.
AFTER_RESUME = 0.08
# Of a step: what another variant's may differ by before it has run.
UNTRIED = 0.25
# However many steps: a machine's pace wanders by about this much.
UNSEEN = 0.008
# The spread of steps before it is known, weighing as much as so many steps: stalls of 1 % of steps, 3–10× long.
USUAL_SPREAD = 0.6
USUAL_STEPS = 40
# Batch means of heavy-tailed, autocorrelated steps are too sure of themselves. With this factor on the standard error
# 90 % ranges hold nine simulated runs in ten (tests/benchmarks/forecast.py).
TOO_SURE = 1.15
# Creeping is not believed to go on until a step takes more than so many times as long again.
CREEP_AT_MOST = 1.0
# What of a creep's growth is counted on: a list grows to the end, a GPU that gets warm does not.
CREEP_GOES_ON = 0.8
# A first epoch on a cold page cache is 2–5× slower than the next ones, and nothing in it tells.
COLD_EPOCH = 0.75
# Whole volumes through the network may cost several times the forward pass of a step, or a fraction of it.
MODELLED = 2.0
# Of what the steps of a warm-up take, those after it take so much or more, where earlier experiments say they do.
ONE_QUICKER = 0.8
GAP_SECONDS = 3.0
# What somebody says about a step without having measured it here.
QUOTED = 0.1
EARLIER = "from earlier experiments"
STARTUP_SECONDS = 8.0
CLOSING_SECONDS = 1.0


# Where a figure comes from. quoted: somebody says so, and nothing here has shown it.
Kind: TypeAlias = Literal["measured", "earlier", "modelled", "quoted"]


class Cost(msgspec.Struct, frozen=True):
    """One unit, in seconds: `spread` is the standard error of `mean`, shared by all units; `noise` the standard
    deviation of a single one; `below` and `above` how much less or more it may be for a reason that cannot be measured
    yet."""

    mean: float
    spread: float = 0.0
    noise: float = 0.0
    below: float = 0.0
    basis: str = "assumed"
    kind: Kind = "modelled"
    above: float = 0.0


def device_of(run: RunState | None) -> str:
    return run.begin.device if run is not None and run.begin is not None else ""


def pooled(state: ExperimentState, name: str) -> Part:
    """This span over all runs of the experiment."""
    parts = [run.parts[name] for run in state.runs if name in run.parts]
    return Part(
        sum(p.count for p in parts),
        sum(p.seconds for p in parts),
        parts[-1].last if parts else 0.0,
        sum(p.items for p in parts),
    )


def closings(state: ExperimentState) -> list[float]:
    """Of finished runs, what they took beside steps and spans."""
    return [
        max(0.0, run.elapsed - run.pace.seconds - sum(part.seconds for part in run.parts.values()))
        for run in state.runs if run.phase == "finished" and run.elapsed and run.attempt == 1 and run.pace.seconds
    ]


# ---------------------------------------------------------------- a step


def step_cost(state: ExperimentState, run: RunState | None, history: Sequence[KeyTiming]) -> Cost | None:
    """Seconds per step of `run` from here on: its present pace, weighed with what other runs and attempts say."""
    before = _elsewhere(state, run, history)
    if run is None or not run.pace.steps:
        return before
    pace, anew = run.pace, run.anew
    here = [segment for segment in pace.segments if segment.attempt == pace.attempt and segment.steps]
    # Another profile's pace, or another device's, says nothing of this one's.
    earlier = [one for one in pace.segments if anew.attempt <= one.attempt < pace.attempt and one.steps]
    if earlier:
        last = earlier[-1]
        error = hypot(_error(last, last.mean), AFTER_RESUME * last.mean)
        before = Cost(last.mean, error, _noise(last), 0.0, f"from before the resume, {last.steps:,} steps", "measured")
    if not here:
        return _or_quicker(before, run) if before is not None else _warming(pace, anew)
    now, usual = _in_rhythm(here[-1], pace)
    basis = f"measured here, {now.steps:,} steps"
    error = hypot(_error(now, usual), _restless(here))
    own = _creeping(Cost(now.mean, error, _noise(now), 0.0, basis, "measured"), run)
    if before is not None:
        return _weighed(own, before)
    if run.step < run.steps_per_epoch and run.epochs > 1:
        return msgspec.structs.replace(
            own,
            below=COLD_EPOCH * own.mean,
            spread=hypot(own.spread, 0.1 * own.mean),
            basis=f"warming: {pace.steps:,} steps so far",
        )
    return own


def _creeping(cost: Cost, run: RunState) -> Cost:
    """Of steps that get slower and slower: most of what they will have become by the run's end is counted on the mean;
    the range goes from as slow as they are to more than that."""
    creep = run.pace.creep
    if creep is None or not creep.active or not run.steps_total:
        return cost
    more = CREEP_GOES_ON * min(creep.per_step * max(0, run.steps_total - run.step) / 2, CREEP_AT_MOST * creep.level)
    basis = f"{cost.basis}, getting slower"
    return msgspec.structs.replace(cost, mean=creep.level + more, above=0.7 * more, basis=basis)


def anew_cost(run: RunState | None, step: Cost) -> Cost:
    """What a step of another run takes beside one from here on: its own pace is not known, and what made this run's
    steps slower and slower begins anew with a new process."""
    creep = run.pace.creep if run is not None else None
    away = 0.0
    if run is not None and creep is not None and creep.active and run.steps_total:
        more = CREEP_GOES_ON * min(creep.per_step * run.steps_total / 2, CREEP_AT_MOST * creep.level)
        away = creep.start + more - step.mean
    return Cost(away, between_runs(device_of(run)) * step.mean, basis=step.basis, kind=step.kind)


def _error(segment: Segment, usual: float) -> float:
    """Standard error of a segment's mean, its variance weighed with what is usual of steps of `usual` seconds (stalls
    may yet come)."""
    stalls = (USUAL_SPREAD * usual) ** 2
    variance = (segment.steps * segment.variance + USUAL_STEPS * stalls) / (segment.steps + USUAL_STEPS)
    return hypot(TOO_SURE * sqrt(variance / segment.steps), UNSEEN * segment.mean)


def _in_rhythm(segment: Segment, pace: Pace) -> tuple[Segment, float]:
    """Long steps at a fixed distance averaged over whole periods, since they are no chance; what the others take."""
    found = periodic(pace.buckets, segment.first - 1)
    if found is None:
        return segment, segment.mean
    variance = min(segment.variance, found.variance) if segment.variance else found.variance
    return msgspec.structs.replace(segment, seconds=found.mean * segment.steps, variance=variance), found.usual


def _noise(segment: Segment) -> float:
    return sqrt(segment.variance)


def _restless(segments: Sequence[Segment]) -> float:
    """A pace that has changed back and forth will again: most of the deviation between segments but the first."""
    changed = segments[1:]
    if len(changed) < 2:
        return 0.0
    steps = sum(segment.steps for segment in changed)
    mean = sum(segment.seconds for segment in changed) / steps
    return 0.7 * sqrt(sum(segment.steps * (segment.mean - mean) ** 2 for segment in changed) / steps)


def _warming(pace: Pace, anew: Anew) -> Cost:
    """Before the pace is known: the quicker of the steps since it trains as it does, and next to nothing sure."""
    whole = pace.seconds / pace.steps
    known = [bucket for bucket in pace.buckets if bucket.last > anew.step]
    count = sum(bucket.steps for bucket in known)
    lately = [bucket.seconds / bucket.steps for bucket in known[len(known) // 2 :]]
    guess = sorted(lately)[len(lately) // 2] if lately else whole
    said = f"{plural(count, 'step')} {anew.words}".rstrip()
    return Cost(guess, guess, guess, COLD_EPOCH * guess, f"warming: {said} so far", "measured")


def _or_quicker(before: Cost, run: RunState) -> Cost:
    """While it warms up: as before; but steps that are quicker already will hardly get slower."""
    if not any(bucket.last > run.anew.step for bucket in run.pace.buckets):
        return before
    quick = ONE_QUICKER * _warming(run.pace, run.anew).mean
    return msgspec.structs.replace(before, below=max(before.below, before.mean - quick))


def _elsewhere(state: ExperimentState, run: RunState | None, history: Sequence[KeyTiming]) -> Cost | None:
    """What other runs of the experiment, or earlier experiments of the same key, say about a step."""
    there = comparable(state.runs, meant(state, run))
    others = [other for other in there if other is not run and not other.pace.warming]
    # What other variants take is counted beside the steps of the present one (engine.eta.variants).
    present = run or state.run
    alike = [other for other in others if present is None or other.key.variant == present.key.variant]
    others, away = (alike, 0.0) if alike else (others, UNTRIED)
    means = [steady(other) for other in others]
    if means:
        mean, apart = sum(means) / len(means), between(means, device_of(others[-1]))
        error = hypot(apart * sqrt(1 + 1 / len(means)), away) * mean
        basis = f"from {plural(len(means), 'earlier run')}" + (" of other variants" if away else "")
        return Cost(mean, error, _noise(others[-1].pace.segments[-1]), 0.0, basis, "earlier")
    timing = like(state, run, history)
    return from_timing(timing) if timing is not None else None


def from_timing(timing: KeyTiming) -> Cost:
    mean = timing.step_seconds
    error, noise = hypot(timing.between_runs, between_runs(timing.device)) * mean, 0.5 * mean
    if timing.quoted:
        return Cost(mean, hypot(error, QUOTED * mean), noise, 0.0, f"quoted: {timing.quoted}", "quoted")
    return Cost(mean, error, noise, 0.0, f"from {timing.experiment}, {timing.steps:,} steps", "earlier")


def _weighed(own: Cost, before: Cost) -> Cost:
    """Both, by the inverse of their variances; the basis names what weighs a tenth or more.

    Where they differ by more than both allow, it is the earlier one that does not hold here: what is too much goes onto
    its variance (as between studies, DerSimonian and Laird 1986, with all of it on one side).
    """
    ours, theirs = (max(cost.spread, 1e-9 * cost.mean, 1e-12) ** 2 for cost in (own, before))
    theirs += max(0.0, (own.mean - before.mean) ** 2 - ours - theirs)
    a, b = 1 / ours, 1 / theirs
    share = a / (a + b)
    basis = own.basis if share > 0.9 else before.basis if share < 0.1 else f"{own.basis}, and {before.basis}"
    kind = own.kind if share >= 0.1 else before.kind
    mean, spread = share * own.mean + (1 - share) * before.mean, 1 / sqrt(a + b)
    return Cost(mean, spread, own.noise or before.noise, basis=basis, kind=kind, above=own.above)
