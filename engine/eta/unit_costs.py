"""Every unit cost of a training at one moment, for whoever says when something ends: of one under way, and of one that
is not launched yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import hypot

import msgspec

from engine.config.plan import Plan
from engine.eta.costs import (
    CLOSING_SECONDS,
    EARLIER,
    GAP_SECONDS,
    STARTUP_SECONDS,
    UNTRIED,
    Cost,
    KeyTiming,
    anew_cost,
    between_runs,
    device_of,
    from_timing,
    pooled,
)
from engine.eta.crowding import crowding
from engine.eta.item_costs import UNITS, item_before, item_cost, item_of_step
from engine.eta.newest import like
from engine.eta.part_costs import closing_cost, part_cost
from engine.live.state import ENDED, ExperimentState, RunState

FIRST_CHECKPOINT = 0.5


def costs_of(state: ExperimentState, run: RunState | None, step: Cost, history: Sequence[KeyTiming]) -> dict[str, Cost]:
    """Of an experiment that has begun: measured in it, else from `history`, else modelled. `run`: the present one."""
    timing = like(state, run, history)
    known = remembered(timing) if timing is not None else {}
    alive = run if run is not None and run.phase not in ENDED else None
    costs = with_steps(alive, step) | {
        "gap": _gap(state, known),
        "startup": part_cost(state, "startup", known, _first_startup(state)),
        "checkpoint": part_cost(state, "checkpoint", known, _first_checkpoint(run)),
        "closing": closing_cost(state, known),
    }
    for span, name in UNITS.items():
        cost = item_cost(state, run, span, known)
        costs[name] = cost if cost is not None else item_of_step(state.plan, span, step, state.prepared)
        if name != "volume" and pooled(state, name).count:
            costs[f"{name} (whole)"] = part_cost(state, name, {}, Cost(0.0))
    for name in sorted({name for other in state.runs for name in other.parts} - set(costs)):
        costs[name] = part_cost(state, name, {}, Cost(0.0))
    if away := crowding(state, run, _to_go(run, step)):
        return {name: _less_sure(cost, away) for name, cost in costs.items()}
    return costs


def costs_before(timing: KeyTiming, plan: Plan) -> dict[str, Cost]:
    """Of `plan`, which is not launched yet, from an earlier one of its key as engine.eta.newest gives it."""
    step, known = from_timing(timing), remembered(timing)
    costs = with_steps(None, step) | {
        "startup": _known(known, "startup", STARTUP_SECONDS),
        "gap": _known(known, "gap", GAP_SECONDS),
        "checkpoint": _known(known, "checkpoint", FIRST_CHECKPOINT),
        "closing": _known(known, "closing", 0.0) if "closing" in known else Cost(CLOSING_SECONDS, CLOSING_SECONDS),
    }
    return costs | {name: item_before(plan, span, known, step) for span, name in UNITS.items()}


def with_steps(run: RunState | None, step: Cost) -> dict[str, Cost]:
    """A step; what steps of other runs may differ in, all of them alike (`drift`), each run by itself (`anew`), those
    of other variants (`apart`, in seconds, and `untried`); what steps after the present epoch may be quicker
    (`cold`). Without a `run` the step is that of other runs already."""
    apart = between_runs(device_of(run))
    alone = apart * step.mean if run is not None else 0.0
    return {
        "step": msgspec.structs.replace(step, below=step.above),
        "drift": anew_cost(run, step) if run is not None else Cost(0.0, basis=step.basis, kind=step.kind),
        "anew": Cost(0.0, noise=alone, basis=step.basis, kind=step.kind),
        "cold": Cost(0.0, below=step.below),
        "apart": Cost(1.0, apart, basis="as other variants' runs have shown", kind="measured"),
        "untried": Cost(0.0, UNTRIED * step.mean, basis="a variant that has not run yet"),
    }


def remembered(timing: KeyTiming) -> dict[str, float]:
    """What an earlier experiment measured beside its steps, by the name of the cost."""
    known = {
        "startup": timing.startup,
        "validate": timing.validate_item,
        "evaluate": timing.evaluate_item,
        "volume": timing.volume_item,
        "checkpoint": timing.checkpoint,
        "gap": timing.gap,
        "closing": timing.closing,
    }
    return {name: value for name, value in known.items() if value is not None}


def _to_go(run: RunState | None, step: Cost) -> float:
    """Seconds of steps that the run has before it; once it has ended, those of the next one."""
    if run is None:
        return 0.0
    left = run.steps_total if run.phase in ENDED else run.steps_total - run.step
    return max(0, left) * step.mean


def _less_sure(cost: Cost, away: float) -> Cost:
    return msgspec.structs.replace(cost, spread=hypot(cost.spread, away * abs(cost.mean)))


def _gap(state: ExperimentState, known: Mapping[str, float]) -> Cost:
    if state.gaps:
        gap = sum(state.gaps) / len(state.gaps)
        return Cost(gap, 0.5 * gap, 0.5 * gap, basis="measured here", kind="measured")
    return _known(known, "gap", GAP_SECONDS)


def _first_startup(state: ExperimentState) -> Cost:
    """A trainer that names no start has it in what its runs take beside steps and spans (`closing`)."""
    if any(run.phase == "finished" and run.elapsed and run.pace.seconds for run in state.runs):
        return Cost(0.0, basis="measured here")
    return Cost(STARTUP_SECONDS, STARTUP_SECONDS / 2)


def _first_checkpoint(run: RunState | None) -> Cost:
    if run is None or run.checkpoint is None:
        return Cost(FIRST_CHECKPOINT, 0.5 * FIRST_CHECKPOINT)
    return Cost(run.checkpoint.seconds, 0.5 * run.checkpoint.seconds, basis="measured here", kind="measured")


def _known(known: Mapping[str, float], name: str, fallback: float) -> Cost:
    if name in known:
        return Cost(known[name], 0.2 * known[name], basis=EARLIER, kind="earlier")
    return Cost(fallback, 0.5 * fallback)
