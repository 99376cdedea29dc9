"""How sure it is how long an epoch, a run and the experiment would take with a profile."""

from __future__ import annotations

from math import isfinite

from engine.phase.phases import UNKNOWN, PhaseResult


def ranges(one: PhaseResult) -> dict[str, tuple[float, float]]:
    """Seconds from and to, by the 95 % interval of its samples per second; empty where that is not known."""
    found = one.measured
    if found is None or not found.samples_low or not isfinite(found.samples_high):
        return {}
    if found.samples_high > UNKNOWN * found.samples_low:
        return {}
    quick, slow = found.samples_per_second / found.samples_high, found.samples_per_second / found.samples_low
    return {name: (seconds * quick, seconds * slow) for name, seconds in one.seconds.items()}
