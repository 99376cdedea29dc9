"""What has been measured of a training, as the queue's figures, and how many times as fast other knobs would be by it.

Everything that is said of other knobs has one basis: what is measured now, times the model's ratio of the two. By what
the model is off for both, the ratio is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from engine.config.knob import Value
from engine.config.profile import KNOBS
from engine.diagnosis.queueing import Workload, predict
from engine.diagnosis.workload import fit
from engine.live.mean_step import lately, mean_step
from engine.live.state import ExperimentState, RunState
from engine.memory.footprint import knobs_now
from engine.phase import phases
from engine.phase.measure import Measurement

NOT_MEASURED = "no steps measured yet"
# What the queue knows of a step; without workers the last two mean nothing.
OF_A_STEP = ("num_workers", "batch_size", "accumulate_steps", "prefetch_factor", "in_order")
FOR_WORKERS = ("prefetch_factor", "in_order")
# What may change a step and is in no model.
OF_NO_MODEL = (
    "persistent_workers",
    "pin_memory",
    "multiprocessing_context",
    "precision",
    "channels_last",
    "compile",
    "activation_checkpointing",
    "deterministic",
    "cache",
    "val_batch_size",
)


class Range(msgspec.Struct, frozen=True):
    """A figure with its 90 % range and what it rests on; None where nothing is known."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    basis: str = NOT_MEASURED

    def times(self, factor: float) -> Range:
        """Of what is so many times as much."""
        if self.value is None:
            return self
        low, high = (None if one is None else one * factor for one in (self.low, self.high))
        return Range(self.value * factor, low, high, self.basis)


SAME = Range(1.0, 1.0, 1.0, "nothing that changes a step")


class Pace(msgspec.Struct, frozen=True):
    """What runs now: seconds per step and samples per second, measured or, where nothing has run with these knobs,
    modelled, and the steps it rests on."""

    step_seconds: Range = Range()
    samples_per_second: Range = Range()
    measured: bool = False


def workload_of(state: ExperimentState) -> tuple[Workload | None, str]:
    """What has been measured of this training, as the model's figures, and in words what that was."""
    cores = state.samples[-1].cores if state.samples else None
    if cores is None:
        return None, NOT_MEASURED
    probes = probes_of(state)
    if not probes:
        return None, NOT_MEASURED
    try:
        workload = fit(probes, cores)
    except ValueError:
        return None, NOT_MEASURED
    if not workload.trainer_cores and _on_cpu(state):
        # A trainer that does not say what it computes with is taken to use what there is.
        workload = msgspec.structs.replace(workload, trainer_cores=float(cores))
    steps = sum(probe.steps for probe in probes)
    tried = f", {len(probes)} profiles" if len(probes) > 1 else ""
    return workload, f"modelled from {steps:,} steps measured here{tried}"


def _on_cpu(state: ExperimentState) -> bool:
    begin = state.run.begin if state.run is not None else None
    return begin is not None and begin.device == "cpu"


def probes_of(state: ExperimentState) -> list[Measurement]:
    """One measurement for each profile that was tried here."""
    if state.plan.test is not None:
        return [one.measured for one in phases.results(state.plan, state.prepared, state.visits) if one.measured]
    run = state.run
    return _living(run, state.plan.profile.knobs) if run is not None else []


def _living(run: RunState, knobs: dict[str, Value]) -> list[Measurement]:
    if run.tested:
        # What was loaded from elsewhere says nothing of how long a sample takes to load now.
        now = run.tested[-1].knobs.get("cache")
        alike = [one for one in run.tested if one.knobs.get("cache") == now]
        tried: Sequence[Measurement | None] = [phases.of_lines(one.lines, one.knobs) for one in alike]
        return [one for one in tried if one is not None]
    one = phases.of_lines(run.recent, knobs)
    return [one] if one is not None else []


# ---------------------------------------------------------------- what runs now


def pace_now(state: ExperimentState, workload: Workload | None, basis: str) -> Pace:
    """Of the profile that the plan holds, and of no other: in a test of profiles that of its own phase."""
    held = complete(state.plan.profile.knobs)
    found, of = _in_test(state, held) if state.plan.test is not None else _in_training(state)
    if found is not None:
        return found if workload is None else _moved(found, ratio(workload, of, held))
    if workload is None:
        return Pace()
    there = predict(workload, held)
    low, high = there.samples_range
    return Pace(
        Range(there.step_seconds, there.low, there.high, basis), Range(there.samples_per_second, low, high, basis)
    )


def _in_test(state: ExperimentState, held: dict[str, Value]) -> tuple[Pace | None, dict[str, Value]]:
    for one in phases.results(state.plan, state.prepared, state.visits):
        if one.mode == "train" and one.measured is not None and complete(one.knobs) == held:
            found = one.measured
            return _pace(found.step_seconds, found.samples_per_second, found, f"in phase {one.number + 1}"), held
    return None, held


def _in_training(state: ExperimentState) -> tuple[Pace | None, dict[str, Value]]:
    """The mean step of late, as the dashboard says it, with the interval of the steps that it is the mean of."""
    run, knobs = state.run, complete(knobs_now(state))
    if run is None or not run.recent:
        return None, knobs
    records = lately(run)
    step = mean_step(records)
    if step.seconds <= 0 or step.samples <= 0:
        return None, knobs
    return _pace(step.seconds, step.samples / step.seconds, phases.of_lines(records, knobs), "here"), knobs


def _pace(seconds: float, rate: float, found: Measurement | None, where: str) -> Pace:
    if found is None or not 0 < found.samples_low <= found.samples_per_second <= found.samples_high < 1e9:
        basis = f"measured {where}"
        return Pace(Range(seconds, basis=basis), Range(rate, basis=basis), True)
    basis = f"measured {where}, {found.steps:,} steps"
    low, high = (edge / found.samples_per_second for edge in (found.samples_low, found.samples_high))
    return Pace(
        Range(seconds, seconds / high, seconds / low, basis), Range(rate, rate * low, rate * high, basis), True
    )


def _moved(pace: Pace, by: Range) -> Pace:
    """`pace` where the plan holds other knobs already than those it was measured with."""
    if by == SAME or by.value is None:
        return pace
    step, rate = pace.step_seconds.times(1 / by.value), pace.samples_per_second.times(by.value)
    return msgspec.structs.replace(pace, step_seconds=step, samples_per_second=rate)


# ---------------------------------------------------------------- how many times as fast


def complete(knobs: Mapping[str, Value]) -> dict[str, Value]:
    """Every knob, one that is left out with its default."""
    return {name: knobs.get(name, knob.default) for name, knob in KNOBS.items()}


def batch_of(knobs: Mapping[str, Value]) -> int:
    """Samples in one optimizer step."""
    return int(knobs.get("batch_size", 1)) * int(knobs.get("accumulate_steps", 1))


def ratio(workload: Workload, before: Mapping[str, Value], after: Mapping[str, Value]) -> Range:
    """Samples per second with `after` over those with `before`, both complete and modelled under the same workload."""
    idle = FOR_WORKERS if not (before["num_workers"] or after["num_workers"]) else ()
    if all(before[name] == after[name] for name in OF_A_STEP if name not in idle):
        return SAME
    here, there = predict(workload, before), predict(workload, after)
    value = there.samples_per_second / here.samples_per_second
    return Range(value, value * there.step_seconds / there.high, value * there.step_seconds / there.low, "modelled")
