"""What a test of one profile showed: its pace with an interval, from blocks of steps after the warm-up.

A step that waits for data waits for one of W workers, so step times have the period W: with real loaders 4 workers gave
67, 22, 22, 22, 67, … ms. Everything is therefore said of blocks of a multiple of W steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import exp, gcd, inf, sqrt
from typing import Literal, TypeAlias

import msgspec

from engine.config.profile import Value
from engine.phase.settle import settled
from engine.phase.spread import Spread, spread, variance
from engine.phase.student import quantile

Mode: TypeAlias = Literal["train", "resident", "load"]

LEVEL = 0.95
FEWEST_BLOCKS = 3
# Workers are busy all the time at most. More, beyond what clocks are off by, came from batches loaded before the test.
BUSIEST = 1.03


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What loading one sample takes inside a worker: seconds, their coefficient of variation, CPU seconds of it."""

    seconds: float
    cv: float | None = None
    cpu_seconds: float | None = None


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """Means over the `steps` counted ones; warm-up and incomplete blocks are left out.

    `blocks`: seconds per sample of each block of `block` steps; `rounds`: the visit to this profile each block belongs
    to. `quick_seconds`: the mean of the fastest third of the steps, those that found their batch ready. `load_seconds`,
    `load_cv` and `load_cpu_seconds`: one sample inside a worker, None if nobody measured it, the CPU time that of the
    whole worker process. `spans` and `trainer_cpu_seconds`: per step. `samples_low` to `samples_high` is the 95 %
    interval of `samples_per_second`. `unstable`: why the figures should not be relied on, empty if they can. `mode`:
    "resident" trains on one batch again and again (no loading), "load" only loads (no computing).
    """

    knobs: dict[str, Value] = {}
    mode: Mode = "train"
    steps: int
    samples: int
    warmup_steps: int
    step_seconds: float
    quick_seconds: float
    samples_per_second: float
    samples_low: float
    samples_high: float
    block: int
    blocks: tuple[float, ...]
    rounds: tuple[int, ...]
    spans: dict[str, float] = {}
    load_seconds: float | None = None
    load_cv: float | None = None
    load_cpu_seconds: float | None = None
    trainer_cpu_seconds: float | None = None
    unstable: str = ""

    def spread(self) -> Spread | None:
        """None: too few blocks to say."""
        if len(self.blocks) - len(set(self.rounds)) < 1:
            return None
        return spread(self.blocks, self.rounds)


