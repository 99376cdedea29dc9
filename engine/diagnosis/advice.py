"""The next best change of one knob, what it would bring and cost, and what would bring nothing, and why."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from engine.config.knob import Kind, Value
from engine.config.profile import KNOBS
from engine.diagnosis.modelled import workload_of
from engine.diagnosis.queueing import VARIES, Prediction, Workload, predict
from engine.live.state import ExperimentState
from engine.memory.budget import budget
from engine.memory.footprint import footprint, knobs_now
from engine.memory.vram_budget import said

# A change that brings less is not worth a test.
WORTH = 1.05
# Of settings that bring nearly the same the cheapest is proposed.
NEARLY = 0.95
MOST_TIMES = 4
NOTHING = 1.03
# Of a GPU that takes no time at all.
FASTER_GPU = 1.5
# Loading that takes next to nothing.
INSTANT = 0.01


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """One knob from `before` to `after`: `low` to `high` seconds per step, `gain_low` to `gain_high` times the samples
    per second. `memory`: what it takes in all, in words; `refused`: why there is not that much; `lock`: the
    experiment's reason against it."""

    knob: str
    before: Value
    after: Value
    low: float
    high: float
    gain_low: float
    gain_high: float
    memory: str = ""
    refused: str = ""
    lock: str = ""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """`change`: the single next thing to try, None if nothing is worth it. `useless`: what will not help, and why."""

    change: Proposal | None = None
    useless: tuple[str, ...] = ()
    basis: str = ""


def advice(state: ExperimentState) -> Advice:
    """From what the present training, or a test of it, has shown so far; empty before anything was measured."""
    workload, basis = workload_of(state)
    if workload is None:
        return Advice()
    knobs = knobs_now(state)
    now = predict(workload, knobs)
    tried = list(_tried(workload, knobs, now))
    worth = [one for one in tried if one[2].samples_per_second >= WORTH * now.samples_per_second]
    # What changes more than the speed is only spoken of where nothing else helps.
    worth = [one for one in worth if KNOBS[one[0]].kind is Kind.SPEED] or worth
    change = None
    if knobs["cache"] == "none" and now.limit != "compute" and not state.plan.experiment.command:
        change = _prepared(workload, knobs, now)
    elif worth:
        best = max(prediction.samples_per_second for _, _, prediction in worth)
        knob, value, found = next(one for one in worth if one[2].samples_per_second >= NEARLY * best)
        change = _proposal(state, knobs, knob, value, found, now)
        if change.refused and knob == "num_workers":
            change = _fewer(state, workload, knobs, int(value), now) or change
    return Advice(change=change, useless=tuple(_useless(state, workload, knobs, now)), basis=basis)


def _prepared(workload: Workload, knobs: dict[str, Value], now: Prediction) -> Proposal:
    """Samples from what was prepared once. How much of loading was preparing nobody has measured: anything between
    nothing and all of it."""
    instant = msgspec.structs.replace(
        workload, load_seconds=INSTANT * workload.load_seconds, load_cpu_seconds=INSTANT * workload.load_cpu_seconds
    )
    most = predict(instant, knobs)
    return Proposal(
        knob="cache", before="none", after="disk", low=min(most.low, now.step_seconds), high=now.step_seconds,
        gain_low=1.0, gain_high=max(1.0, most.samples_per_second / now.samples_per_second),
    )


def _tried(workload: Workload, knobs: dict[str, Value], now: Prediction) -> Iterator[tuple[str, Value, Prediction]]:
    """One knob at a time, cheapest first. Means decide which workers are looked at; the simulation of varying items,
    which costs milliseconds, is kept for those."""
    workers = int(knobs["num_workers"])
    most = min(MOST_TIMES * max(1, workers), workload.cores) if now.limit != "compute" else workers
    even = msgspec.structs.replace(workload, load_cv=0.0)
    counts = list(range(workers + 1, most + 1))
    rates = {count: predict(even, knobs | {"num_workers": count}).samples_per_second for count in counts}
    if rates:
        enough = next(count for count in counts if rates[count] >= NEARLY * max(rates.values()))
        for count in sorted({enough, counts[-1]}):
            yield "num_workers", count, predict(workload, knobs | {"num_workers": count})
    if workload.load_cv > VARIES and workers and now.limit == "loader":
        ahead = 2 * int(knobs["prefetch_factor"])
        yield "prefetch_factor", ahead, predict(workload, knobs | {"prefetch_factor": ahead})
        if knobs["in_order"]:
            yield "in_order", False, predict(workload, knobs | {"in_order": False})


def _fewer(
    state: ExperimentState, workload: Workload, knobs: dict[str, Value], most: int, now: Prediction
) -> Proposal | None:
    """As many workers as memory allows, if they bring anything; None if they do not."""
    for count in range(most - 1, int(knobs["num_workers"]), -1):
        change = _proposal(state, knobs, "num_workers", count, predict(workload, knobs | {"num_workers": count}), now)
        if not change.refused:
            return change if change.gain_low >= WORTH else None
    return None


def _proposal(
    state: ExperimentState, knobs: dict[str, Value], knob: str, value: Value, found: Prediction, now: Prediction
) -> Proposal:
    low, high = found.samples_range
    made = budget(knobs | {knob: value}, footprint(state))
    over = [f"{one.name}: {one.sentence}" for one in made.resources if one.verdict == "over"]
    measured = any(part.basis == "measured here" for part in made.ram.parts)
    lock = state.plan.experiment.locks.get(knob)
    return Proposal(
        knob=knob,
        before=knobs[knob],
        after=value,
        low=min(found.low, now.step_seconds),
        high=min(found.high, now.step_seconds),
        gain_low=max(1.0, low / now.samples_per_second),
        gain_high=max(1.0, high / now.samples_per_second),
        memory=f"{said(made.ram.bytes)} of RAM" if measured else "",
        refused="; ".join(over),
        lock=lock.reason if lock is not None else "",
    )


def _useless(state: ExperimentState, workload: Workload, knobs: dict[str, Value], now: Prediction) -> Iterator[str]:
    """What people try first, where it would bring nothing."""
    workers, batch, ahead = int(knobs["num_workers"]), int(knobs["batch_size"]), int(knobs["prefetch_factor"])
    if now.limit != "compute":
        gain = predict(workload, knobs | {"batch_size": 2 * batch}).samples_per_second / now.samples_per_second
        if gain < NOTHING:
            word = "loading" if workers == 0 else "the loader"
            yield f"batch_size {batch}→{2 * batch}: ×{gain:.1f} the samples/s, {word} is the limit"
        instant = msgspec.structs.replace(workload, compute_seconds=0.0, compute_per_sample=0.0, trainer_cores=0.0)
        most = predict(instant, knobs).samples_per_second / now.samples_per_second
        if _on_gpu(state) and most < FASTER_GPU:
            yield f"a faster GPU: ×{max(1.0, most):.1f} at most, it would wait for the same loader"
    if now.limit == "compute" and workers:
        gain = predict(workload, knobs | {"num_workers": 2 * workers}).samples_per_second / now.samples_per_second
        if gain < NOTHING:
            yield f"num_workers {workers}→{2 * workers}: ×{gain:.1f}, the loader already keeps up"
    if workers and workload.load_cv <= VARIES:
        yield f"prefetch_factor {ahead}→{2 * ahead}: ×1.0, samples take about the same time to load"


def _on_gpu(state: ExperimentState) -> bool:
    run = state.run
    return run is not None and run.begin is not None and run.begin.device.startswith("cuda")
