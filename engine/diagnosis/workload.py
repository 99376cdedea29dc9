"""A training's demands on the machine, from one or two short tests of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from engine.diagnosis.queueing import COLLATING, VARIES, Workload, predict
from engine.phase.measure import Measurement

# Waiting for data less than the loader's share of this is none: what remains is the handing over.
KEEPS_UP = 0.85
# Taking a batch from a worker, fixed and per sample: 1 MB samples on an EPYC core. Only while nothing has shown it.
TAKE_SECONDS, TAKE_PER_SAMPLE = 0.0011, 0.0003
MOST_TAKE = 4.0
# A trainer that keeps fewer cores busy than this computes elsewhere, on a GPU.
ON_CPU = 0.5
# Waiting more than this share of a step for data, a trainer is limited by its loader.
WAITS = 0.1
# All cores taken: CPU work is this share of what they have.
CROWDED, MOST_CROWDING = 0.85, 1.5


class _Seen(NamedTuple):
    """One probe, seconds per pass over a batch."""

    batch: int
    workers: int
    ahead: int
    seconds: float
    compute: float
    quick: float | None
    load: float | None
    load_cpu: float | None
    trainer_cpu: float | None
    resident: bool


def fit(probes: Sequence[Measurement], cores: int) -> Workload:
    """From one or more probes, of which at least one trained or held its batch resident. Raises ValueError without.

    The best two: one worker, and the largest batch size with two. `cores`: those the training may use.
    """
    seen = sorted((_seen(one) for one in probes if one.mode != "load"), key=lambda one: (not one.resident, one.workers))
    if not seen:
        raise ValueError("no probe that trains")
    trained = [one for one in seen if not one.resident]
    loading = trained + [_seen(one) for one in probes if one.mode == "load"]
    trainer = _trainer_cores(seen[0])
    load, load_cpu = _load(loading)
    compute, per_sample = _line({one.batch: _computing(one, trainer, cores) for one in reversed(seen)})
    workload = Workload(
        compute_seconds=compute,
        compute_per_sample=per_sample,
        batches=tuple(sorted({one.batch for one in seen})),
        load_seconds=load,
        load_cpu_seconds=load_cpu,
        load_cv=max((one.load_cv or 0.0 for one in probes), default=0.0),
        trainer_cores=trainer,
        cores=cores,
    )
    workload = _with_taking(workload, trained)
    workload = _with_packing(workload, trained)
    return _with_error(_with_crowding(workload, trained), [one for one in probes if one.mode == "train"])


def _seen(probe: Measurement) -> _Seen:
    passes = int(probe.knobs.get("accumulate_steps", 1))
    seconds, data = probe.step_seconds / passes, probe.spans.get("data")
    resident = probe.mode == "resident"
    quick = probe.quick_seconds / passes if passes == 1 else None
    if resident:
        compute = seconds
    elif data is not None:
        compute = max(0.0, seconds - data / passes)
    else:
        compute = quick if quick is not None else seconds  # a step that found its batch ready has only computed
    return _Seen(
        int(probe.knobs.get("batch_size", 1)),
        int(probe.knobs.get("num_workers", 0)),
        int(probe.knobs.get("prefetch_factor", 2)),
        seconds,
        compute,
        quick,
        probe.load_seconds,
        probe.load_cpu_seconds,
        None if probe.trainer_cpu_seconds is None else probe.trainer_cpu_seconds / passes,
        resident,
    )


def _trainer_cores(one: _Seen) -> float:
    """Cores the trainer keeps busy while it computes."""
    if one.trainer_cpu is None or one.compute <= 0:
        return 0.0
    taking = TAKE_SECONDS + one.batch * TAKE_PER_SAMPLE if one.workers and not one.resident else 0.0
    return max(0.0, one.trainer_cpu - taking) / one.compute


def _computing(one: _Seen, trainer: float, cores: int) -> float:
    """Of a pass, with the cores for itself: where workers took some of them, from the trainer's CPU time."""
    if one.resident or trainer < ON_CPU or one.trainer_cpu is None or one.workers + trainer <= cores:
        return one.compute
    return min(one.compute, one.trainer_cpu / trainer)


