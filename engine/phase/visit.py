"""One visit to a profile: what a course asks for and a conductor does."""

from __future__ import annotations

import msgspec

from engine.config.knob import Value
from engine.journals.events import Mode
from engine.phase.measure import period


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """`steps` of one phase's profile, warm-up included. `low`/`high`: samples per second expected, on what basis."""

    phase: int
    round: int
    name: str
    knobs: dict[str, Value]
    steps: int
    mode: Mode = "train"
    low: float | None = None
    high: float | None = None
    basis: str = ""


def margin(knobs: dict[str, Value]) -> int:
    """Steps at a loader's start that will not count: the first, and a batch from every worker."""
    return 1 + period(knobs)


def whole(steps: int, knobs: dict[str, Value]) -> int:
    """`steps` or more: blocks of a batch from every worker, and what is left out before them."""
    size = period(knobs)
    return -(-steps // size) * size + margin(knobs)
