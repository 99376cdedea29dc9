"""Where the warm-up of a short test ends, in either direction, and whether its pace had settled by then.

A loader's start is slow (workers start, files are cold) or too fast: its first `num_workers × prefetch_factor` batches
may have been loaded before anybody asked for one. Both are found, not assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from statistics import median
from typing import NamedTuple

from engine.phase.student import quantile

# A stall is cut to this many times the median where levels are compared; means keep it whole.
CLIP = 3.0
# How sure it must be that two parts of a test differ: several cuts are tried.
SURE = 0.9995
EFFECT = 0.04
# Of cuts about as good the earliest is taken: noise alone would have the best one anywhere.
AS_GOOD = 1.1


class Settled(NamedTuple):
    """The first `cut` positions of each visit are warm-up; `unsettled` says why what follows is not one pace."""

    cut: int
    unsettled: str = ""


def settled(visits: Sequence[Sequence[float]]) -> Settled:
    """From the blocks of one or more visits to a profile, which all begin alike.

    The cut that makes the standard error of the rest smallest (MSER: White 1997, Simulation 69(6)), over all visits at
    once (Welch 1983 averages them by position), no later than in the middle, and only if what it cuts off really
    differs from the rest.
    """
    values = [value for visit in visits for value in visit]
    longest = max((len(visit) for visit in visits), default=0)
    if longest < 3:
        return Settled(0)
    limit = CLIP * median(values)
    clipped = [[min(value, limit) for value in visit] for visit in visits]
    half = longest // 2
    errors = [_error([value for visit in clipped for value in visit[cut:]]) for cut in range(half + 1)]
    best = min(errors)
    cut = next(index for index, error in enumerate(errors) if error <= AS_GOOD * best)
    if cut and not _begins_elsewhere(_part(clipped, 0, 1), _part(clipped, 0, cut), _part(clipped, cut, longest)):
        cut = 0
    third = max(1, (longest - cut) // 3)
    early, late = _part(clipped, cut, cut + third), _part(clipped, longest - third, longest)
    if min(len(early), len(late)) > 1 and _differ(early, late) and _differ(late, early):
        change = sum(late) / len(late) / (sum(early) / len(early)) - 1
        word = "slower" if change > 0 else "faster"
        return Settled(cut, f"its last third is {abs(change):.0%} {word} than its first")
    return Settled(cut)


def _part(visits: Sequence[Sequence[float]], start: int, end: int) -> list[float]:
    return [value for visit in visits for value in visit[start:end]]


def _error(values: Sequence[float]) -> float:
    """The squared standard error of their mean; infinite for one value."""
    count = len(values)
    if count < 2:
        return inf
    mean = sum(values) / count
    return sum((value - mean) ** 2 for value in values) / count**2


def _begins_elsewhere(first: Sequence[float], head: Sequence[float], rest: Sequence[float]) -> bool:
    """A stall among ordinary steps is no warm-up: the very first position differs, or most of the head does."""
    return _differ(head, rest) and (_differ(first, rest) or _differ([median(head)] * len(head), rest))


def _differ(head: Sequence[float], rest: Sequence[float]) -> bool:
    """Student's t of two groups, when their means differ by enough to matter. The rest's spread serves for both: a head
    that falls or rises has one that says nothing about noise."""
    before, after = sum(head) / len(head), sum(rest) / len(rest)
    if abs(before / after - 1) < EFFECT:
        return False
    freedom = len(rest) - 1
    error = sqrt(sum((value - after) ** 2 for value in rest) / max(1, freedom) * (1 / len(head) + 1 / len(rest)))
    return abs(before - after) > quantile(SURE, freedom) * error
