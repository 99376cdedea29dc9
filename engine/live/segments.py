"""A pace, and what it is made of: buckets for curves, segments of one pace each, and blocks that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from engine.journals.events import Steps
from engine.live.drift import Creep


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """Consecutive steps: `last` is the last one's number; seconds are summed; loss is the mean (NaN if unknown)."""

    last: int
    steps: int
    seconds: float
    low: float
    high: float
    loss: float
    t: float


class Segment(msgspec.Struct, frozen=True, gc=False):
    """Steps of one pace. `first` is its first step; `since` the wall clock at its beginning.

    `variance` (s²) is the long-run one of a step: a mean over n steps has the variance `variance / n`, stalls, bursts
    and autocorrelation included. `noticed` is when the change was seen, `ratio` its pace over the one before then (0:
    not a change but a beginning). `attempt` counts the resumes before it.
    """

    first: int
    steps: int
    seconds: float
    variance: float
    since: float
    noticed: float = 0.0
    ratio: float = 0.0
    attempt: int = 0

    @property
    def mean(self) -> float:
        return self.seconds / self.steps if self.steps else 0.0


class Mark(msgspec.Struct, frozen=True, gc=False):
    """A place between two records: the number of the step after it, and steps and seconds of the run before it."""

    first: int = 0
    steps: int = 0
    seconds: float = 0.0
    since: float = 0.0


class Block(msgspec.Struct, frozen=True, gc=False):
    """Consecutive records; `value` is their mean seconds per step."""

    start: Mark
    value: float


class Columns(NamedTuple):
    """n records, and the running sums of their steps and seconds over the run (n + 1 of each)."""

    records: Sequence[Steps]
    steps: list[int]
    seconds: list[float]

    def mark(self, index: int) -> Mark:
        """The place before record `index`."""
        if index == len(self.records):
            last = self.records[-1]
            return Mark(last.step + 1, self.steps[-1], self.seconds[-1], last.t)
        record = self.records[index]
        return Mark(record.step - record.steps + 1, self.steps[index], self.seconds[index], record.t - record.seconds)


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The fold of all `steps` records of a run. `segments[-1]` is the present pace, warm-up left out.

    `warm_steps`, `warming` and `warm_over` (wall clock) tell of the present attempt's warm-up; while a resumed attempt
    warms up, `segments[-1]` is the pace it had.
    `begun` is where the open segment (while warming: the attempt) begins, `opened` where the block under way does.
    """

    buckets: tuple[Bucket, ...] = ()
    steps: int = 0
    seconds: float = 0.0
    warm_steps: int = 0
    warming: bool = True
    segments: tuple[Segment, ...] = ()
    attempt: int = 0
    warm_over: float = 0.0
    creep: Creep | None = None

    bucket_records: int = 1
    bucket_filled: int = 0
    bucket_losses: int = 0
    bucket_seconds: float = 0.0
    bucket_loss: float = 0.0
    waiting: tuple[Steps, ...] = ()
    records: int = 0
    opened: Mark = Mark()
    begun: Mark = Mark()
    levels: tuple[tuple[Block, ...], ...] = ()
    begun_at: int = 0
