"""What a forecast is made of at one moment: what one of everything costs, and how much of it is left of each run.

A forecast adds it up; a what-if changes something about it first. With nothing changed both come to the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.config.run_keys import RunKey
from engine.eta.calibration import Calibration, Factor, Rung, Stage, stage_of
from engine.eta.costs import Cost, KeyTiming, step_cost
from engine.eta.remaining import each_later, of_run, runs_left
from engine.eta.rhythm import Amounts
from engine.eta.side_by_side import shared, until_last
from engine.eta.unit_costs import costs_of
from engine.live.state import ENDED, ExperimentState, RunState


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """`left`: the runs that will be trained, the one under way first, each with what is left of it and the gap before
    it; None where it is not known how many steps there are. `epoch_left`: of the epoch under way. `stage` None: no run
    is under way, and ranges are the normal distribution's. `whole`: of runs side by side, what it comes to until the
    last one ends."""

    costs: dict[str, Cost]
    left: tuple[tuple[RunKey, Amounts], ...] | None = None
    epoch_left: Amounts = {}
    whole: Amounts | None = None
    stage: Stage | None = None
    warming: bool = False
    calibration: Calibration = Calibration()

    @property
    def step(self) -> Cost:
        return self.costs["step"]

    def factor(self, rung: Rung) -> Factor:
        return self.calibration.factor(rung, self.stage) if self.stage is not None else Factor()


def standing_of(
    state: ExperimentState, history: Sequence[KeyTiming] = (), step: Cost | None = None
) -> Standing | None:
    """Of an experiment; of one that has ended as it would go on if it were resumed. `step`: what to go by where neither
    its own steps nor `history` say what one takes. None without either."""
    history = history or state.earlier.timings
    run = state.run
    if run is None or run.phase in ENDED or state.phase in ENDED:
        cost = step_cost(state, None, history) or step
        if cost is None:
            return None
        over = state.phase in ENDED
        later = [one for one in state.runs if one.phase != "finished"] if over else runs_left(state, running=False)
        costs, left = costs_of(state, None if over else run, cost, history), _each(state, later, cost, running=False)
        side = state.plan.slots > 1 and left is not None
        return Standing(
            costs=costs,
            left=left,
            whole=shared([one for _, one in left], costs, state.plan.slots) if side and left is not None else None,
            warming=cost.basis.startswith("warming"),
        )
    cost = step_cost(state, run, history) or step
    if cost is None:
        return None
    costs = costs_of(state, run, cost, history)
    found = of_run(state, run, costs)
    after = _each(state, runs_left(state, running=True), cost, running=True)
    warming, stage = stage_now(run, cost)
    beside = [(one.key, own[1]) for one in others(state) if (own := of_run(state, one, costs)) is not None]
    side = state.plan.slots > 1
    return Standing(
        costs=costs,
        left=((run.key, found[1]), *beside, *after) if found is not None and after is not None else None,
        whole=until_last(state, found[1], [one for _, one in after], costs)
        if side and found is not None and after is not None
        else None,
        epoch_left=found[0] if found is not None else {},
        stage=stage,
        warming=warming,
        calibration=state.earlier.calibration or Calibration(),
    )


def stage_now(run: RunState, step: Cost) -> tuple[bool, Stage]:
    """Whether its pace is still unknown, and how far it has come."""
    warming = run.pace.warming or step.basis.startswith("warming")
    return warming, stage_of(run.step / run.steps_total if run.steps_total else 0.0, warming)


def others(state: ExperimentState) -> list[RunState]:
    """Those under way beside the one that is shown."""
    return [state.runs[place] for place in state.under_way if place != state.current]


def _each(
    state: ExperimentState, runs: list[RunState], step: Cost, running: bool
) -> tuple[tuple[RunKey, Amounts], ...] | None:
    found = each_later(state, runs, step.mean, running)
    return tuple((run.key, amounts) for run, amounts in zip(runs, found, strict=True)) if found is not None else None
