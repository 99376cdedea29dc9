"""Where a series of step times stops being slow to start, and where it changes its level."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import inf, sqrt

SETTLED = 10
WARM_LIMIT = 64
SLOWER = 1.3
STILL = 1.15
# A stall is cut to this many times the median where levels are compared; the means of the forecast keep it whole.
CLIP = 3.0
SIDE = 6
# Student's t that a split must reach: about 1e-5 per look at 60 values, more at few (`_threshold`). A series of n
# values is looked at n times, at every split and at several resolutions.
T_ENOUGH = 5.2
EFFECT = 0.05


def warmup(values: Sequence[float]) -> int | None:
    """How many of the first `values` (seconds per step) are warm-up; None while that cannot be told.

    The cut that makes the standard error of the rest smallest (MSER: White 1997, Simulation 69(6)), in the first half
    only, and only as far as values are really slower than the rest; known once the rest has stopped falling.
    """
    count = len(values)
    if count < SETTLED:
        return None
    limit = CLIP * _median(values)
    clipped = [min(value, limit) for value in values]
    rest = squares = 0.0
    best, cut = inf, 0
    half = count // 2
    for index in range(count - 1, -1, -1):
        rest += clipped[index]
        squares += clipped[index] ** 2
        size = count - index
        if index <= half and size > 1:
            error = max(0.0, squares - rest * rest / size) / size**2
            if error <= best:
                best, cut = error, index
    middle = (cut + count) // 2
    falling = _median(values[cut:middle]) > STILL * _median(values[middle:])
    longer = cut == half and values[cut] > SLOWER * _median(values[cut:])
    if (falling or longer) and count < WARM_LIMIT:
        return None
    level = sum(clipped[cut:]) / (count - cut)
    return max((index + 1 for index in range(cut) if values[index] > SLOWER * level), default=0)


def split(values: Sequence[float]) -> int | None:
    """The index at which the level of `values` changes, or None.

    The split with the largest between-group sum of squares, judged by Student's t with the variance inflated for
    lag-1 autocorrelation of what the split leaves; and both medians must differ by 5 % or more.
    """
    count = len(values)
    if count < 2 * SIDE:
        return None
    limit = CLIP * _median(values)
    clipped = [value if value < limit else limit for value in values]
    sums = list(accumulate(clipped))
    mean = sums[-1] / count
    best, at = 0.0, 0
    for index in range(SIDE, count - SIDE + 1):
        away = sums[index - 1] - index * mean
        between = away * away / (index * (count - index))
        if between > best:
            best, at = between, index
    if at in (0, SIDE, count - SIDE):
        return None  # at the edge of what may be looked at: the change itself lies beyond, or has only begun
    total = sum(value * value for value in clipped) - count * mean * mean
    explained = best * count
    if explained < 0.2 * total:
        return None
    within = max(total - explained, 1e-9 * mean * mean * count) / (count - 2)
    before, after = sums[at - 1] / at, (sums[-1] - sums[at - 1]) / (count - at)
    rest = [value - before for value in clipped[:at]] + [value - after for value in clipped[at:]]
    t = sqrt(explained / within / _inflation(rest))
    if t < _threshold(count - 2):
        return None
    old, new = _median(clipped[:at]), _median(clipped[at:])
    if old <= 0 or abs(new / old - 1) < EFFECT or abs(after / before - 1) < EFFECT:
        return None
    return at


def _threshold(freedom: int) -> float:
    return T_ENOUGH * (1 + 5 / freedom)


def _inflation(rest: Sequence[float]) -> float:
    """Variance of a mean of autocorrelated values over that of independent ones, (1+ρ)/(1−ρ), never below 1.

    ρ is estimated low by about (1 + 3ρ)/n from n values (Marriott and Pope 1954); that is given back.
    """
    squares = sum(value * value for value in rest)
    if squares <= 0:
        return 1.0
    lagged = sum(a * b for a, b in pairwise(rest))
    rho = lagged / squares
    rho = min(0.9, max(0.0, rho + (2 + 4 * max(rho, 0.0)) / len(rest)))
    return (1 + rho) / (1 - rho)


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
