"""What other knobs would bring and cost, before they are tried: pace, end, effective batch, what else changes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine.config import coupled
from engine.config.knob import Kind, Value
from engine.config.plan import Plan
from engine.config.profile import KNOBS
from engine.diagnosis.modelled import (
    NOT_MEASURED as NOT_MEASURED,
    OF_A_STEP,
    OF_NO_MODEL,
    SAME,
    Range as Range,
    batch_of,
    complete,
    pace_now,
    probes_of as probes_of,
    ratio,
    workload_of as workload_of,
)
from engine.diagnosis.queueing import predict
from engine.eta.forecast import Forecast
from engine.live.state import ExperimentState
from engine.whatif.until_end import finish_with, seconds_more

NONE = Range(0.0, 0.0, 0.0, "nothing changes")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One knob that differs. `live`: a training under way can take it up; `lock`: why the experiment locks it."""

    name: str
    before: Value
    after: Value
    kind: Kind
    live: bool
    lock: str = ""


class Consequences(msgspec.Struct, frozen=True, kw_only=True):
    """`step_seconds` and `samples_per_second`: what is measured now, times what the model says of the change; `ratio`:
    that, samples per second over those now. `limit`: what would hold a step back. `finish`: seconds until the
    experiment ends; `more`: those of them that are the change's. `unmodelled`: knobs that differ and that no figure
    knows of. `sentences`: what to know before choosing it, the gravest first."""

    changes: tuple[Change, ...] = ()
    step_seconds: Range = Range()
    samples_per_second: Range = Range()
    ratio: Range = Range()
    measured: bool = False
    limit: str = ""
    effective_batch: int = 1
    finish: Range = Range()
    more: Range = Range()
    unmodelled: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Whether a training under way can take all of it up."""
        return all(change.live for change in self.changes)

    @property
    def foretold(self) -> bool:
        """Whether any model knows of what changes; a pace that no model knows of is not that of now."""
        return self.ratio != SAME or not self.unmodelled

    @property
    def locked(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.lock)


def consequences(state: ExperimentState, knobs: dict[str, Value], now: Forecast | None = None) -> Consequences:
    """Of running `state`'s experiment with `knobs` from here on; `now` is its forecast as it runs."""
    plan = state.plan
    held = plan.profile
    changes = tuple(
        Change(
            name=name,
            before=held[name],
            after=value,
            kind=KNOBS[name].kind,
            live=KNOBS[name].live,
            lock=_lock(plan, name, value),
        )
        for name, value in knobs.items()
        if name in KNOBS and value != held[name]
    )
    before = complete(held.knobs)
    after = before | {change.name: change.after for change in changes}
    unmodelled = tuple(change.name for change in changes if change.name in OF_NO_MODEL)
    workload, basis = workload_of(state)
    pace = pace_now(state, workload, basis)
    faster = SAME if workload is None and _beside(changes) else ratio(workload, before, after) if workload else Range()
    known = Consequences(
        changes=changes,
        ratio=faster,
        measured=pace.measured,
        limit=predict(workload, after).limit if workload is not None else "",
        effective_batch=batch_of(after),
        unmodelled=unmodelled,
        sentences=_sentences(plan, changes, unmodelled),
    )
    if now is not None and now.experiment.seconds:
        as_it_is = Range(now.experiment.seconds, now.experiment.low, now.experiment.high, "as it runs")
        more = seconds_more(state, {change.name: change.after for change in changes}, faster, now) if changes else NONE
        finish = finish_with(now, more) if changes else as_it_is
        known = msgspec.structs.replace(known, finish=finish, more=more)
    if faster == SAME:
        return msgspec.structs.replace(
            known, step_seconds=pace.step_seconds, samples_per_second=pace.samples_per_second
        )
    held_rate, held_step = pace.samples_per_second.value, pace.step_seconds.value
    if faster.value is None or faster.low is None or faster.high is None or held_rate is None or held_step is None:
        return known
    rests = f"{pace.samples_per_second.basis}; ratio {basis}" if pace.measured else basis
    longer = held_step * batch_of(after) / batch_of(before)
    return msgspec.structs.replace(
        known,
        step_seconds=Range(longer / faster.value, longer / faster.high, longer / faster.low, rests),
        samples_per_second=msgspec.structs.replace(faster.times(held_rate), basis=rests),
    )


def _beside(changes: Sequence[Change]) -> bool:
    """Whether a step stays what it is, as far as any model knows."""
    return not any(change.name in OF_A_STEP for change in changes)


def sweep(state: ExperimentState, knobs: dict[str, Value], name: str, values: Sequence[int]) -> dict[int, float]:
    """Samples per second with each of `values` for one knob, the others as in `knobs`, on the basis of `consequences`;
    empty where nothing is known."""
    workload, basis = workload_of(state)
    if workload is None:
        return {}
    held = complete(state.plan.profile.knobs)
    now = pace_now(state, workload, basis).samples_per_second.value
    if now is None:
        return {}
    return {value: now * (ratio(workload, held, held | knobs | {name: value}).value or 1.0) for value in values}


def _lock(plan: Plan, name: str, value: Value) -> str:
    """Why the experiment locks a knob that is to have another value; '' for the value that it wants."""
    lock = plan.experiment.locks.get(name)
    return lock.reason if lock is not None and value != lock.value else ""


def _sentences(plan: Plan, changes: Sequence[Change], unmodelled: Sequence[str]) -> tuple[str, ...]:
    said: list[str] = []
    for change in changes:
        if change.lock:
            said.append(f"{change.name} is locked: {change.lock}")
    before = {name: plan.profile[name] for name in coupled.COUPLED}
    after = before | {change.name: change.after for change in changes if change.name in before}
    if words := coupled.change(plan.experiment.optimizer, before, after):
        said.append(words)
    for kind in (Kind.OPTIMISATION, Kind.METRIC):
        names = [change.name for change in changes if change.kind == kind]
        if names:
            said.append(f"{', '.join(names)} {kind}: its results cannot be compared with those so far")
    if len(changes) > 1:
        said.append(f"{len(changes)} knobs at once: whatever changes cannot be put down to one of them")
    if unmodelled:
        verb = "is" if len(unmodelled) == 1 else "are"
        said.append(f"{', '.join(unmodelled)} {verb} not modelled, so no figure here knows of it: test it in a phase")
    fixed = [change.name for change in changes if not change.live]
    if fixed:
        said.append(f"{', '.join(fixed)} cannot change while it trains: stop and launch anew, or test it in a phase")
    return tuple(said)
