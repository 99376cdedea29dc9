"""How much faster one way is than another, from measurements taken turn and turn about."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from engine.phase.student import quantile

LEVEL = 0.95


class Ratio(NamedTuple):
    """`low` to `high`: its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"×{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"

    def percent(self) -> str:
        """What it is over 1, or under it."""
        middle, low, high = ((part - 1) * 100 for part in self)
        return f"{middle:+.1f} % ({low:+.1f} to {high:+.1f})"


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """How many times as much the first is as the second, measured in pairs: the mean of the logarithms of their ratios,
    by Student's t. With one pair nothing is known of its interval."""
    logs = [math.log(a / b) for a, b in zip(first, second, strict=True)]
    middle = statistics.fmean(logs)
    half = math.inf
    if len(logs) > 1:
        half = quantile(LEVEL, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(middle), math.exp(middle - half), math.exp(middle + half) if half < math.inf else math.inf)


def turns(names: Sequence[str], round_number: int) -> list[str]:
    """The order of a round: another one each time, and every second one backwards, so that none always goes first."""
    at = round_number // 2 % len(names)
    order = [*names[at:], *names[:at]]
    return order if round_number % 2 == 0 else order[::-1]
