"""Student's t without scipy: the quantile of an interval, for fractional degrees of freedom too."""

from __future__ import annotations

from functools import lru_cache
from math import exp, inf, lgamma, log

TINY = 1e-300
FURTHEST = 1e4


def quantile(level: float, freedom: float) -> float:
    """t with P(|T| ≤ t) = `level`; relative error below 1e-6, cut off at 10 000 and at 1 degree of freedom."""
    if not 0 < level < 1:
        raise ValueError(f"level {level} lies outside 0 to 1")
    return _quantile(level, round(min(max(freedom, 1.0), 1e6), 2))


@lru_cache(maxsize=4096)
def _quantile(level: float, freedom: float) -> float:
    low, high = 0.0, FURTHEST
    while high - low > 1e-8 * (1 + low):
        middle = (low + high) / 2
        if outside(middle, freedom) > 1 - level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def outside(t: float, freedom: float) -> float:
    """P(|T| > t): the regularised incomplete beta function at ν/(ν+t²) (Abramowitz and Stegun 26.7.1, 26.5.27)."""
    if t == inf:
        return 0.0
    return _beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def _beta(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta I_x(a, b), by its continued fraction on the side where that converges fast."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of Abramowitz and Stegun 26.5.8, by Lentz's method."""
    c, d = 1.0, 1 / _kept(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 500):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _kept(1 + step * d)
            c = _kept(1 + step / c)
            value *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return value


def _kept(value: float) -> float:
    return value if abs(value) > TINY else TINY
