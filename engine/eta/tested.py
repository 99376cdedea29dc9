"""What a test of profiles tells later trainings: the pace of each profile that it measured."""

from __future__ import annotations

import msgspec

from engine.eta.devices import device_called
from engine.eta.timing import KeyTiming, benchmark_key
from engine.journals.events import PhaseEnded
from engine.live.state import ExperimentState
from engine.phase import phases

# Half a test's 95 % interval, at least: a short look at one moment.
SHORT_LOOK = 0.05


def timings_of_test(state: ExperimentState) -> tuple[KeyTiming, ...]:
    """One of each benchmark key, in the order in which they were measured first; of several phases of one key (they
    differ in what no key has) the one that was measured longest."""
    found: dict[str, KeyTiming] = {}
    for number in sorted({visit.phase for visit in state.visits}):
        timing = timing_of_phase(state, number)
        if timing is not None and (timing.key not in found or found[timing.key].steps < timing.steps):
            found[timing.key] = timing
    return tuple(found.values())


def timing_of_phase(state: ExperimentState, number: int) -> KeyTiming | None:
    """A short one, of nothing but steps; None where the phase measured none, or did not train."""
    done = [visit for visit in state.visits if isinstance(visit, PhaseEnded)]
    measured = phases.measurement(done, number)
    begin = state.run.begin if state.run is not None else None
    if measured is None or measured.mode != "train" or begin is None:
        return None
    profile = msgspec.structs.replace(state.plan.profile, knobs=state.plan.profile.knobs | measured.knobs)
    device_name = device_called(begin)
    half = (measured.samples_high / measured.samples_low) ** 0.5 - 1 if measured.samples_low > 0 else 1.0
    return KeyTiming(
        key=benchmark_key(msgspec.structs.replace(state.plan, profile=profile), device_name),
        device_name=device_name,
        experiment=state.plan.name,
        steps=measured.steps,
        step_seconds=measured.step_seconds,
        between_runs=max(SHORT_LOOK, half / 2),
        device=begin.device,
    )
