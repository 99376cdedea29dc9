"""What an experiment can tell a later one: unit costs under the benchmark key of each profile and device it has had."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import msgspec

from engine.config.plan import Plan
from engine.config.run_keys import variants_of
from engine.eta.costs import closings, pooled
from engine.eta.devices import device_called
from engine.eta.newest import ITEMS
from engine.eta.steady import comparable, newest_begin, pieces, steady, steps_so, trained
from engine.eta.tested import timing_of_phase
from engine.eta.timing import KeyTiming, alone, benchmark_key, between
from engine.eta.work import scored_as, windows_of
from engine.journals.events import Begin
from engine.live import conditions
from engine.live.state import ExperimentState, Part, RunState


def timing_of(state: ExperimentState) -> KeyTiming | None:
    """What this experiment can tell a later one, of the profile and the device that it had last; None before its first
    epoch has ended. Of a test of profiles what its first phase tells."""
    if state.plan.test is not None:
        return timing_of_phase(state, 0)
    return next(iter(timings_of(state)), None)


def timings_of(state: ExperimentState) -> tuple[KeyTiming, ...]:
    """The same of every profile and device that it has had for an epoch, the newest first."""
    every = comparable([piece for run in state.runs for piece in pieces(run)], None)
    done = [run for run in every if run.step - run.anew.step >= run.steps_per_epoch]
    last, found = newest_begin(state.runs), list[KeyTiming]()
    while (newest := newest_begin(done[::-1])) is not None:
        seen = comparable(done, newest)
        done = [run for run in done if run.begin is None or not conditions.alike(run.begin, newest)]
        # Where attempts do not write their profile down it is the plan's, which is that of the last one.
        if newest.knobs or (last is not None and conditions.alike(newest, last)):
            found.append(_timing(msgspec.structs.replace(state, runs=tuple(seen)), newest))
    return tuple(found)


def _timing(state: ExperimentState, newest: Begin) -> KeyTiming:
    """Of runs, or pieces of them, that are alike."""
    seen = state.runs
    mean = fmean(steady(run) for run in seen)
    plan, device_name = trained(state.plan, newest), device_called(newest)
    return KeyTiming(
        key=benchmark_key(plan, device_name),
        device_name=device_name,
        experiment=plan.name,
        steps=sum(steps_so(run) for run in seen),
        step_seconds=mean,
        between_runs=between(_within(seen), newest.device),
        device=newest.device,
        startup=_mean(pooled(state, "startup")),
        validate_item=_per_item(pooled(state, "validate")),
        evaluate_item=_per_item(pooled(state, "evaluate")),
        volume_item=_per_item(pooled(state, "reconstruct")),
        checkpoint=_mean(pooled(state, "checkpoint")),
        gap=sum(state.gaps) / len(state.gaps) if state.gaps else None,
        closing=sum(beside) / len(beside) if (beside := closings(state)) else None,
        scored={span: scored_as(plan, span) for span in ITEMS},
        windows=windows_of(plan, state.prepared),
        paces=_paces(plan, device_name, seen),
    )


def _within(seen: Sequence[RunState]) -> list[float]:
    """The pace of each run beside the mean of its variant: what variants differ by is not how far runs lie apart."""
    own: dict[str, list[float]] = {}
    for run in seen:
        own.setdefault(run.key.variant, []).append(steady(run))
    return [mean / fmean(means) for means in own.values() if len(means) > 1 for mean in means]


def _paces(plan: Plan, device_name: str, seen: Sequence[RunState]) -> dict[str, float]:
    """Of several variants what a step of each took, under the key it has by itself."""
    names = variants_of(plan.runs)
    if len(names) < 2:
        return {}
    own = {name: [steady(run) for run in seen if run.key.variant == name] for name in names}
    return {benchmark_key(alone(plan, name), device_name): fmean(means) for name, means in own.items() if means}


def _mean(part: Part) -> float | None:
    return part.mean if part.count else None


def _per_item(part: Part) -> float | None:
    return part.seconds / part.items if part.items else None
