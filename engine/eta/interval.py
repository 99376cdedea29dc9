"""Amounts times costs, with a range."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log, sqrt

import msgspec

from engine.eta.calibration import Factor
from engine.eta.costs import Cost
from engine.eta.rhythm import Amounts

NOT_KNOWN = "not known yet"


class Estimate(msgspec.Struct, frozen=True):
    """Remaining seconds with a 90 % range, the wall clock of the end, and what it rests on. `sigma`: standard deviation
    of the logarithm, as modelled, before it is calibrated."""

    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    at: float | None = None
    basis: str = NOT_KNOWN
    sigma: float = 0.0


def interval(amounts: Amounts, costs: Mapping[str, Cost], basis: str, factor: Factor | None = None) -> Estimate:
    """Seconds of all amounts. Standard errors of a cost add up over its units, the noise of single ones does not."""
    seconds = variance = below = above = 0.0
    for name, count in amounts.items():
        cost = costs[name]
        seconds += count * cost.mean
        variance += (count * cost.spread) ** 2 + count * cost.noise**2
        below += count * cost.below
        above += count * cost.above
    if seconds < 1e-9:  # a square of less would underflow
        return Estimate(0.0, 0.0, 0.0, None, basis)
    # Log-normal: never below nothing, and late rather than early.
    sigma = sqrt(log(1 + variance / seconds**2))
    wide = factor or Factor()
    low, high = seconds * exp(-wide.low * sigma), seconds * exp(wide.high * sigma)
    low, high = max(0.0, min(low, seconds - below)), max(high, seconds + above)
    return Estimate(seconds, low, high, None, basis, sigma)


def nested(outer: Estimate, inner: Estimate) -> Estimate:
    """What contains the inner one cannot end before it, nor in its range."""
    return msgspec.structs.replace(
        outer, low=max(outer.low or 0.0, inner.low or 0.0), high=max(outer.high or 0.0, inner.high or 0.0)
    )


def ending(estimate: Estimate, now: float) -> Estimate:
    """With the wall clock of its end."""
    return msgspec.structs.replace(estimate, at=now + (estimate.seconds or 0.0))
