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
    CLOSING_SECONDS,
    GAP_SECONDS,
    STARTUP_SECONDS,
    Cost,
    KeyTiming,
    benchmark_key,
    closing_cost,
    from_timing,
    item_cost,
    like,
    part_cost,
    pooled,
    step_cost,
    timing_of,
)
from engine.experiment import Plan
from engine.remaining import Amounts, added, later_runs, of_run, planned, runs_left, whole_run
from engine.state import ExperimentState, RunState

__all__ = ["Estimate", "Forecast", "KeyTiming", "before_launch", "benchmark_key", "forecast", "timing_of"]

Z90 = 1.645
NOT_KNOWN = "not known yet"
ENDED = ("finished", "stopped", "failed", "lost")
WORDS = {"step": "train", "gap": "between runs", "volume": "reconstruct"}
FIRST_CHECKPOINT = 0.5


class Estimate(msgspec.Struct, frozen=True):
    """Remaining seconds with a 90 % range, the wall clock of the end, and what it rests on."""

    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    at: float | None = None
    basis: str = NOT_KNOWN


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """`stop_here`: when it ends if this run is the last. `parts`: seconds left of the experiment by what takes them."""

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
    step = step_cost(state, run, history)
    if step is None:
        return Forecast(warming=run.begin is not None, text="not known yet: no step has ended")
    costs = _costs(state, run, step, history)
    if state.stop is not None and state.stop.mode != "after_run" and state.stop.phase != "done":
        soon = _estimate(state, {"step": 1.0, "checkpoint": 1.0}, costs, "stopping now")
        return Forecast(epoch=soon, run=soon, stop_here=soon, experiment=soon, text="stopping now")
    amounts = of_run(state, run, costs)
    if amounts is None:
        return Forecast(text="not known yet: how many steps an epoch has is known once the volumes are prepared")
    epoch_left, run_left = amounts
    others = runs_left(state, running=True)
    after = later_runs(state, others, step.mean, running=True)
    epoch = _estimate(state, epoch_left, costs, step.basis)
    ends = _estimate(state, run_left, costs, step.basis, epoch)
    warming = run.pace.warming or step.basis.startswith("warming")
    if after is None:
        return Forecast(
            epoch=epoch,
            run=ends,
            stop_here=ends,
            warming=warming,
            text=_text(step, costs, run_left),
            parts=_parts(run_left, costs),
        )
    whole = added(run_left, after)
    experiment = _estimate(state, whole, costs, step.basis, ends) if others else ends
    return Forecast(
        epoch=epoch,
        run=ends,
        stop_here=ends,
        experiment=experiment,
        warming=warming,
        text=_text(step, costs, whole),
        parts=_parts(whole, costs),
    )


def _over(state: ExperimentState) -> Forecast:
    """It has ended: nothing is left, and it is known when."""
    at = state.ended.t if state.ended is not None else max((run.ended for run in state.runs), default=0.0)
    if state.phase == "lost":
        nobody = Estimate(basis="lost: nobody is training")
        return Forecast(epoch=nobody, run=nobody, stop_here=nobody, experiment=nobody, text=nobody.basis)
    over = Estimate(0.0, 0.0, 0.0, at or None, state.phase)
    return Forecast(epoch=over, run=over, stop_here=over, experiment=over, text=state.phase)


def _between_runs(state: ExperimentState, run: RunState | None, history: Sequence[KeyTiming]) -> Forecast:
    """Before the first run, or between two."""
    over = Estimate(0.0, 0.0, 0.0, run.ended or None, run.phase) if run is not None else Estimate()
    left = runs_left(state, running=False)
    step = step_cost(state, None, history)
    after = later_runs(state, left, step.mean if step else 0.0, running=False)
    if run is not None and not left:
        return Forecast(epoch=over, run=over, stop_here=over, experiment=over, text=over.basis)
    if step is None or after is None:
        unknown = Estimate()
        over = unknown if run in left else over
        return Forecast(epoch=over, run=over, stop_here=over, experiment=unknown, text=NOT_KNOWN)
    costs = _costs(state, run, step, history)
    experiment = _estimate(state, after, costs, step.basis)
    ends = over
    if run is not None and run in left and (own := later_runs(state, [run], step.mean, running=False)) is not None:
        ends = _estimate(state, own, costs, step.basis)
    return Forecast(
        epoch=Estimate() if ends is not over else over,
        run=ends,
        stop_here=ends,
        experiment=experiment,
        text=_text(step, costs, after),
        parts=_parts(after, costs),
    )


