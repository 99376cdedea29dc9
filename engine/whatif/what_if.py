"""What a training would take if something about it were different: counts, knobs, GPUs, cores, hardware.

A step is made of what the GPU does, which scales with the GPU, and what the loader and the host do, which does not: the
queue of loader and trainer (engine.diagnosis.queueing) says what comes of both together. What there is to do, what one
of everything costs and how wide a range is are the forecast's (engine.eta): a question that changes nothing comes to
what the forecast says.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, hypot, log
from typing import NamedTuple

import msgspec

from engine.diagnosis.consequences import Range
from engine.diagnosis.queueing import Workload, predict
from engine.eta.calibration import Factor
from engine.eta.costs import Cost
from engine.eta.interval import interval
from engine.eta.ladder import parts_of
from engine.eta.makespan import makespan as makespan, schedule
from engine.eta.rhythm import Amounts
from engine.eta.side_by_side import shared
from engine.whatif.known import Known
from engine.whatif.question import (
    Counted,
    Question as Question,
    Shape as Shape,
    checked as checked,
    counted,
    knobs_of,
    shape_of as shape_of,
)
from engine.whatif.scaling import SAME, Scaling

# Knobs that a step's own time does not depend on.
BESIDE = (
    "steps_per_epoch",
    "val_batch_size",
    "val_num_workers",
    "val_every_epochs",
    "val_patches_per_volume",
    "reconstruct_every_epochs",
)
COMPUTES_OTHERWISE = ("precision", "compile", "channels_last", "cache")
NOTHING_LEFT = "every run is finished"


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds with 90 % ranges; values None: no claim, and `why` says what is missing. `step`: their mean. `run`: the
    first of them, of a rest what is left of it; `longest`: of all of them. `limit`: what holds a step back. `parts`:
    seconds of the whole experiment by what takes them, one GPU after the other."""

    step: Range = Range()
    epoch: Range = Range()
    run: Range = Range()
    longest: Range = Range()
    experiment: Range = Range()
    limit: str = ""
    why: str = ""
    parts: dict[str, float] = {}


def no_claim(why: str) -> Times:
    """Nothing is known of any time, and `why` is said of each."""
    nothing = Range(basis=why)
    return Times(step=nothing, epoch=nothing, run=nothing, longest=nothing, experiment=nothing, why=why)


class _Scene(NamedTuple):
    """One way it may come: how many times as fast the GPU is, and whether loading a sample computes all the time."""

    ratio: float
    loads_compute: bool = False


class _Costs(NamedTuple):
    """One of everything: as expected, at best and at worst, and by what the model may be off (90 %, relative) as if all
    were quicker or slower by it."""

    middle: dict[str, Cost]
    quick: dict[str, Cost]
    slow: dict[str, Cost]
    under: dict[str, Cost]
    over: dict[str, Cost]
    limit: str


# ---------------------------------------------------------------- a step


def refused(known: Known, question: Question, ratio: Scaling) -> str:
    """Why nothing can be claimed; '' if it can."""
    if not ratio.known:
        return ratio.why
    knobs = knobs_of(known, question)
    elsewhere = ratio is not SAME
    changed = {name for name, value in knobs.items() if value != known.knobs.get(name) and name not in BESIDE}
    if known.workload is None and (elsewhere or changed or _spread_out(known, question)):
        return "no claim: its journal does not say where a step goes, or on how many cores; `steptop bench` does"
    if otherwise := changed & set(COMPUTES_OTHERWISE):
        names = ", ".join(sorted(otherwise))
        return f"no claim: another {names} computes or loads differently; `steptop bench --set …` measures it"
    if known.device == "cpu" and question.gpus > 1:
        return "no claim: it computes on the CPU, so there are no GPUs to share its runs out to"
    if known.device == "cpu" and question.cores is not None and question.cores != known.cores:
        return "no claim: it computes on the CPU, and how that grows with cores was not measured"
    if known.workload is not None and elsewhere:
        batch, seen = int(knobs["batch_size"]), known.workload.batches
        if not min(seen) <= batch <= max(seen):
            sizes = " and ".join(str(size) for size in seen)
            return (
                f"no claim: measured at batch {sizes}, and a speed-up at one batch size is not that at {batch}; "
                f"`steptop bench --set batch_size={batch}` here first"
            )
    return ""


def _spread_out(known: Known, question: Question) -> bool:
    return question.gpus > 1 or (question.cores is not None and question.cores != known.cores)


def at_once(known: Known, question: Question) -> int:
    """Runs that go on side by side: no more than there are."""
    return max(1, min(question.gpus, len(shape_of(known, question).runs)))


