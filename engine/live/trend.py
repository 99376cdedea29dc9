"""Whether a training's memory grows, how fast, and when the machine's is full."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import msgspec

from engine.journals.events import Sample, Worker
from engine.live.filling import Filling
from engine.live.fillings import Fillings
from engine.sizes import said

SHORTEST_SECONDS = 120.0
BINS = 40
FEWEST_BINS = 8
# Growth of less than 1 % of what is used within the readings is not worth a warning.
SMALLEST = 0.01
Z99 = 2.576
# Half of the readings with at most this part of the other half's growth; what it then comes to is taken so many times.
SLOWING, TOO_LITTLE = 0.8, 2.0
# Growth of so many times what a cache explains has another reason beside it.
OTHER_GROWTH = 1.5


class Trend(msgspec.Struct, frozen=True):
    """`per_worker_bytes`: mean of the loader's processes now. `bytes_per_hour`: growth of the whole training, None
    unless it is significant; `full_in_seconds`: until the RAM available now is used up by it, None if it never is.
    `at_most`: bytes it can still grow by where that is bounded, a cache by the volumes there are; `text` says so."""

    per_worker_bytes: float | None = None
    bytes_per_hour: float | None = None
    full_in_seconds: float | None = None
    at_most: float | None = None
    text: str = ""


def memory_trend(
    samples: Sequence[Sample], fillings: Sequence[Filling] = (), shortest: float = SHORTEST_SECONDS
) -> Trend:
    """From readings of the machine, oldest first; those of the newest trainer count, `shortest` seconds at least.

    Growth is the median of slopes (Theil–Sen), believed if its 99 % interval (Sen 1968, JASA 63) lies above zero and
    each third of the readings is above the one before it. PSS, where there is none USS. `fillings`: of each run that
    goes on, what its loader's caches grow by, which ends when every worker has seen every volume.
    """
    if not samples:
        return Trend()
    newest = samples[-1]
    workers = [size(worker) for worker in newest.workers if worker.role == "worker"]
    mean = sum(workers) / len(workers) if workers else None
    points = _used(samples)
    slope, to_come = _growth(points, shortest)
    room = max(0, newest.ram_available)
    if fillings:
        return _bounded(mean, slope, points, room, Fillings(tuple(fillings)))
    if slope is None:
        return Trend(mean)
    if to_come is not None and to_come < room:
        return Trend(mean, slope * 3600, None, to_come, f"slowing down: at most {said(to_come)} more, which fits")
    return Trend(mean, slope * 3600, room / slope)


def _bounded(
    mean: float | None, slope: float | None, points: Sequence[tuple[float, float]], room: float, filling: Fillings
) -> Trend:
    """The caches' growth as far as it was measured, then as volumes are dealt out."""
    factor, other = 1.0, 0.0
    if slope is not None:
        seconds = points[-1][0] - points[0][0]
        share = _share(_binned(points), filling)
        beside = slope - filling.grown(seconds) / seconds
        if share is not None and share <= OTHER_GROWTH:
            factor = share
        elif share is not None or beside > slope / OTHER_GROWTH:
            # More than volumes explain: something else grows too, and has no end.
            other = max(0.0, beside)
    left = factor * filling.to_come
    until = filling.seconds_until(room, factor, other)
    hour = slope * 3600 if slope is not None else None
    if other or left <= 0:
        return Trend(mean, hour, until, None if other else left)
    ends = "which does not fit" if until is not None else "which fits"
    text = f"until every worker has seen all {filling.volumes} volumes: at most {said(left)} more, {ends}"
    return Trend(mean, hour, until, left, text)


def _share(bins: Sequence[tuple[float, float]], filling: Fillings) -> float | None:
    """How many times the growth that volumes explain there was, by least squares; None where that is next to none."""
    told = [filling.held(bins[-1][0] - t) for t, _ in bins]
    middle, level = sum(told) / len(bins), sum(value for _, value in bins) / len(bins)
    across = sum((x - middle) ** 2 for x in told)
    if across <= (SMALLEST * level) ** 2 * len(bins):
        return None
    return max(0.0, sum((x - middle) * (value - level) for x, (_, value) in zip(told, bins, strict=True)) / across)


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


def growth(points: Sequence[tuple[float, float]], shortest: float = SHORTEST_SECONDS) -> float | None:
    """Bytes per second of (seconds, bytes) readings, oldest first; None unless they really grow."""
    return _growth(points, shortest)[0]


def _growth(points: Sequence[tuple[float, float]], shortest: float) -> tuple[float | None, float | None]:
    """Bytes per second, and the bytes still to come if it surely slows down.

    Where the second half of the readings grows at another pace than all of them, at that one. Where it is slower than
    the first half by a constant part, and goes on to be by every such time, growth has an end.
    """
    if len(points) < FEWEST_BINS or points[-1][0] - points[0][0] < shortest:
        return None, None
    bins = _binned(points)
    if len(bins) < FEWEST_BINS:
        return None, None
    slope, lowest, _ = _theil_sen(bins)
    third = len(bins) // 3
    levels = [_median([value for _, value in part]) for part in (bins[:third], bins[third:-third], bins[-third:])]
    rises = levels[0] < levels[1] < levels[2]
    risen = slope * (bins[-1][0] - bins[0][0])
    if lowest <= 0 or not rises or risen <= SMALLEST * abs(levels[1]):
        return None, None
    half = len(bins) // 2
    if half < FEWEST_BINS:
        return slope, None
    before, least, _ = _theil_sen(bins[:half])
    lately, low, high = _theil_sen(bins[half:])
    if low <= slope <= high:
        return slope, None
    if low <= 0:
        return None, None
    if high >= least or lately > SLOWING * before:
        return lately, None
    part = lately / before
    return lately, TOO_LITTLE * lately * (bins[-1][0] - bins[half][0]) * part / (1 - part)


def _theil_sen(bins: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """The median of all slopes between two points, and its 99 % interval."""
    count = len(bins)
    slopes = sorted(
        (later[1] - earlier[1]) / (later[0] - earlier[0]) for i, earlier in enumerate(bins) for later in bins[i + 1 :]
    )
    margin = Z99 * sqrt(count * (count - 1) * (2 * count + 5) / 18)
    lowest = slopes[max(0, round((len(slopes) - margin) / 2))]
    highest = slopes[min(len(slopes) - 1, round((len(slopes) + margin) / 2))]
    return slopes[len(slopes) // 2], lowest, highest


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