def before_launch(
    plan: Plan, steps_per_epoch: Mapping[int, int], test_counts: Mapping[int, int], timings: Sequence[KeyTiming]
) -> Forecast:
    """What an experiment would take if launched now; `steps_per_epoch` and `test_counts` are by fold.

    `timings` come newest first. Only timings under the plan's own benchmark key count; without one nothing is known.
    """
    timing = next((t for t in timings if t.key == benchmark_key(plan, t.device_name)), None)
    if timing is None or not plan.runs or not all(key.fold in steps_per_epoch for key in plan.runs):
        return Forecast(text="not known yet: nothing of this kind has run here")
    step, known = from_timing(timing), _remembered(timing)
    costs = _with_steps(step) | {
        "startup": _known(known, "startup", STARTUP_SECONDS),
        "gap": _known(known, "gap", GAP_SECONDS),
        "checkpoint": _known(known, "checkpoint", FIRST_CHECKPOINT), "closing": Cost(CLOSING_SECONDS, CLOSING_SECONDS),
    }
    for name, other in (("validate", "evaluate"), ("evaluate", "validate")):
        guess = _known(known, other, 0.5 * step.mean)
        costs[name] = _known(known, name, 0.0) if name in known else Cost(guess.mean, 0.4 * guess.mean)
    costs["volume"] = costs["evaluate"]
    runs = plan.runs[: plan.stop_after_runs or None]
    each = [
        whole_run(planned(plan, steps_per_epoch[key.fold], test_counts.get(key.fold, 0)), step.mean) for key in runs
    ]
    total: Amounts = {}
    for left in each:
        total = added(total, left)
    total["gap"] = float(len(runs) - 1)
    run = _interval(each[0], costs, step.basis)
    experiment = _nested(_interval(total, costs, step.basis), run)
    return Forecast(
        run=run, stop_here=run, experiment=experiment, text=f"{step.basis} · 90 % range", parts=_parts(total, costs)
    )


# ---------------------------------------------------------------- costs and ranges


def _costs(state: ExperimentState, run: RunState | None, step: Cost, history: Sequence[KeyTiming]) -> dict[str, Cost]:
    timing = like(state.plan, run, history)
    known = _remembered(timing) if timing is not None else {}
    gap = sum(state.gaps) / len(state.gaps) if state.gaps else known.get("gap", GAP_SECONDS)
    costs = _with_steps(step) | {
        "gap": Cost(gap, 0.5 * gap, 0.5 * gap),
        "startup": part_cost(state, "startup", known, _first_startup(state)),
        "checkpoint": part_cost(state, "checkpoint", known, _first_checkpoint(run)), "closing": closing_cost(state),
    }
    for name in ("validate", "evaluate"):
        cost = item_cost(state, run, name, known)
        costs[name] = cost if cost is not None else Cost(0.5 * step.mean, 0.5 * step.mean, basis="modelled from a step")
        if pooled(state, name).count:
            costs[f"{name} (whole)"] = part_cost(state, name, {}, Cost(0.0))
    seen = pooled(state, "reconstruct")
    costs["volume"] = Cost(seen.seconds / seen.items, basis="measured here") if seen.items else costs["evaluate"]
    for name in sorted({name for other in state.runs for name in other.parts} - set(costs)):
        costs[name] = part_cost(state, name, {}, Cost(0.0))
    return costs


def _with_steps(step: Cost) -> dict[str, Cost]:
    """A step; what steps of other runs may differ in; what steps after the present epoch may be quicker."""
    return {
        "step": msgspec.structs.replace(step, below=0.0),
        "drift": Cost(0.0, BETWEEN_RUNS * step.mean),
        "cold": Cost(0.0, below=step.below),
    }


def _first_startup(state: ExperimentState) -> Cost:
    """A trainer that names no start has it in what its runs take beside steps and spans (`closing`)."""
    if any(run.phase == "finished" and run.elapsed and run.pace.seconds for run in state.runs):
        return Cost(0.0, basis="measured here")
    return Cost(STARTUP_SECONDS, STARTUP_SECONDS / 2)


def _first_checkpoint(run: RunState | None) -> Cost:
    seconds = run.checkpoint.seconds if run is not None and run.checkpoint is not None else FIRST_CHECKPOINT
    return Cost(seconds, 0.5 * seconds)


def _remembered(timing: KeyTiming) -> dict[str, float]:
    known = {
        "startup": timing.startup,
        "validate": timing.validate_item,
        "evaluate": timing.evaluate_item,
        "checkpoint": timing.checkpoint,
        "gap": timing.gap,
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
    if seconds < 1e-9:  # a square of less would underflow
        return Estimate(0.0, 0.0, 0.0, None, basis)
    # Log-normal: never below nothing, and late rather than early.
    sigma = sqrt(log(1 + variance / seconds**2))
    low, high = seconds * exp(-Z90 * sigma), seconds * exp(Z90 * sigma)
    return Estimate(seconds, max(0.0, min(low, seconds - below)), high, None, basis)


def _estimate(
    state: ExperimentState, amounts: Amounts, costs: Mapping[str, Cost], basis: str, inner: Estimate | None = None
) -> Estimate:
    estimate = _interval(amounts, costs, basis)
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
        if seconds := count * costs[name].mean:
            word = WORDS.get(name, name.removesuffix(" (whole)"))
            parts[word] = parts.get(word, 0.0) + seconds
    return parts


def _text(step: Cost, costs: Mapping[str, Cost], amounts: Amounts) -> str:
    """What it rests on, and what of it has not been seen yet."""
    warming = step.basis.startswith("warming")
    said = [step.basis, "the first epoch may be slower than the rest" if warming else "90 % range"]
    for name in ("validate", "evaluate"):
        if amounts.get(name) and costs[name].basis.startswith("modelled"):
            said.append(f"{name} not seen yet: {costs[name].basis}")
    return " · ".join(said)
