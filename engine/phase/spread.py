"""How well a mean over blocks of steps is known: noise within a visit to a profile, and between its visits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from math import ceil

import msgspec

# What visits to one profile differ by (relative standard deviation) on a quiet machine: processes land on other cores,
# memory elsewhere. Real loaders: 0.3 % when they wait, 0.7 to 1.6 % when they compute. A single visit can not show it.
VISIT, VISIT_ALONE = 0.005, 0.01
MOST_RHO = 0.9
FEW = 6
# More blocks than this are joined: what changes more slowly than a block shows in the autocorrelation of few long ones.
MOST_BLOCKS = 24


class Variance(msgspec.Struct, frozen=True):
    """Of a mean, relative to it squared, with the degrees of freedom it is known with."""

    value: float
    freedom: float

    def __add__(self, other: Variance) -> Variance:
        """Of a difference of two means (Welch 1947; Satterthwaite 1946)."""
        return Variance(self.value + other.value, satterthwaite(self, other))


class Spread(msgspec.Struct, frozen=True):
    """Of the mean of blocks. `within`: from blocks of the same visit, their autocorrelation included; `between`: from
    the visits' means, None with one visit. `inflation`: variance of the mean over that of independent blocks."""

    mean: float
    within: Variance
    between: Variance | None
    inflation: float
    visits: int


def spread(blocks: Sequence[float], rounds: Sequence[int]) -> Spread:
    """Of at least two blocks, at least one visit with two. Raises ValueError for fewer."""
    visits = [[value for _, value in group] for _, group in groupby(zip(rounds, blocks, strict=True), key=_first)]
    mean = sum(blocks) / max(1, len(blocks))
    visits = [_joined(visit, ceil(len(blocks) / MOST_BLOCKS)) for visit in visits]
    count = sum(len(visit) for visit in visits)
    freedom = count - len(visits)
    if freedom < 1 or mean <= 0:
        raise ValueError(f"{len(blocks)} blocks in {len(visits)} visits: no variance without two in one")
    means = [sum(visit) / len(visit) for visit in visits]
    rest = [[value / mean - own / mean for value in visit] for visit, own in zip(visits, means, strict=True)]
    squares = sum(value * value for visit in rest for value in visit)
    lagged = sum(a * b for visit in rest for a, b in pairwise(visit))
    inflation = _inflation(lagged / squares if squares else 0.0, count, len(visits))
    within = Variance(squares / freedom * inflation / count, max(1.0, freedom / inflation))
    between = None
    if len(visits) > 1:
        middle = sum(means) / len(means)
        among = sum((own / middle - 1) ** 2 for own in means) / (len(means) - 1)
        between = Variance(among / len(means), len(means) - 1)
    return Spread(mean, within, between, inflation, len(visits))


def variance(*spreads: Spread) -> Variance:
    """Of the logarithm of a ratio of means (or of one mean): the noise within visits, more if visits differ by more,
    and never less than what visits are known to differ by."""
    within = _sum([one.within for one in spreads])
    floor = sum(VISIT**2 / one.visits if one.visits > 1 else VISIT_ALONE**2 for one in spreads)
    between = [one.between for one in spreads if one.between is not None]
    if len(between) == len(spreads):
        among = _sum(between)
        excess = Variance(max(0.0, among.value - within.value), among.freedom)
        within = Variance(within.value + excess.value, satterthwaite(within, excess))
    return Variance(within.value + floor, within.freedom)


def satterthwaite(a: Variance, b: Variance) -> float:
    """Degrees of freedom of the sum of two variances."""
    squares = a.value**2 / a.freedom + b.value**2 / b.freedom
    return (a.value + b.value) ** 2 / squares if squares else a.freedom + b.freedom


def _sum(parts: Sequence[Variance]) -> Variance:
    total = parts[0]
    for part in parts[1:]:
        total += part
    return total


def _inflation(rho: float, count: int, visits: int) -> float:
    """Variance of a mean of autocorrelated blocks over that of independent ones, (1+ρ)/(1−ρ), never below 1.

    ρ is estimated low by about (1 + 3ρ)/n from n values around their own mean (Marriott and Pope 1954); given back.
    With several visits what lasts longer than one shows between them, so few blocks need not prove there is none.
    """
    most = MOST_RHO if visits == 1 else min(MOST_RHO, count / (count + FEW))
    rho = min(most, rho + (1 + 3 * max(0.0, rho)) * visits / count)
    return max(1.0, (1 + rho) / (1 - rho))


def _joined(visit: Sequence[float], size: int) -> list[float]:
    """Means of `size` blocks each, at least two of them if there are two blocks."""
    size = max(1, min(size, len(visit) // 2))
    return [sum(visit[i : i + size]) / size for i in range(len(visit) % size, len(visit), size)]


def _first(pair: tuple[int, float]) -> int:
    return pair[0]