def period(knobs: Mapping[str, Value]) -> int:
    """Steps after which a data-bound training repeats itself: one batch from every worker."""
    workers, passes = int(knobs.get("num_workers", 0)), int(knobs.get("accumulate_steps", 1))
    return max(1, workers // gcd(workers, passes)) if workers else 1


def measured(
    seconds: Sequence[float],
    samples: Sequence[int],
    period: int = 1,
    rounds: Sequence[int] | None = None,
    *,
    knobs: Mapping[str, Value] | None = None,
    mode: Mode = "train",
    spans: Mapping[str, float] | None = None,
    load: Load | None = None,
    trainer_cpu_seconds: float | None = None,
) -> Measurement:
    """From the seconds and samples of every step, in order, from the first one after the loader's start.

    `rounds` gives the visit each step belongs to, if the profile was visited more than once; every visit begins with a
    new loader and has its own warm-up, and its first step, which holds the workers' start, is never counted. Raises
    ValueError if no whole block is left, or for a step without seconds or samples.
    """
    rounds = rounds or [0] * len(seconds)
    if any(s <= 0 or n <= 0 for s, n in zip(seconds, samples, strict=True)):
        raise ValueError("every step takes time and has samples")
    numbered = zip(rounds, seconds, samples, strict=True)
    visits = {number: [(s, n) for _, s, n in group][1:] for number, group in groupby(numbered, key=lambda row: row[0])}
    visits = {number: steps for number, steps in visits.items() if len(steps) >= period}
    fine = [_blocks(steps, period) for steps in visits.values()]
    found = settled(fine)
    # What does not fill a block is left out at the beginning, next to the warm-up.
    kept = {number: steps[found.cut * period + len(steps) % period :] for number, steps in visits.items()}
    kept = {number: steps for number, steps in kept.items() if steps}
    if not kept:
        raise ValueError(f"{len(seconds)} steps hold no whole block of {period} after the warm-up")
    blocks = [(number, value) for number, steps in kept.items() for value in _blocks(steps, period)]
    each = [step for steps in kept.values() for step in steps]
    counted, total = sum(n for _, n in each), sum(s for s, _ in each)
    ordered, third = sorted(s for s, _ in each), max(1, len(each) // 3)
    whole = Measurement(
        knobs=dict(knobs or {}),
        mode=mode,
        steps=len(each),
        samples=counted,
        warmup_steps=len(seconds) - len(each),
        step_seconds=total / len(each),
        quick_seconds=sum(ordered[:third]) / third,
        samples_per_second=counted / total,
        samples_low=0.0,
        samples_high=inf,
        block=period,
        blocks=tuple(value for _, value in blocks),
        rounds=tuple(number for number, _ in blocks),
        spans=dict(spans or {}),
        load_seconds=load.seconds if load else None,
        load_cv=load.cv if load else None,
        load_cpu_seconds=load.cpu_seconds if load else None,
        trainer_cpu_seconds=trainer_cpu_seconds,
    )
    return _judged(whole, found.unsettled)


def merged(visits: Sequence[Measurement]) -> Measurement:
    """One measurement from several of the same profile, each a round of its own. Raises ValueError for none."""
    if not visits:
        raise ValueError("no measurements to merge")
    if len(visits) == 1:
        return visits[0]
    steps, samples = [one.steps for one in visits], [one.samples for one in visits]
    seconds = sum(one.step_seconds * one.steps for one in visits)
    names = sorted({name for one in visits for name in one.spans})
    whole = msgspec.structs.replace(
        visits[0],
        steps=sum(steps),
        samples=sum(samples),
        warmup_steps=sum(one.warmup_steps for one in visits),
        step_seconds=seconds / sum(steps),
        quick_seconds=min(one.quick_seconds for one in visits),
        samples_per_second=sum(samples) / seconds,
        blocks=tuple(value for one in visits for value in one.blocks),
        rounds=_renumbered(visits),
        spans={name: _mean([one.spans.get(name, 0.0) for one in visits], steps) or 0.0 for name in names},
        load_seconds=_mean([one.load_seconds for one in visits], samples),
        load_cv=_mean([one.load_cv for one in visits], samples),
        load_cpu_seconds=_mean([one.load_cpu_seconds for one in visits], samples),
        trainer_cpu_seconds=_mean([one.trainer_cpu_seconds for one in visits], steps),
    )
    return _judged(whole, next((one.unstable for one in visits if one.unstable), ""))


def _judged(whole: Measurement, unsettled: str) -> Measurement:
    """With its interval, and with why it should not be relied on."""
    why = unsettled or _ahead(whole)
    known = whole.spread()
    if known is None or len(whole.blocks) < FEWEST_BLOCKS:
        many = f"{len(whole.blocks)} block{'s' if len(whole.blocks) != 1 else ''} of {whole.block} steps"
        return msgspec.structs.replace(whole, unstable=why or f"only {many} after the warm-up")
    error = variance(known)
    half = exp(quantile(LEVEL, error.freedom) * sqrt(error.value))
    low, high = whole.samples_per_second / half, whole.samples_per_second * half
    return msgspec.structs.replace(whole, samples_low=low, samples_high=high, unstable=why)


def _ahead(whole: Measurement) -> str:
    """Said if more was trained on than the workers can have loaded meanwhile."""
    workers = int(whole.knobs.get("num_workers", 0))
    if not workers or whole.load_seconds is None or whole.mode == "resident":
        return ""
    busy = whole.load_seconds * whole.samples_per_second / workers
    chance = 2 * (whole.load_cv or 0.0) / sqrt(whole.samples)  # its samples need not be those that were timed
    if busy <= BUSIEST + chance:
        return ""
    return f"it lived on batches loaded before it began: the workers would have to be busy {busy:.0%} of the time"


def _blocks(steps: Sequence[tuple[float, int]], size: int) -> list[float]:
    """Seconds per sample of each `size` steps, whole blocks from the end backwards."""
    starts = range(len(steps) % size, len(steps), size)
    return [sum(s for s, _ in steps[i : i + size]) / sum(n for _, n in steps[i : i + size]) for i in starts]


def _renumbered(visits: Sequence[Measurement]) -> tuple[int, ...]:
    numbers: list[int] = []
    for one in visits:
        start = numbers[-1] + 1 if numbers else 0
        order = {number: start + place for place, number in enumerate(dict.fromkeys(one.rounds))}
        numbers += [order[number] for number in one.rounds]
    return tuple(numbers)


def _mean(values: Sequence[float | None], weights: Sequence[int]) -> float | None:
    known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known) if known else None
