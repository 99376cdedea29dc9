"""What other tools say about the end at the same moment: tqdm, rich, a mean since the start, MONAI's Auto3DSeg.

Each gets the wall clock of every step's end, validation and checkpoints in between as the loop meets them, and gives the
seconds left. Written after their documented behaviour (tqdm 4.67, rich 14, MONAI 1.5 algorithm templates).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.journals.events import AnyRecord, Begin, SpanEnded, Steps

SMOOTHING, MIN_INTERVAL = 0.3, 0.1
PERIOD_SECONDS, PERIOD_SAMPLES = 30.0, 1000


@dataclass(frozen=True)
class Steptimes:
    """`ends[i]`: monotonic clock of the end of step i (0: the beginning of the run). `validations`: (step, seconds)."""

    total: int
    per_epoch: int
    ends: tuple[float, ...]
    validations: tuple[tuple[int, float], ...]


def step_times(records: Sequence[AnyRecord]) -> Steptimes:
    """Of one attempt's journal; the steps of a line are taken to be equally long."""
    begin = next(record for record in records if isinstance(record, Begin))
    ends, validations = [records[0].m], []
    for record in records:
        if isinstance(record, Steps):
            each = record.seconds / record.steps
            ends += [record.m - each * left for left in range(record.steps - 1, -1, -1)]
        elif isinstance(record, SpanEnded) and record.name == "validate":
            validations.append((record.step, record.seconds))
    return Steptimes(begin.epochs * begin.steps_per_epoch, begin.steps_per_epoch, tuple(ends), tuple(validations))


def tqdm(times: Steptimes, step: int) -> float | None:
    """Exponential moving averages (0.3) of steps and of seconds between two prints, at most ten a second."""
    steps = seconds = weight = 0.0
    shown, last = times.ends[0], 0
    for index in range(1, step + 1):
        gone = times.ends[index] - shown
        if gone >= MIN_INTERVAL:
            beta = 1 - SMOOTHING
            steps = SMOOTHING * (index - last) + beta * steps
            seconds = SMOOTHING * gone + beta * seconds
            weight = 1.0
            shown, last = times.ends[index], index
    if not weight or steps <= 0:
        return mean(times, step)
    return (times.total - step) * seconds / steps


def rich(times: Steptimes, step: int) -> float | None:
    """Speed over the last 30 s, at most 1,000 updates."""
    window: deque[float] = deque(maxlen=PERIOD_SAMPLES)
    now = times.ends[step]
    for end in times.ends[: step + 1]:
        if end >= now - PERIOD_SECONDS:
            window.append(end)
    seconds = window[-1] - window[0]
    return (times.total - step) * seconds / (len(window) - 1) if len(window) > 1 and seconds > 0 else None


def mean(times: Steptimes, step: int) -> float | None:
    """Since the start: tqdm with smoothing 0, Keras, Lightning."""
    return (times.ends[step] - times.ends[0]) / step * (times.total - step) if step else None


def auto3dseg(times: Steptimes, step: int) -> float | None:
    """The last epoch's training time × epochs left + the last validation × validations left; None in the first epoch."""
    epochs = step // times.per_epoch
    if not epochs:
        return None
    closed = epochs * times.per_epoch
    done = [(at, seconds) for at, seconds in times.validations if at <= closed and at < step]
    before = [seconds for at, seconds in done if at == closed - times.per_epoch]
    train = times.ends[closed] - times.ends[closed - times.per_epoch] - sum(before)
    left = times.total // times.per_epoch - epochs
    ever = len(done) / epochs
    validation = done[-1][1] * ever * left if done else 0.0
    return train * left + validation - (times.ends[step] - times.ends[closed])


TOOLS: dict[str, Callable[[Steptimes, int], float | None]] = {
    "tqdm": tqdm, "rich 30 s": rich, "mean": mean, "Auto3DSeg": auto3dseg,
}
