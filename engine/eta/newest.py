"""Which earlier experiments a training can be compared with, and what they tell of it together.

Only equal benchmark keys are compared. What scoring costs is taken only from where the same was scored: patches tell
nothing of whole volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.config.run_keys import variants_of
from engine.eta.devices import on_its_device
from engine.eta.steady import trained
from engine.eta.timing import KeyTiming, alone, benchmark_key, between
from engine.eta.work import Scoring, scored_as, windows_of
from engine.live.state import ExperimentState, RunState

# So many experiments of one kind say what the next one takes.
FEW = 5
# Where a timing has the seconds of an item of each scoring.
ITEMS: dict[Scoring, str] = {"validate": "validate_item", "reconstruct": "volume_item", "evaluate": "evaluate_item"}


def newest_of(timings: Sequence[KeyTiming]) -> KeyTiming | None:
    """The newest of them (newest first), its step that of the newest few of its key: what those differ by is how far
    the next one may lie."""
    if not timings or timings[0].quoted:
        return timings[0] if timings else None
    same = [t for t in timings if t.key == timings[0].key and t.step_seconds > 0 and not t.quoted][:FEW]
    if len(same) < 2:
        return timings[0]
    means = [t.step_seconds for t in same]
    return msgspec.structs.replace(
        timings[0],
        experiment=f"{timings[0].experiment} and {len(same) - 1} more",
        steps=sum(t.steps for t in same),
        step_seconds=sum(means) / len(means),
        between_runs=max(between(means, timings[0].device), *(t.between_runs for t in same)),
    )


def fitted(timings: Sequence[KeyTiming], plan: Plan, prepared: Prepared | None = None) -> KeyTiming | None:
    """What the newest few of one key tell of `plan`: an item of a scoring takes what it took in the newest that scored
    the same, whole cases by their windows; None where none did."""
    newest = newest_of(timings)
    if newest is None:
        return None
    few = [timing for timing in timings if timing.key == newest.key][:FEW]
    items = {
        field: next((item for one in few if (item := _item(one, span, plan, prepared)) is not None), None)
        for span, field in ITEMS.items()
    }
    return msgspec.structs.replace(newest, **items)


def _item(timing: KeyTiming, span: Scoring, plan: Plan, prepared: Prepared | None) -> float | None:
    seconds: float | None = getattr(timing, ITEMS[span])
    wanted = scored_as(plan, span)
    if seconds is None or timing.scored.get(span, wanted) != wanted:
        return None
    here = windows_of(plan, prepared)
    return seconds * here / timing.windows if wanted != "patch" and here and timing.windows else seconds


def timing_for(plan: Plan, timings: Sequence[KeyTiming], prepared: Prepared | None = None) -> KeyTiming | None:
    """What earlier experiments of the plan's own benchmark key took, of `timings`, newest first. Of several variants it
    is of the first of them that has been measured, by itself or beside others, and `paces` of all that have."""
    found: KeyTiming | None = None
    paces: dict[str, float] = {}
    variants = variants_of(plan.runs)
    for variant in variants:
        there = [one for one in timings if found is None or one.device_name == found.device_name]
        own = fitted(_of_key(alone(plan, variant), there), plan, prepared)
        if own is not None:
            found = found or own
            paces[own.key] = own.step_seconds
    if found is None:
        same = [one for one in timings if one.key == benchmark_key(plan, one.device_name)]
        return fitted(same, plan, prepared) if len(variants) > 1 else None
    return msgspec.structs.replace(found, paces=paces if len(variants) > 1 else {})


def _of_key(plan: Plan, timings: Sequence[KeyTiming]) -> list[KeyTiming]:
    """Those of the plan's key; of one of several variants together its own pace."""
    keys: dict[str, str] = {}
    found = []
    for timing in timings:
        name = timing.device_name
        key = keys[name] = keys.get(name) or benchmark_key(plan, name)
        if timing.key == key:
            found.append(timing)
        elif key in timing.paces:
            found.append(msgspec.structs.replace(timing, key=key, step_seconds=timing.paces[key], paces={}))
    return found


def like(state: ExperimentState, run: RunState | None, history: Sequence[KeyTiming]) -> KeyTiming | None:
    """The newest earlier experiment whose steps can be compared with these; until a run has said what it trains on, one
    of a device that it may get."""
    there = on_its_device(state, run, history)
    if run is None or run.begin is None:
        return timing_for(state.plan, there, state.prepared)
    plan = trained(state.plan, run.begin)
    own = fitted(_of_key(alone(plan, run.key.variant), there), plan, state.prepared)
    return own or timing_for(plan, there, state.prepared)
