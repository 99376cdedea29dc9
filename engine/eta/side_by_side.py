"""What is left of an experiment whose runs go on side by side: until the last one ends, not the sum of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.eta.costs import Cost, KeyTiming, step_cost
from engine.eta.makespan import makespan
from engine.eta.remaining import Amounts, added, of_run
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


def until_last(
    state: ExperimentState,
    own: Amounts,
    later: Sequence[Amounts],
    costs: Mapping[str, Cost],
    history: Sequence[KeyTiming] = (),
) -> Amounts:
    """All that is left, in shares: as much of each unit as makes their sum the time until the last run ends.

    `own`: what is left of the run that is shown; `later`: of each that waits, in their order, which go to the slots as
    they come free. The others under way count by their own pace.
    """
    busy, whole = [seconds_of(own, costs)], own
    for place in state.under_way:
        run = state.runs[place]
        if place == state.current:
            continue
        step = step_cost(state, run, history)
        mine = {**costs, "step": step} if step is not None else costs
        if (left := of_run(state, run, mine)) is not None:
            seconds, counted = seconds_of(left[1], mine), seconds_of(left[1], costs)
            busy.append(seconds)
            # Of units at the costs of the run that is shown, as many as take what it takes by its own pace.
            factor = seconds / counted if counted else 1.0
            whole = added(whole, {name: count * factor for name, count in left[1].items()})
    each = [seconds_of(amounts, costs) for amounts in later]
    for amounts in later:
        whole = added(whole, amounts)
    every = sum(busy) + sum(each)
    share = makespan(each, state.plan.slots, sorted(busy)) / every if every else 1.0
    return {name: count * share for name, count in whole.items()}
