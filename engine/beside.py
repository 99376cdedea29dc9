"""Runs that go on side by side: which one is looked at, and of each how far it is, how fast, when it ends, on what."""

from __future__ import annotations

import msgspec

from engine.config.plan import Plan
from engine.eta.forecast import Estimate, forecast
from engine.live.mean_step import lately, mean_step
from engine.live.state import ExperimentState, RunState
from engine.live.watch import quiet
from engine.runs.devices import device_of
from engine.text import clean


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """One of several runs under way. `place`: from 0, among all runs; `device`: what it trains on, '' before that is
    known; `step_seconds`: of late; `ends`: its evaluation counted; `quiet_seconds`: how long it has written nothing,
    where its steps do not explain that, else 0."""

    place: int
    run: RunState
    device: str = ""
    step_seconds: float | None = None
    ends: Estimate = Estimate()
    quiet_seconds: float = 0.0


def looked_at(state: ExperimentState, at: tuple[int, int, str] | None) -> ExperimentState:
    """`state` with the run under way that is called so as the one that is shown; as it is where none is."""
    place = next((place for place in state.under_way if state.runs[place].key.at == at), None)
    return state if place is None or place == state.current else msgspec.structs.replace(state, current=place)


def side_by_side(state: ExperimentState, shown: Estimate | None = None) -> tuple[Beside, ...]:
    """The runs under way in their order; nothing where fewer than two go on. `shown`: when the one that is shown ends,
    where that is known already."""
    places = state.under_way
    if len(places) < 2:
        return ()
    return tuple(beside(state, place, shown if place == state.current else None) for place in places)


def beside(state: ExperimentState, place: int, ends: Estimate | None = None) -> Beside:
    """The run at `place`, forecast by its own pace unless its end is known."""
    run = state.runs[place]
    return Beside(
        place=place,
        run=run,
        device=device_label(state.plan, run),
        step_seconds=step_seconds(run),
        ends=ends or forecast(msgspec.structs.replace(state, current=place)).run,
        quiet_seconds=quiet(run, state.now_monotonic) if state.stalled_seconds else 0.0,
    )


def step_seconds(run: RunState) -> float | None:
    """The mean step of late, as the panels of a run have it; None before there is one."""
    if run.begin is None or not run.recent:
        return None
    seconds = mean_step(lately(run)).seconds
    return seconds if seconds > 0 else None


def device_label(plan: Plan, run: RunState) -> str:
    """`GPU 1`, `CPU`. Where several GPUs are named every trainer sees its own alone, and calls it number 0: then the
    plan knows better."""
    wanted = device_of(plan, run.slot)
    if wanted.isdigit():
        return f"GPU {wanted}"
    own = run.begin.device if run.begin is not None else ""
    name = own or ("" if wanted == "auto" else wanted)
    return f"GPU {name.partition(':')[2] or 0}" if name.startswith("cuda") else clean(name).upper()


def hanging(state: ExperimentState) -> int | None:
    """The place of the run that nothing has come from for too long: the one that is shown, unless it is others alone;
    None while all is well."""
    if not state.stalled_seconds:
        return None
    silent = [place for place in state.under_way if quiet(state.runs[place], state.now_monotonic)]
    if not silent or state.current in silent:
        return state.current
    return max(silent, key=lambda place: quiet(state.runs[place], state.now_monotonic))
