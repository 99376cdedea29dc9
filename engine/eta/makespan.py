"""How long a queue of trainings takes on several slots: the last end, not the sum."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace
from typing import NamedTuple


class Placed(NamedTuple):
    """One training on a slot (from 0), seconds from now."""

    run: int
    slot: int
    starts: float
    ends: float


def schedule(
    seconds: Sequence[float], slots: int, busy: Sequence[float] = (), gap: float = 0.0, longest_first: bool = False
) -> list[Placed]:
    """Each training goes to the slot that is free first, in the order given: as steptop's queue does it.

    `busy`: how long each slot is still taken by what runs on it now. `gap`: between two trainings of a slot.
    `longest_first`: Graham's LPT order (1969), at most 4/3 − 1/(3·slots) of the best there is. Raises ValueError for no
    slot or a negative time.
    """
    if slots < 1:
        raise ValueError(f"{slots} slots: it takes one or more")
    if min((*seconds, *busy, gap), default=0.0) < 0:
        raise ValueError("a training cannot take less than no time")
    taken = [*busy[:slots], *(0.0 for _ in range(slots - len(busy)))]
    free = [(at + (gap if at > 0 else 0.0), slot) for slot, at in enumerate(taken)]
    heapify(free)
    order = sorted(range(len(seconds)), key=lambda run: -seconds[run]) if longest_first else range(len(seconds))
    placed = []
    for run in order:
        at, slot = free[0]
        placed.append(Placed(run, slot, at, at + seconds[run]))
        heapreplace(free, (at + seconds[run] + gap, slot))
    return placed


def makespan(
    seconds: Sequence[float], slots: int, busy: Sequence[float] = (), gap: float = 0.0, longest_first: bool = False
) -> float:
    """Until the last one ends, those that run now included."""
    return max(ends(seconds, slots, busy, gap, longest_first), default=0.0)


def ends(
    seconds: Sequence[float], slots: int, busy: Sequence[float] = (), gap: float = 0.0, longest_first: bool = False
) -> list[float]:
    """When one after the other ends, those that run now included."""
    return sorted((*busy, *(one.ends for one in schedule(seconds, slots, busy, gap, longest_first))))
