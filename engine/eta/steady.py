"""The pace of a run as it trains now, and whose paces can be averaged with it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.config.plan import Plan
from engine.journals.events import Begin
from engine.live.conditions import Anew, alike, same_device
from engine.live.segments import Pace, Segment
from engine.live.state import ExperimentState, RunState

# Knobs of how samples to learn from are loaded: on them nothing depends that is done between the steps.
LOADED = ("num_workers", "prefetch_factor", "persistent_workers", "pin_memory", "batch_size", "accumulate_steps")


def steady_mean(pace: Pace, since: int = 0) -> float:
    """Seconds per step without warm-up, over all paces from attempt `since` on but a slower first one (a cold first
    epoch); 0 before there is one."""
    segments = _since(pace, since)
    if len(segments) > 1 and segments[0].mean > segments[1].mean:
        segments = segments[1:]
    steps = sum(segment.steps for segment in segments)
    return sum(segment.seconds for segment in segments) / steps if steps else 0.0


def steady(run: RunState) -> float:
    """Of the profile and the device that the run has now; what it took with others is left out."""
    return steady_mean(run.pace, run.anew.attempt)


def steps_so(run: RunState) -> int:
    """How many steps it has taken with them."""
    since = run.anew.attempt
    return sum(segment.steps for segment in _since(run.pace, since)) if since else run.pace.steps


def newest_begin(runs: Sequence[RunState]) -> Begin | None:
    """Of the one of them that began last."""
    begun = [(run.begin.t, place, run.begin) for place, run in enumerate(runs) if run.begin is not None]
    return max(begun, key=lambda one: one[:2])[2] if begun else None


def meant(state: ExperimentState, run: RunState | None) -> Begin | None:
    """How steps of `run` are taken; before it has begun as the plan says, on what the run that began last trains on."""
    if run is not None and run.begin is not None:
        return run.begin
    newest = newest_begin(state.runs)
    if newest is None or not newest.knobs:
        return newest
    knobs, profile = dict(state.plan.profile.knobs), state.plan.profile
    workers, batch = int(profile["num_workers"]), int(profile["batch_size"])
    return msgspec.structs.replace(newest, knobs=knobs, num_workers=workers, batch_size=batch)


def pieces(run: RunState) -> list[RunState]:
    """`run` itself, then what it took with each other profile and on each other device that it has had: as a run of
    those steps alone."""
    found = [run]
    for former in run.formers:
        own = tuple(one for one in run.pace.segments if former.attempt <= one.attempt < former.until)
        steps, seconds = sum(segment.steps for segment in own), sum(segment.seconds for segment in own)
        pace = msgspec.structs.replace(run.pace, segments=own, steps=steps, seconds=seconds, buckets=())
        found.append(msgspec.structs.replace(
            run, begin=former.begin, anew=Anew(former.attempt), formers=(), pace=pace, step=former.steps, elapsed=0.0,
            parts=run.parts if _done_alike(former.begin, run.begin) else {},
        ))  # fmt: skip
    return found


def _done_alike(one: Begin, other: Begin | None) -> bool:
    """Whether what is done between the steps took as long in one as in the other."""
    if other is None or not same_device(one, other):
        return False
    return all(one.knobs.get(name) == value for name, value in other.knobs.items() if name not in LOADED)


def comparable(runs: Sequence[RunState], begin: Begin | None) -> list[RunState]:
    """Those with a pace whose steps are taken as those of `begin`."""
    begun = [run for run in runs if run.begin is not None and steady(run) > 0]
    return [run for run in begun if begin is None or (run.begin is not None and alike(run.begin, begin))]


def trained(plan: Plan, begin: Begin) -> Plan:
    """`plan` with the profile that an attempt really had: the plan's is that of the next one."""
    if not begin.knobs or plan.experiment.command:
        return plan
    profile = msgspec.structs.replace(plan.profile, knobs=plan.profile.knobs | begin.knobs)
    return msgspec.structs.replace(plan, profile=profile)


def _since(pace: Pace, attempt: int) -> tuple[Segment, ...]:
    return tuple(segment for segment in pace.segments if segment.attempt >= attempt) if attempt else pace.segments