def _faster(known: Known, question: Question, scene: _Scene) -> Workload:
    """The workload on that machine: the GPU's part of computing divided, cores as there are, GPUs sharing them."""
    seen = known.workload
    assert seen is not None
    left = 1.0
    if scene.ratio != 1.0:
        assert known.busy is not None
        left = 1 - known.busy + known.busy / scene.ratio
    return msgspec.structs.replace(
        seen,
        compute_seconds=seen.compute_seconds * left,
        compute_per_sample=seen.compute_per_sample * left,
        load_cpu_seconds=seen.load_seconds if scene.loads_compute else seen.load_cpu_seconds,
        crowding=seen.crowding * at_once(known, question),
        cores=question.cores or seen.cores,
    )


def _longer(known: Known, question: Question, scene: _Scene) -> tuple[float, str, float]:
    """How many times as long a step is, what limits it, and the model's own error (relative, 90 %) where it was
    asked."""
    knobs = knobs_of(known, question)
    if known.workload is None:
        return 1.0, "", 0.0
    here = predict(known.workload, known.knobs)
    workload = _faster(known, question, scene)
    same = workload == known.workload and all(
        value == known.knobs.get(name) for name, value in knobs.items() if name not in BESIDE
    )
    if same:
        return 1.0, here.limit, 0.0
    there = predict(workload, knobs)
    error = max(there.high / there.step_seconds, there.step_seconds / there.low) - 1
    return there.step_seconds / here.step_seconds, there.limit, error


# ---------------------------------------------------------------- one of everything


def _costs(known: Known, question: Question, ratio: Scaling) -> _Costs:
    assert ratio.value is not None
    # Where nobody measured whether loading needs a core, it is taken to, and the range holds that it does not.
    unsure = known.workload is not None and not known.workload.load_cpu_seconds and _spread_out(known, question)
    usual, best, worst = _Scene(ratio.value, unsure), _Scene(ratio.high), _Scene(ratio.low, unsure)
    times, limit, error = _longer(known, question, usual)
    quick, slow = min(times, _longer(known, question, best)[0]), max(times, _longer(known, question, worst)[0])
    return _Costs(
        middle=_scaled(known, question, usual, times),
        quick=_scaled(known, question, best, quick),
        slow=_scaled(known, question, worst, slow),
        under=_scaled(known, question, usual, times / (1 + error)),
        over=_scaled(known, question, usual, times * (1 + error)),
        limit=limit,
    )


def _scaled(known: Known, question: Question, scene: _Scene, longer: float) -> dict[str, Cost]:
    """Unit costs there: a step is so many times as long; what goes through the network scales in its GPU part, loading
    and all else does not."""
    costs, seen = dict(known.costs), known.costs.get("step", known.step)
    for name in ("drift", "anew", "apart", "untried"):
        costs[name] = _times(costs.get(name, Cost(0.0)), longer * (known.step.mean / seen.mean if seen.mean else 1.0))
    costs["step"] = _times(msgspec.structs.replace(known.step, below=known.step.above), longer)
    costs["cold"] = Cost(0.0, below=known.step.below * longer)
    if scene.ratio != 1.0 and known.busy is not None and known.workload is not None:
        load, workers = known.workload.load_seconds, int(knobs_of(known, question).get("val_num_workers", 0))
        for name in ("validate", "evaluate", "volume"):
            if name in costs:
                mean = _item(costs[name].mean, load, workers, scene.ratio, known.busy)
                costs[name] = msgspec.structs.replace(costs[name], mean=mean)
    return costs


def _times(cost: Cost, factor: float) -> Cost:
    if factor == 1.0:
        return cost
    names = ("mean", "spread", "noise", "below", "above")
    return msgspec.structs.replace(cost, **{name: factor * getattr(cost, name) for name in names})


def _item(seconds: float, load: float, workers: int, ratio: float, busy: float) -> float:
    """A held-out volume: with no workers loaded and then computed, else whichever takes longer."""
    waiting = min(seconds, load) if workers == 0 else min(seconds, load / workers)
    computing = seconds - waiting if workers == 0 else seconds
    if workers and waiting >= 0.85 * seconds:
        return seconds
    there = computing * (1 - busy) + computing * busy / ratio
    return waiting + there if workers == 0 else max(waiting, there)


# ---------------------------------------------------------------- runs and experiment


def times(known: Known, question: Question, ratio: Scaling = SAME) -> Times:
    """What the question comes to on hardware that computes `ratio` times as fast. Raises UsageError as `shape_of`."""
    shape = shape_of(known, question)
    why = refused(known, question, ratio)
    if why:
        return no_claim(why)
    if not shape.runs:
        nothing = Range(0.0, 0.0, 0.0, NOTHING_LEFT)
        return Times(run=nothing, longest=nothing, experiment=nothing, why=NOTHING_LEFT)
    costs = _costs(known, question, ratio)
    todo = counted(known, question, shape, costs.middle["step"].mean)
    basis = known.step.basis if ratio is SAME else ratio.why
    factors = known.factors if question.rest else {}

    def ranged(amounts: Amounts, factor: Factor | None = None) -> Range:
        return _ranged(amounts, costs, basis, factor)

    run = ranged(todo.each[0], factors.get("run"))
    if todo.as_it_is and known.epoch_left:
        run = _nested(run, ranged(known.epoch_left, factors.get("epoch")))
    seconds = [_seconds(amounts, costs.middle) for amounts in todo.each]
    experiment = run
    if len(shape.runs) > 1:
        whole = _until_end(known, question, todo, seconds, costs.middle)
        experiment = _nested(ranged(whole, factors.get("experiment")), run)
    longest = max(range(len(seconds)), key=seconds.__getitem__)
    every = _sum(todo.each, todo.gap + len(todo.each) - 1)
    return Times(
        step=_ranged({"step": 1.0, "cold": 1.0}, _without_noise(costs), basis),
        epoch=ranged(todo.epoch),
        run=run,
        longest=run if longest == 0 else ranged(todo.each[longest], factors.get("run")),
        experiment=experiment,
        limit=costs.limit,
        why=ratio.why,
        parts={part.name: part.seconds for part in parts_of(_known_to(every, costs.middle), costs.middle)},
    )


