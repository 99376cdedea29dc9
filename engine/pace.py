"""How fast steps go: warm-up, segments between changes of pace, and a bounded history for curves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.events import Steps

MAX_BUCKETS = 512


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """Consecutive steps: `last` is the number of the last one; seconds are summed; loss is the mean (NaN if unknown)."""

    last: int
    steps: int
    seconds: float
    low: float
    high: float
    loss: float
    t: float


class Segment(msgspec.Struct, frozen=True, gc=False):
    """Steps of one pace. `first` is its first step; `since` the wall clock at its beginning."""

    first: int
    steps: int
    seconds: float
    variance: float
    since: float

    @property
    def mean(self) -> float:
        return self.seconds / self.steps if self.steps else 0.0


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """The fold of all `steps` records of a run. `segments[-1]` is the present pace, warm-up left out."""

    buckets: tuple[Bucket, ...] = ()
    steps: int = 0
    seconds: float = 0.0
    warm_steps: int = 0
    warm_seconds: float = 0.0
    warming: bool = True
    segments: tuple[Segment, ...] = ()


def add(pace: Pace, records: Sequence[Steps]) -> Pace:
    """`pace` with `records` (in order) folded in."""
    raise NotImplementedError


def rewound(pace: Pace, step: int) -> Pace:
    """`pace` for a resume after `step`: steps done beyond it are forgotten, and warm-up begins anew."""
    raise NotImplementedError


def changes(before: Pace, after: Pace) -> list[tuple[float, str, str]]:
    """What `after` knows that `before` did not, as (wall clock, sentence, level): warm-up over, pace changed."""
    raise NotImplementedError
