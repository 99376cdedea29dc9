"""When the next of several runs is done, and a run that is begun now: of experiments whose runs go on side by side."""

from __future__ import annotations

import msgspec

from engine.eta.interval import Estimate, interval
from engine.eta.makespan import ends
from engine.eta.side_by_side import seconds_of, under_way
from engine.eta.standing import standing_of
from engine.live.state import ExperimentState


def one_more(state: ExperimentState) -> Estimate:
    """A run that is begun now, until it is done; those under way beside it do not count. Not known: no `seconds`."""
    there = standing_of(state)
    if there is None or there.left is None:
        return Estimate()
    busy = _under_way(state)
    amounts = next((own for key, own in there.left if key.at not in busy), None)
    return Estimate() if amounts is None else interval(amounts, there.costs, there.step.basis, there.factor("run"))


def nth_end(state: ExperimentState, count: int) -> float | None:
    """Seconds until `count` more runs are done, those under way counted; None where it is not known."""
    there = standing_of(msgspec.structs.replace(state, stop=None, stop_after_runs=0))
    if there is None or there.left is None:
        return None
    busy, shown = _under_way(state), state.run.key.at if state.run is not None else None
    own = next((amounts for key, amounts in there.left if key.at == shown and shown in busy), None)
    going = sorted(one.seconds for one in under_way(state, own, there.costs))
    waiting = [seconds_of(amounts, there.costs) for key, amounts in there.left if key.at not in busy]
    all_ends = ends(waiting, state.plan.slots, going)
    return all_ends[count - 1] if 0 < count <= len(all_ends) else None


def _under_way(state: ExperimentState) -> set[tuple[int, int, str]]:
    return {state.runs[place].key.at for place in state.under_way}
