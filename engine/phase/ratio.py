"""Whether one profile is faster than another: the ratio of their samples per second, with what it can be relied on."""

from __future__ import annotations

from math import ceil, exp, inf, sqrt
from typing import Literal, TypeAlias

import msgspec

from engine.phase.measure import LEVEL, Measurement
from engine.phase.spread import variance
from engine.phase.student import quantile

# Steps that are added at a time.
FEWEST, MOST = 20, 100
Call: TypeAlias = Literal["faster", "slower", "not distinguishable"]


class Ratio(msgspec.Struct, frozen=True):
    """`value` = samples/s of the second over the first, `low` to `high` its 95 % interval."""

    value: float
    low: float
    high: float
    verdict: Call

    @property
    def precision(self) -> float:
        """Half the interval, relative: 0.015 is ±1.5 %."""
        return sqrt(self.high / self.low) - 1 if self.low > 0 else inf


def ratio(a: Measurement, b: Measurement) -> Ratio:
    """How many times faster `b` is than `a`, both stable or not.

    The logarithm of the ratio of mean block times, by Student's t with Welch-Satterthwaite degrees of freedom; the
    variance includes the blocks' autocorrelation and, when both were visited more than once, what visits differ by.
    """
    first, second = a.spread(), b.spread()
    value = b.samples_per_second / a.samples_per_second
    if first is None or second is None:
        return Ratio(value, 0.0, inf, "not distinguishable")
    error = variance(first, second)
    half = exp(quantile(LEVEL, error.freedom) * sqrt(error.value))
    low, high = value / half, value * half
    return Ratio(value, low, high, "faster" if low > 1 else "slower" if high < 1 else "not distinguishable")


def steps_needed(measurement: Measurement, precision: float) -> int:
    """How many more steps, in whole blocks, bring the 95 % interval of its pace to ±`precision` (0.05 is ±5 %); 0 when
    it is there. Within FEWEST to MOST: what visits differ by is not lessened by a longer visit, only by more."""
    known = measurement.spread()
    if known is None:
        return _whole(FEWEST, measurement.block)
    t = quantile(LEVEL, known.within.freedom)
    short = known.within.value * (t / precision) ** 2
    if short <= 1:
        return 0
    return _whole(min(MOST, max(FEWEST, ceil((short - 1) * measurement.steps))), measurement.block)


def _whole(steps: int, block: int) -> int:
    return ceil(steps / block) * block
