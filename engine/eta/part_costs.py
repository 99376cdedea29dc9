"""What a span of a run and a process's start and end cost."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot, sqrt

from engine.eta.costs import CLOSING_SECONDS, EARLIER, Cost, closings
from engine.eta.variants import pooled_alike
from engine.live.state import ExperimentState


def part_cost(state: ExperimentState, name: str, history: Mapping[str, float], fallback: Cost) -> Cost:
    """One span called `name`: measured in any run, else from `history`, else `fallback`."""
    part = pooled_alike(state, name)
    if part.count:
        error = hypot(0.1 / sqrt(part.count), 0.02) * part.mean
        return Cost(part.mean, error, 0.15 * part.mean, basis="measured here", kind="measured")
    if name in history:
        return Cost(history[name], 0.15 * history[name], 0.15 * history[name], basis=EARLIER, kind="earlier")
    return fallback


def closing_cost(state: ExperimentState, history: Mapping[str, float]) -> Cost:
    """What a run takes beside steps and spans: its process's start and end."""
    left = closings(state)
    if not left and "closing" in history:
        mean = history["closing"]
        return Cost(mean, 0.3 * mean, 0.3 * mean, basis=EARLIER, kind="earlier")
    if not left:
        return Cost(CLOSING_SECONDS, CLOSING_SECONDS)
    mean = sum(left) / len(left)
    return Cost(mean, 0.3 * mean, 0.3 * mean, basis="measured here", kind="measured")
