"""When it ends: what is left, counted, times what each of it costs, with a 90 % range.

Total = Σ over the runs left of startup + epochs × (that fold's steps × mean step + what happens every k epochs) +
evaluation + the gaps between runs. Costs are in engine.eta.costs and engine.eta.unit_costs, what is left in
engine.eta.remaining.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from engine.config.plan import Plan
from engine.eta.calibration import Calibration, Rung as RungKind
from engine.eta.costs import Cost, KeyTiming, benchmark_key, step_cost
from engine.eta.devices import as_counted, devices, on_device
from engine.eta.interval import NOT_KNOWN, Estimate, ending, interval, nested
from engine.eta.ladder import Part, Rung, last_of_fold, parts_of, rung, step_rung
from engine.eta.newest import timing_for
from engine.eta.remaining import each_later, later_runs, of_epoch, of_run, runs_left, whole_run
from engine.eta.rhythm import Amounts, added, planned
from engine.eta.side_by_side import shared, until_last
from engine.eta.standing import stage_now
from engine.eta.timing import unlike
from engine.eta.unit_costs import costs_before, costs_of
from engine.eta.variants import paces_told
from engine.live.changes import Change, changes_of
from engine.live.drift import Creep
from engine.live.state import ENDED, ExperimentState, RunState

__all__ = ["Estimate", "Forecast", "KeyTiming", "before_launch", "benchmark_key", "forecast", "timing_for"]


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """`stop_here`: when it ends if this run is the last. `parts`: seconds left of the experiment by what takes them.

    `ladder`: the rungs from a step to the experiment, each with what it consists of. `changes`: of the present run's
    pace, oldest first. `intervals`: what the ranges rest on.
    """

    epoch: Estimate = Estimate()
    run: Estimate = Estimate()
    stop_here: Estimate = Estimate()
    experiment: Estimate = Estimate()
    warming: bool = False
    text: str = NOT_KNOWN
    parts: dict[str, float] = {}
    ladder: tuple[Rung, ...] = ()
    changes: tuple[Change, ...] = ()
    creep: Creep | None = None
    intervals: str = ""


def forecast(state: ExperimentState, history: Sequence[KeyTiming] = ()) -> Forecast:
    """When epoch, run and experiment end, from what the journals say; `history`: earlier experiments, newest first,
    by default those the state knows of."""
    history = history or state.earlier.timings
    if state.phase in ENDED:
        return _over(state)
    run = state.run
    if run is None or run.phase in ENDED:
        return _between_runs(state, run, history)
    step = step_cost(state, run, history)
    if step is None:
        return Forecast(warming=run.begin is not None, text=_nothing_known(state, run, history))
    costs = costs_of(state, run, step, history)
    if state.stop is not None and state.stop.mode != "after_run" and state.stop.phase != "done":
        soon = _ends(state, {"step": 1.0, "checkpoint": 1.0}, costs, "stopping now")
        return Forecast(epoch=soon, run=soon, stop_here=soon, experiment=soon, text="stopping now")
    amounts = of_run(state, run, costs)
    if amounts is None:
        return Forecast(text="not known yet: how many steps an epoch has is known once the volumes are prepared")
    return _under_way(state, run, costs, amounts)


def _under_way(
    state: ExperimentState, run: RunState, costs: Mapping[str, Cost], amounts: tuple[Amounts, Amounts]
) -> Forecast:
    """While a run trains: `amounts` are what is left of its epoch and of itself."""
    epoch_left, run_left = amounts
    step, others = costs["step"], runs_left(state, running=True)
    warming, stage = stage_now(run, step)
    calibration = state.earlier.calibration or Calibration()

    def estimate(kind: RungKind, left: Amounts, inner: Estimate | None = None) -> Estimate:
        found = interval(left, costs, step.basis, calibration.factor(kind, stage))
        return ending(found if inner is None else nested(found, inner), state.now)

    epoch = estimate("epoch", epoch_left)
    ends = estimate("run", run_left, epoch)
    rungs = [
        step_rung(state, run, costs),
        rung("epoch", f"epoch {run.epoch}", epoch, epoch_left, costs),
        rung("run", f"run {(state.current or 0) + 1}", ends, run_left, costs, 1),
        _stop_rung(state, ends, run_left, costs, estimate),
    ]
    said = Forecast(
        epoch=epoch,
        run=ends,
        stop_here=rungs[-1].estimate,
        warming=warming,
        changes=changes_of(run),
        creep=run.pace.creep if run.pace.creep is not None and run.pace.creep.active else None,
        intervals=calibration.basis,
    )
    after = later_runs(state, others, step.mean, running=True)
    if after is None:
        parts = rungs[2].parts
        return msgspec.structs.replace(said, text=_text(costs, run_left), parts=_sums(parts), ladder=tuple(rungs))
    fold, count = ends, last_of_fold(run, others)
    if 0 < count < len(others) and state.plan.slots == 1:
        within = added(run_left, later_runs(state, others[:count], step.mean, running=True) or {})
        fold = estimate("experiment", within, ends)
        rungs.append(rung("fold", f"fold {run.key.fold}", fold, within, costs, 1 + count))
    whole = added(run_left, after)
    if state.plan.slots > 1:
        each = each_later(state, others, step.mean, running=True) or []
        whole = until_last(state, run_left, each, costs)
    experiment = estimate("experiment", whole, fold) if others or len(state.under_way) > 1 else ends
    rungs.append(rung("experiment", "experiment", experiment, whole, costs, 1 + len(others)))
    return msgspec.structs.replace(
        said, experiment=experiment, text=_text(costs, whole), parts=_sums(rungs[-1].parts), ladder=tuple(rungs)
    )


def _stop_rung(
    state: ExperimentState,
    ends: Estimate,
    run_left: Amounts,
    costs: Mapping[str, Cost],
    estimate: Callable[[RungKind, Amounts, Estimate | None], Estimate],
) -> Rung:
    """When nothing runs any more if nothing more begins."""
    if len(state.under_way) < 2:
        return rung("stop_here", "stop after it", ends, run_left, costs, 1)
    left = until_last(state, run_left, [], costs)
    return rung("stop_here", "stop after these", estimate("run", left, ends), left, costs, len(state.under_way))


def _nothing_known(state: ExperimentState, run: RunState | None, history: Sequence[KeyTiming]) -> str:
    device = next(iter(devices(state, run)), None)
    why = _unlike(state.plan, device, history) or "no step has ended"
    return f"not known yet: {why}"


def _unlike(plan: Plan, device: str | None, timings: Sequence[KeyTiming]) -> str:
    return unlike(plan, device, as_counted(timings, device) if device is not None else timings)


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
    if run is not None and run.phase == "finished" and not state.runs_ended_here:
        over = Estimate()  # an earlier launch's: that it is over says nothing of what was gone on with
    left = runs_left(state, running=False)
    step = step_cost(state, None, history)
    after = later_runs(state, left, step.mean if step else 0.0, running=False)
    if run is not None and not left:
        return Forecast(epoch=over, run=over, stop_here=over, experiment=over, text=over.basis)
    if step is None or after is None:
        unknown = Estimate()
        over = unknown if run in left else over
        text = _nothing_known(state, run, history) if step is None and history else NOT_KNOWN
        return Forecast(epoch=over, run=over, stop_here=over, experiment=unknown, text=text)
    costs = costs_of(state, run, step, history)
    if state.plan.slots > 1:
        after = shared(each_later(state, left, step.mean, running=False) or [], costs, state.plan.slots)
    experiment = _ends(state, after, costs, step.basis)
    ends = over
    if run is not None and run in left and (own := later_runs(state, [run], step.mean, running=False)) is not None:
        ends = _ends(state, own, costs, step.basis)
    rungs = [rung("experiment", "experiment", experiment, after, costs, len(left))]
    if left and (one := later_runs(state, left[:1], step.mean, running=False)) is not None:
        each = _ends(state, one, costs, step.basis)
        rungs.insert(0, rung("run", "the next run", each, one, costs, 1))
    return Forecast(
        epoch=Estimate() if ends is not over else over,
        run=ends,
        stop_here=ends,
        experiment=experiment,
        text=_text(costs, after),
        parts=_sums(parts_of(after, costs)),
        ladder=tuple(rungs),
        intervals=(state.earlier.calibration or Calibration()).basis,
    )


def before_launch(
    plan: Plan,
    steps_per_epoch: Mapping[int, int],
    test_counts: Mapping[int, int],
    timings: Sequence[KeyTiming],
    device: str | None = None,
) -> Forecast:
    """What an experiment would take if launched now; `steps_per_epoch` and `test_counts` are by fold.

    `timings` come newest first. Only timings under the plan's own benchmark key count, on the `device` that it would
    train on (as engine.eta.devices calls it; None: all of them are of that device); without one nothing is known.
    """
    timing = timing_for(plan, on_device(timings, device) if device is not None else timings)
    if timing is None or not plan.runs or not all(key.fold in steps_per_epoch for key in plan.runs):
        why = _unlike(plan, device, timings) or "nothing of this kind has run here"
        return Forecast(text=f"not known yet: {why}")
    costs, paces = costs_before(timing, plan), paces_told(plan, timing)
    step = costs["step"]
    runs = plan.runs[: plan.stop_after_runs or None]
    each = []
    for place, key in enumerate(runs):
        whole = whole_run(planned(plan, steps_per_epoch[key.fold], test_counts.get(key.fold, 0)), step.mean)
        beside = paces.beside(key.variant, whole["step"], step.mean)
        each.append(whole | {"gap": float(place >= plan.slots)} | beside)
    total = shared(each, costs, plan.slots)
    fold = runs[0].fold
    first = of_epoch(planned(plan, steps_per_epoch[fold], test_counts.get(fold, 0)), step.mean)
    first |= paces.beside(runs[0].variant, first["step"], step.mean)
    epoch, run = interval(first, costs, step.basis), interval(each[0], costs, step.basis)
    experiment = nested(interval(total, costs, step.basis), run)
    rungs = (
        rung("step", "step", interval({"step": 1.0}, costs, step.basis), {"step": 1.0}, costs),
        rung("epoch", "epoch", epoch, first, costs),
        rung("run", "run", run, each[0], costs, 1),
        rung("experiment", "experiment", experiment, total, costs, len(runs)),
    )
    return Forecast(
        run=run,
        stop_here=run,
        experiment=experiment,
        text=" · ".join((step.basis, "90 % range", *paces.untried_words(plan.runs))),
        parts=_sums(rungs[-1].parts),
        ladder=rungs,
        intervals=Calibration().basis,
    )


# ---------------------------------------------------------------- ranges


def _ends(state: ExperimentState, amounts: Amounts, costs: Mapping[str, Cost], basis: str) -> Estimate:
    return ending(interval(amounts, costs, basis), state.now)


def _sums(parts: Sequence[Part]) -> dict[str, float]:
    return {part.name: part.seconds for part in parts}


def _text(costs: Mapping[str, Cost], amounts: Amounts) -> str:
    """What it rests on, and what of it has not been seen yet."""
    basis = costs["step"].basis
    said = [basis, "the first epoch may be slower than the rest" if basis.startswith("warming") else "90 % range"]
    for name, word in (("validate", "validate"), ("volume", "reconstruct"), ("evaluate", "evaluate")):
        if amounts.get(name) and costs[name].basis.startswith("modelled"):
            said.append(f"{word} not seen yet: {costs[name].basis}")
    return " · ".join(said)
