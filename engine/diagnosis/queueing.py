"""What another profile would do: a loader of W processes and its consumer are a queue.

A pass over a batch takes the longest of: computing and being handed the batch; loading it over W; all CPU work over
the cores. Items whose time varies are simulated batch by batch: a buffer of few batches then runs empty although the
loader is fast enough on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from heapq import heapify, heapreplace
from math import exp, log, sqrt
from random import Random
from statistics import NormalDist
from typing import Literal, TypeAlias

import msgspec

from engine.config.profile import Value

Limit: TypeAlias = Literal["loader", "compute", "cores", "loading in the trainer"]

# From this coefficient of variation of an item on, a mean no longer says enough.
VARIES = 0.3
BATCHES = 1000
# With one batch ahead a worker waits for its batch to be taken before it begins another: so many times what taking
# costs the trainer, less where workers compute, because handing over then takes from their computing anyway. Measured
# with real loaders and batches of 1 to 4 MB.
TRIP, TRIP_COMPUTING = 1.6, 0.3
# Of what a worker spends on a batch, the part that is no handing over: collating, which a trainer without workers does.
COLLATING = 0.2
# Half the 90 % range of predictions: grids of real loaders, constant and varying items.
ERROR, ERROR_VARYING = 0.08, 0.15


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What a training asks of the machine; seconds throughout, on a core of its own.

    A pass over a batch of b samples computes for `compute_seconds + b × compute_per_sample`; `batches` are the sizes
    that was measured at, and with only one of them all is taken to be per sample. `load_*`: one sample in a worker, its
    coefficient of variation and its CPU seconds. `pack_*`: what a worker spends on a batch beside its samples;
    `take_*`: what the trainer spends on being handed one. `trainer_cores`: cores busy while it computes. `crowding`:
    how many times longer CPU work takes when all cores are taken. `error`: how far the model is off on its own probes,
    relative.
    """

    compute_seconds: float = 0.0
    compute_per_sample: float
    batches: tuple[int, ...]
    load_seconds: float
    load_cv: float = 0.0
    load_cpu_seconds: float = 0.0
    pack_seconds: float = 0.0
    pack_per_sample: float = 0.0
    take_seconds: float = 0.0
    take_per_sample: float = 0.0
    trainer_cores: float = 0.0
    crowding: float = 1.0
    cores: int
    error: float = 0.0

    def compute(self, batch: float) -> float:
        return self.compute_seconds + batch * self.compute_per_sample

    def pack(self, batch: float) -> float:
        return self.pack_seconds + batch * self.pack_per_sample

    def take(self, batch: float) -> float:
        return self.take_seconds + batch * self.take_per_sample

    def trip(self, batch: float) -> float:
        """What a worker waits with one batch ahead."""
        computing = min(1.0, self.load_cpu_seconds / self.load_seconds) if self.load_seconds else 0.0
        return self.take(batch) * (TRIP + (TRIP_COMPUTING - TRIP) * computing)

    def cpu(self, batch: float) -> float:
        """CPU seconds of a pass, in workers and trainer together."""
        trainer = self.trainer_cores * self.compute(batch) + self.take(batch)
        return batch * self.load_cpu_seconds + self.pack(batch) + trainer


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """`low` to `high` is the 90 % range of `step_seconds`; `limit` is what a faster machine would need more of."""

    step_seconds: float
    samples_per_second: float
    low: float
    high: float
    limit: Limit

    @property
    def samples_range(self) -> tuple[float, float]:
        """The range of samples_per_second."""
        samples = self.samples_per_second * self.step_seconds
        return samples / self.high, samples / self.low


class Queue(msgspec.Struct, frozen=True):
    """One batch's way: `load` and `pack` seconds in a worker, `take` and `compute` in the trainer."""

    workers: int
    ahead: int
    load: float
    cv: float
    pack: float
    take: float
    trip: float
    compute: float
    in_order: bool = True