def _load(loading: Sequence[_Seen]) -> tuple[float, float]:
    """Seconds of a sample and CPU seconds of it, from the probe with the fewest workers: they may wait for a core."""
    for one in sorted(loading, key=lambda one: one.workers):
        if one.load is not None:
            return one.load, min(one.load, one.load_cpu if one.load_cpu is not None else 0.0)
    for one in loading:  # nobody measured it: workers are taken to be busy all the time
        idle = one.seconds - one.compute
        return max(idle, one.seconds * one.workers if idle > WAITS * one.seconds else 0.0) / one.batch, 0.0
    return 0.0, 0.0


def _with_taking(workload: Workload, trained: Sequence[_Seen]) -> Workload:
    """What being handed a batch costs the trainer: all its waiting where the loader keeps up, and beyond computing what
    a step takes that finds its batch ready."""
    found: dict[int, float] = {}
    for one in reversed(trained):
        if not one.workers:
            continue
        usual = TAKE_SECONDS + one.batch * TAKE_PER_SAMPLE
        if one.batch * workload.load_seconds / one.workers < KEEPS_UP * one.compute:
            found[one.batch] = max(0.0, one.seconds - one.compute)
        elif one.workers > 1 and one.quick is not None and 0 < one.quick - one.compute < MOST_TAKE * usual:
            found[one.batch] = one.quick - one.compute  # more than that: no step found its batch ready
    if len(found) > 1:
        fixed, each = _line(found)
    else:
        batch, take = next(iter(found.items()), (1, TAKE_SECONDS + TAKE_PER_SAMPLE))
        scale = take / (TAKE_SECONDS + batch * TAKE_PER_SAMPLE)
        fixed, each = scale * TAKE_SECONDS, scale * TAKE_PER_SAMPLE
    return msgspec.structs.replace(workload, take_seconds=fixed, take_per_sample=each)


def _with_packing(workload: Workload, trained: Sequence[_Seen]) -> Workload:
    """What workers spend on a batch beside its samples: what they need longer than its samples where they are the
    limit."""
    found: dict[int, float] = {}
    for one in reversed(trained):
        load = one.batch * workload.load_seconds
        waiting = one.seconds - one.compute
        if one.workers == 0:
            found[one.batch] = max(0.0, waiting - load) / COLLATING
        elif waiting > 2 * workload.take(one.batch) and workload.load_cv <= VARIES and not _crowded(workload, one):
            waits = workload.trip(one.batch) if one.ahead == 1 else 0.0
            found[one.batch] = max(0.0, one.seconds * one.workers - load - waits)
    fixed, each = _line(found) if found else (0.0, 0.0)
    return msgspec.structs.replace(workload, pack_seconds=fixed, pack_per_sample=each)


def _with_crowding(workload: Workload, trained: Sequence[_Seen]) -> Workload:
    crowded = [one.seconds * workload.cores / _work(workload, one) for one in trained if _crowded(workload, one)]
    return msgspec.structs.replace(workload, crowding=min(max([1.0, *crowded]), MOST_CROWDING))


def _crowded(workload: Workload, one: _Seen) -> bool:
    return one.workers > 0 and _work(workload, one) > CROWDED * one.seconds * workload.cores


def _work(workload: Workload, one: _Seen) -> float:
    """CPU seconds of a pass."""
    return workload.cpu(one.batch)


def _with_error(workload: Workload, probes: Sequence[Measurement]) -> Workload:
    errors = [abs(predict(workload, one.knobs).step_seconds / one.step_seconds - 1) for one in probes]
    return msgspec.structs.replace(workload, error=max(errors, default=0.0))


def _line(values: dict[int, float]) -> tuple[float, float]:
    """A non-negative fixed part and slope: through the smallest and the largest; of one value all is slope."""
    low, high = min(values), max(values)
    if low == high:
        return 0.0, values[low] / low
    each = max(0.0, (values[high] - values[low]) / (high - low))
    fixed = values[low] - low * each
    if fixed >= 0 and each > 0:
        return fixed, each
    if each == 0:
        return (values[low] + values[high]) / 2, 0.0
    return 0.0, (values[low] / low + values[high] / high) / 2
