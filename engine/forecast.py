"""When it ends: what is left, counted, times what each of it costs, with a 90 % range.

Total = Σ over the runs left of startup + epochs × (that fold's steps × mean step + what happens every k epochs) +
evaluation + the gaps between runs. Costs are in engine.costs, what is left in engine.remaining.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log, sqrt

import msgspec

from engine.costs import (
    BETWEEN_RUNS,
    GAP_SECONDS,
    STARTUP_SECONDS,
    Cost,
    KeyTiming,
    benchmark_key,
    from_timing,
    item_cost,
    part_cost,
    pooled,
    step_cost,
    timing_of,
)
from engine.experiment import Plan
from engine.remaining import Amounts, added, later_runs, of_run, runs_left, whole_run
from engine.state import ExperimentState, RunState

__all__ = ["Estimate", "Forecast", "KeyTiming", "before_launch", "benchmark_key", "forecast", "timing_of"]

Z90 = 1.645
NOT_KNOWN = "not known yet"
ENDED = ("finished", "stopped", "failed", "lost")
NAMES = {"step": "train", "here": "under way", "gap": "between runs"}


class Estimate(msgspec.Struct, frozen=True):
    """Remaining seconds with a 90 % range, the wall clock of the end, and what it rests on."""

    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    at: float | None = None
    basis: str = NOT_KNOWN


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """`stop_here`: when it ends if this run is the last. `parts`: seconds left of the experiment, by what they go into."""

    epoch: Estimate = Estimate()
    run: Estimate = Estimate()
    stop_here: Estimate = Estimate()
    experiment: Estimate = Estimate()
    warming: bool = False
    text: str = NOT_KNOWN
    parts: dict[str, float] = {}


def forecast(state: ExperimentState, history: Sequence[KeyTiming] = ()) -> Forecast:
    """When epoch, run and experiment end, from what the journals say; `history`: earlier experiments, newest first."""
    if state.phase in ENDED:
        return _over(state)
    run = state.run
    if run is None or run.phase in ENDED:
        return _between_runs(state, run, history)
    if state.stop is not None and state.stop.mode in ("now", "force") and state.stop.phase != "done":
        return _stopping(state, run, history)
    step = step_cost(state, run, history)
    amounts = of_run(state, run, step.mean if step else 0.0)
    if step is None or amounts is None:
        return Forecast(warming=run.begin is not None, text=_why_unknown(state, run))
    costs = _costs(state, run, step, history)
    epoch_left, run_left = amounts
    after = later_runs(state, runs_left(state), step.mean)
    epoch = _estimate(state, epoch_left, costs, step.basis)
    ends = _estimate(state, run_left, costs, step.basis, epoch)
    last = state.stop is not None and state.stop.mode == "after_run" and state.stop.phase != "done"
    everything = run_left if last or after is None else added(run_left, after)
    basis = step.basis if after is None or last else f"{step.basis}; the other runs like this one"
    experiment = ends if last else _estimate(state, everything, costs, basis, ends)
    warming = run.pace.warming or step.basis.startswith("warming")
    return Forecast(
        epoch=epoch, run=ends, stop_here=ends, experiment=experiment, warming=warming,
        text=_text(step, costs, run_left, warming), parts=_parts(everything, costs),
    )


def before_launch(
    plan: Plan, steps_per_epoch: Mapping[int, int], test_counts: Mapping[int, int], timings: Sequence[KeyTiming]
) -> Forecast:
    """What an experiment would take if launched now: `steps_per_epoch` and `test_counts` by fold, `timings` newest first.

    Only timings under the plan's own benchmark key count; without one nothing is known.
    """
    timing = next((t for t in timings if t.key == benchmark_key(plan, t.device_name)), None)
    if timing is None or not plan.runs or not all(key.fold in steps_per_epoch for key in plan.runs):
        return Forecast(text="not known yet: nothing of this kind has run here")
    step, known = from_timing(timing), _remembered(timing)
    costs = {
        "step": step, "drift": Cost(0.0, BETWEEN_RUNS * step.mean),
        "startup": _known(known, "startup", STARTUP_SECONDS), "gap": _known(known, "gap", GAP_SECONDS),
        "checkpoint": _known(known, "checkpoint", 0.5),
    }
    guess = Cost(step.mean * 0.5, step.mean * 0.4, basis="modelled from a step")
    for name in ("validate", "evaluate"):
        source = known.get(name, known.get("evaluate" if name == "validate" else "validate"))
        costs[name] = Cost(source, (0.1 if name in known else 0.3) * source) if source is not None else guess
    runs = plan.runs[: plan.stop_after_runs or None]
    first: Amounts | None = None
    total: Amounts = {}
    for key in runs:
        left = whole_run(plan, steps_per_epoch[key.fold], test_counts.get(key.fold, 0), step.mean)
        first = first if first is not None else dict(left)
        total = added(total, left)
    total["gap"] = float(len(runs) - 1)
    total["drift"] = total["step"] - (first or {})["step"]
    run = _interval(first or {}, costs, step.basis)
    experiment = _nested(_interval(total, costs, step.basis), run)
    return Forecast(
        run=run, stop_here=run, experiment=experiment, text=f"{step.basis}; 90 % range", parts=_parts(total, costs)
    )


# ---------------------------------------------------------------- costs and ranges


def _costs(
    state: ExperimentState, run: RunState | None, step: Cost, history: Sequence[KeyTiming]
) -> dict[str, Cost]:
    device = run.begin.device_name if run is not None and run.begin is not None else None
    timing = next(
        (t for t in history if t.key == benchmark_key(state.plan, device if device is not None else t.device_name)), None
    )
    known = _remembered(timing) if timing is not None else {}
    gaps = state.gaps
    gap = sum(gaps) / len(gaps) if gaps else known.get("gap", GAP_SECONDS)
    costs = {
        "step": step, "drift": Cost(0.0, BETWEEN_RUNS * step.mean), "gap": Cost(gap, 0.5 * gap, 0.5 * gap),
        "startup": part_cost(state, "startup", known, Cost(STARTUP_SECONDS, STARTUP_SECONDS / 2)),
        "checkpoint": part_cost(state, "checkpoint", known, _first_checkpoint(run)),
    }
    for name in ("validate", "evaluate"):
        cost = item_cost(state, run, name, known)
        costs[name] = cost if cost is not None else Cost(0.5 * step.mean, 0.5 * step.mean, basis="modelled from a step")
    for name in {name for other in state.runs for name in other.parts} - set(costs):
        costs[name] = part_cost(state, name, {}, Cost(0.0))
    for name in ("validate", "evaluate"):
        part = pooled(state, name)
        if part.count:
            costs[f"{name} (whole)"] = part_cost(state, name, {}, Cost(0.0))
    return costs


def _first_checkpoint(run: RunState | None) -> Cost:
    seconds = run.checkpoint.seconds if run is not None and run.checkpoint is not None else 0.5
    return Cost(seconds, 0.5 * seconds)


def _remembered(timing: KeyTiming) -> dict[str, float]:
    known = {
        "startup": timing.startup, "validate": timing.validate_item, "evaluate": timing.evaluate_item,
        "checkpoint": timing.checkpoint, "gap": timing.gap,
    }
    return {name: value for name, value in known.items() if value is not None}


def _known(known: Mapping[str, float], name: str, fallback: float) -> Cost:
    return Cost(known[name], 0.2 * known[name]) if name in known else Cost(fallback, 0.5 * fallback)


def _interval(amounts: Amounts, costs: Mapping[str, Cost], basis: str) -> Estimate:
    """Seconds of all amounts. Standard errors of a cost add up over its units, the noise of single ones does not."""
    seconds = variance = below = 0.0
    for name, count in amounts.items():
        cost = costs[name]
        seconds += count * cost.mean
        variance += (count * cost.spread) ** 2 + count * cost.noise**2
        below += count * cost.below
    if seconds <= 0:
        return Estimate(0.0, 0.0, 0.0, None, basis)
    # Log-normal: never below nothing, and late rather than early.
    sigma = sqrt(log(1 + variance / seconds**2))
    low, high = seconds * exp(-Z90 * sigma), seconds * exp(Z90 * sigma)
    return Estimate(seconds, max(0.0, min(low, seconds - below)), high, None, basis)


def _estimate(
    state: ExperimentState, amounts: Amounts, costs: Mapping[str, Cost], basis: str, inner: Estimate | None = None
) -> Estimate:
    counted = {name: count for name, count in amounts.items() if count and not name.startswith("here/")}
    # The rest of what is under way comes as seconds already.
    under_way = {name: count for name, count in amounts.items() if name.startswith("here/")}
    all_costs = dict(costs) | {name: Cost(1.0, 0.2, basis="under way") for name in under_way}
    estimate = _interval(counted | under_way, all_costs, basis)
    if inner is not None:
        estimate = _nested(estimate, inner)
    return msgspec.structs.replace(estimate, at=state.now + (estimate.seconds or 0.0))


def _nested(outer: Estimate, inner: Estimate) -> Estimate:
    """What contains the inner one cannot end before it, nor in its range."""
    return msgspec.structs.replace(
        outer, low=max(outer.low or 0.0, inner.low or 0.0), high=max(outer.high or 0.0, inner.high or 0.0)
    )


def _parts(amounts: Amounts, costs: Mapping[str, Cost]) -> dict[str, float]:
    parts: dict[str, float] = {}
    for name, count in amounts.items():
        mean = 1.0 if name.startswith("here/") else costs[name].mean
        short = name.removeprefix("here/").removesuffix(" (whole)")
        if count * mean:
            parts[NAMES.get(short, short)] = parts.get(NAMES.get(short, short), 0.0) + count * mean
    return parts