def predict(workload: Workload, knobs: Mapping[str, Value]) -> Prediction:
    """One step under `knobs`. Mean error against real loaders: tests/benchmarks/predict.py. Takes below 20 ms."""
    workers, batch = int(knobs.get("num_workers", 0)), int(knobs.get("batch_size", 1))
    passes = int(knobs.get("accumulate_steps", 1))
    compute, take, pack = workload.compute(batch), workload.take(batch), workload.pack(batch)
    load, cv = batch * workload.load_seconds, workload.load_cv / sqrt(batch)
    if workers == 0:
        seconds = compute + load + COLLATING * pack
        limit: Limit = "loading in the trainer" if load > compute else "compute"
    else:
        ahead = int(knobs.get("prefetch_factor", 2))
        trip = workload.trip(batch)
        queue = Queue(workers, ahead, load, cv, pack, take, trip, compute, bool(knobs.get("in_order", True)))
        seconds = simulated(queue) if workload.load_cv > VARIES else steady(queue)
        shared = workload.crowding * workload.cpu(batch) / workload.cores
        limit = "compute" if seconds < 1.02 * (compute + take) else "loader"
        if shared > seconds:
            seconds, limit = shared, "cores"
    step = passes * seconds
    down, up = _range(workload, batch, compute / seconds)
    return Prediction(
        step_seconds=step, samples_per_second=passes * batch / step, low=step * down, high=step * up, limit=limit
    )


def _range(workload: Workload, batch: int, computing: float) -> tuple[float, float]:
    """Factors of the 90 % range. With one batch size known, computing may depend on the batch wholly or not at all."""
    error = max(ERROR_VARYING if workload.load_cv > VARIES else ERROR, workload.error)
    down, up = 1 / (1 + error), 1 + error
    known = workload.batches
    if len(known) == 1 and batch != known[0]:
        off = computing * (known[0] / batch - 1)
        down, up = down * min(1.0, 1 + off), up * max(1.0, 1 + off)
    return down, up


# ---------------------------------------------------------------- one batch after the other


def steady(queue: Queue) -> float:
    """Seconds a batch when all take alike."""
    busy = queue.load + queue.pack
    loading = max(busy, (busy + queue.trip) / queue.ahead) / queue.workers
    return max(queue.compute + queue.take, loading)


@lru_cache(maxsize=1024)
def simulated(queue: Queue) -> float:
    """Seconds a batch when loading varies: BATCHES of them, lognormal, the same ones in the same order every time.

    torch's rules: a worker is given its next batch when the trainer takes one; in order, batch i comes from worker
    i mod W and is waited for even if others are ready.
    """
    loads = [queue.load * factor + queue.pack for factor in _factors(queue.cv)]
    return (_in_order if queue.in_order else _any_order)(queue, loads)


def _in_order(queue: Queue, loads: list[float]) -> float:
    workers, take, compute = queue.workers, queue.take, queue.compute
    trip, depth, count = max(0.0, queue.trip - take), queue.workers * queue.ahead, len(loads)
    ready = [0.0] * workers
    taken = [0.0] * depth
    free = warm = 0.0
    lead = min(count // 4, 8 * depth + 16)
    for index in range(-lead, count):
        if index == 0:
            warm = free
        worker, slot = index % workers, index % depth
        begun = ready[worker] if ready[worker] > taken[slot] else taken[slot]
        done = ready[worker] = begun + loads[index]
        seen = done + trip
        got = (free if free > seen else seen) + take
        taken[slot] = got
        free = got + compute
    return (free - warm) / count


def _any_order(queue: Queue, loads: list[float]) -> float:
    workers, take, compute = queue.workers, queue.take, queue.compute
    trip, depth, count = max(0.0, queue.trip - take), queue.workers * queue.ahead, len(loads)
    lead = min(count // 4, 8 * depth + 16)
    ready = [0.0] * workers
    waiting: list[tuple[float, int]] = []
    for place in range(depth):
        worker = place % workers
        ready[worker] += loads[(place - lead - depth) % count]
        waiting.append((ready[worker] + trip, worker))
    heapify(waiting)
    free = warm = 0.0
    for index in range(-lead, count):
        if index == 0:
            warm = free
        seen, worker = waiting[0]
        got = (free if free > seen else seen) + take
        begun = ready[worker] if ready[worker] > got else got
        ready[worker] = begun + loads[index]
        heapreplace(waiting, (ready[worker] + trip, worker))
        free = got + compute
    return (free - warm) / count


@lru_cache(maxsize=64)
def _factors(cv: float) -> tuple[float, ...]:
    """Quantiles of a lognormal distribution of mean 1, shuffled: their mean is exact, so a thousand of them suffice."""
    if cv <= 0:
        return (1.0,) * BATCHES
    sigma = sqrt(log(1 + cv * cv))
    normal = NormalDist()
    values = [exp(sigma * normal.inv_cdf((place + 0.5) / BATCHES)) for place in range(BATCHES)]
    Random(1).shuffle(values)  # noqa: S311
    mean = sum(values) / BATCHES
    return tuple(value / mean for value in values)
