"""What is left of an experiment whose runs go on side by side: until the last one ends, not the sum of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.eta.costs import Cost, step_cost
from engine.eta.makespan import makespan
from engine.eta.remaining import of_run
from engine.eta.rhythm import Amounts, added
from engine.live.state import ExperimentState


def seconds_of(amounts: Amounts, costs: Mapping[str, Cost]) -> float:
    return sum(count * costs[name].mean for name, count in amounts.items())


def shared(each: Sequence[Amounts], costs: Mapping[str, Cost], slots: int) -> Amounts:
    """Of runs that wait, in their order, on so many slots: the sum of all, in shares that last until the last end."""
    whole: Amounts = {}
    for amounts in each:
        whole = added(whole, amounts)
    every = [seconds_of(amounts, costs) for amounts in each]
    whole_time = sum(every)
    share = makespan(every, slots) / whole_time if slots > 1 and whole_time > 0 else 1.0
    return {name: count * share for name, count in whole.items()}


class Going(NamedTuple):
    """A run under way: `seconds` that it still takes by its own pace, and `amounts` that come to them at the costs of
    the run that is shown."""

    amounts: Amounts
    seconds: float


def under_way(state: ExperimentState, own: Amounts | None, costs: Mapping[str, Cost]) -> list[Going]:
    """Every run that goes on, the one that is shown first. `own`: what is left of that one; None where it has ended."""
    found = [Going(own, seconds_of(own, costs))] if own is not None else []
    for place in state.under_way:
        run = state.runs[place]
        if place == state.current and own is not None:
            continue
        step = step_cost(state, run, ())
        mine = {**costs, "step": step} if step is not None else costs
        if (left := of_run(state, run, mine)) is not None:
            seconds, counted = seconds_of(left[1], mine), seconds_of(left[1], costs)
            # Of units at the costs of the run that is shown, as many as take what it takes by its own pace.
            factor = seconds / counted if counted else 1.0
            found.append(Going({name: count * factor for name, count in left[1].items()}, seconds))
    return found


def until_last(
    state: ExperimentState, own: Amounts, later: Sequence[Amounts], costs: Mapping[str, Cost]
) -> Amounts:
    """All that is left, in shares: as much of each unit as makes their sum the time until the last run ends.

    `own`: what is left of the run that is shown; `later`: of each that waits, in their order, which go to the slots as
    they come free. The others under way count by their own pace.
    """
    going = under_way(state, own, costs)
    busy, each = [one.seconds for one in going], [seconds_of(amounts, costs) for amounts in later]
    whole: Amounts = {}
    for amounts in (*(one.amounts for one in going), *later):
        whole = added(whole, amounts)
    every = sum(busy) + sum(each)
    share = makespan(each, state.plan.slots, sorted(busy)) / every if every else 1.0
    return {name: count * share for name, count in whole.items()}
