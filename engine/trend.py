"""Whether a training's memory grows, how fast, and when the machine's is full."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import msgspec

from engine.events import Sample, Worker

SHORTEST_SECONDS = 120.0
BINS = 40
FEWEST_BINS = 8
# Growth of less than 1 % of what is used within the readings is not worth a warning.
SMALLEST = 0.01
Z99 = 2.576


class Trend(msgspec.Struct, frozen=True):
    """`per_worker_bytes`: mean of the loader's processes now. `bytes_per_hour`: growth of the whole training, None
    unless it is significant; `full_in_seconds`: until the RAM available now is used up by it."""

    per_worker_bytes: float | None = None
    bytes_per_hour: float | None = None
    full_in_seconds: float | None = None


def memory_trend(samples: Sequence[Sample]) -> Trend:
    """From readings of the machine, oldest first; those of the newest trainer count.

    Growth is the median of slopes (Theil–Sen), believed if its 99 % interval (Sen 1968, JASA 63) lies above zero, each
    third of the readings is above the one before it, and there are two minutes of them. PSS, where there is none USS.
    """
    if not samples:
        return Trend()
    newest = samples[-1]
    workers = [size(worker) for worker in newest.workers if worker.role == "worker"]
    mean = sum(workers) / len(workers) if workers else None
    slope = growth(_used(samples))
    if slope is None:
        return Trend(mean)
    return Trend(mean, slope * 3600, max(0, newest.ram_available) / slope)


def size(worker: Worker) -> float:
    """Memory that would be free again without this process, as well as is known."""
    return float(next((value for value in (worker.pss, worker.uss) if value is not None), worker.rss))


def _used(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """(monotonic seconds, bytes of the training's processes), as long as its trainer has been the same."""
    trainers = _trainers(samples[-1])
    points: list[tuple[float, float]] = []
    if not trainers:
        return points
    for sample in reversed(samples):
        if _trainers(sample) != trainers or (points and sample.m >= points[-1][0]):
            break
        points.append((sample.m, sum(size(worker) for worker in sample.workers)))
    return points[::-1]


def _trainers(sample: Sample) -> frozenset[int]:
    return frozenset(worker.pid for worker in sample.workers if worker.role == "trainer")


def growth(points: Sequence[tuple[float, float]]) -> float | None:
    """Bytes per second of (seconds, bytes) readings, oldest first; None unless they really grow."""
    if len(points) < FEWEST_BINS or points[-1][0] - points[0][0] < SHORTEST_SECONDS:
        return None
    bins = _binned(points)
    count = len(bins)
    if count < FEWEST_BINS:
        return None
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0]) for i, earlier in enumerate(bins) for later in bins[i + 1 :]
    )
    slope = slopes[len(slopes) // 2]
    margin = Z99 * sqrt(count * (count - 1) * (2 * count + 5) / 18)
    lowest = slopes[max(0, round((len(slopes) - margin) / 2))]
    third = count // 3
    levels = [_median([value for _, value in part]) for part in (bins[:third], bins[third:-third], bins[-third:])]
    rises = levels[0] < levels[1] < levels[2]
    risen = slope * (bins[-1][0] - bins[0][0])
    return slope if lowest > 0 and rises and risen > SMALLEST * abs(levels[1]) else None


def _binned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Medians over equal spans of time: readings are repeated until the next look at a process."""
    begin, whole = points[0][0], points[-1][0] - points[0][0]
    bins: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        bins.setdefault(min(BINS - 1, int((point[0] - begin) / whole * BINS)), []).append(point)
    return [(_median([t for t, _ in inside]), _median([v for _, v in inside])) for _, inside in sorted(bins.items())]


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
