"""The terms of a loss over a run: what each contributed on average in every epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from engine.journals.events import EpochEnded, Steps
from engine.live.held_out import POINTS
from engine.live.state import RunState

# Sum over lines and how many lines.
Sums = dict[str, tuple[float, int]]
PREFIX = "loss/"


def added(sums: Sums, lines: Sequence[Steps]) -> Sums:
    """The epoch's sums with what those lines say. A term that counts at some steps only is in their lines alone."""
    if not any(line.losses for line in lines):
        return sums
    found = dict(sums)
    for line in lines:
        for name, value in (line.losses or {}).items():
            if value == value:  # of nothing but numbers
                total, count = found.get(name, (0.0, 0))
                found[name] = (total + value, count + 1)
    return found


def with_epoch(run: RunState, record: EpochEnded) -> RunState:
    """`run` with a point on each term's curve, and sums that begin anew."""
    if not run.term_sums:
        return run
    curves = dict(run.curves)
    for name, (total, count) in run.term_sums.items():
        key = PREFIX + name
        curves[key] = (*curves.get(key, ()), (record.step, total / count))[-POINTS:]
    return msgspec.structs.replace(run, curves=curves, term_sums={})


def largest_first(losses: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(losses.items(), key=lambda item: -item[1])