def _until_end(
    known: Known, question: Question, todo: Counted, seconds: list[float], costs: Mapping[str, Cost]
) -> Amounts:
    """What there is to do until the last run has ended: on GPUs that are asked for, else in the plan's own slots."""
    slots = known.plan.slots
    if question.gpus > 1 or slots == 1:
        return _last(todo, seconds, at_once(known, question), costs["gap"].mean)
    if todo.all_as_it_is and known.whole_left is not None:
        return known.whole_left
    each = [_known_to(one, costs) | {"gap": float(place >= slots)} for place, one in enumerate(todo.each)]
    return shared(each, costs, slots)


def _last(todo: Counted, seconds: list[float], slots: int, gap: float) -> Amounts:
    """What the place does in which the last run ends, each run begun by the one that is free first, in their order."""
    if slots == 1:
        return _sum(todo.each, todo.gap + len(todo.each) - 1)
    placed = schedule(seconds, slots, gap=gap)
    last = max(placed, key=lambda one: one.ends).slot
    there = [todo.each[one.run] for one in placed if one.slot == last]
    return _sum(there, todo.gap + len(there) - 1)


def _sum(each: tuple[Amounts, ...] | list[Amounts], gaps: float) -> Amounts:
    total: Amounts = {}
    for amounts in each:
        for name, count in amounts.items():
            total[name] = total.get(name, 0.0) + count
    return total | {"gap": gaps}


def _without_noise(costs: _Costs) -> _Costs:
    """Of steps without end the mean."""

    def still(one: dict[str, Cost]) -> dict[str, Cost]:
        return {name: msgspec.structs.replace(one[name], noise=0.0) for name in ("step", "cold")}

    return _Costs(
        still(costs.middle), still(costs.quick), still(costs.slow), still(costs.under), still(costs.over), costs.limit
    )


def _ranged(amounts: Amounts, costs: _Costs, basis: str, factor: Factor | None = None) -> Range:
    """The forecast's range, and by how much it may come otherwise on hardware or with knobs that were not measured."""
    todo = _known_to(amounts, costs.middle)
    held = interval(todo, costs.middle, basis, factor)
    value, low, high = held.seconds or 0.0, held.low or 0.0, held.high or 0.0
    if value <= 0:
        return Range(value, value, value, basis)
    downs = [log(value / total) for one in (costs.quick, costs.under) if 0 < (total := _seconds(todo, one)) < value]
    ups = [log(total / value) for one in (costs.slow, costs.over) if (total := _seconds(todo, one)) > value]
    if downs:
        low = value * exp(-hypot(log(value / low) if low > 0 else 5.0, *downs))
    if ups:
        high = value * exp(hypot(log(high / value), *ups))
    return Range(value, low, high, basis)


def _nested(outer: Range, inner: Range) -> Range:
    """What contains the inner one cannot end before it, nor in its range."""
    return msgspec.structs.replace(
        outer, low=max(outer.low or 0.0, inner.low or 0.0), high=max(outer.high or 0.0, inner.high or 0.0)
    )


def _known_to(amounts: Amounts, costs: Mapping[str, Cost]) -> Amounts:
    return {name: count for name, count in amounts.items() if name in costs}


def _seconds(amounts: Amounts, costs: Mapping[str, Cost]) -> float:
    return sum(count * costs[name].mean for name, count in amounts.items() if name in costs)


def core_demand(known: Known, question: Question, ratio: float = 1.0) -> tuple[float, int] | None:
    """Cores that all loaders and trainers together would keep busy if they were never short of any, and those there
    are; None where loading was not measured."""
    if known.workload is None:
        return None
    unsure = not known.workload.load_cpu_seconds
    workload = _faster(known, question, _Scene(ratio, unsure))
    free = msgspec.structs.replace(workload, cores=1_000_000)
    knobs = knobs_of(known, question)
    seconds = predict(free, knobs).step_seconds / int(knobs.get("accumulate_steps", 1))
    return at_once(known, question) * workload.cpu(int(knobs["batch_size"])) / seconds, workload.cores
