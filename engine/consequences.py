"""What other knobs would bring and cost, before they are tried: pace, end, effective batch, what else changes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from engine import phases
from engine.experiment import Plan
from engine.forecast import Forecast
from engine.knob import Kind, Value
from engine.measure import Measurement
from engine.profile import KNOBS
from engine.queueing import Workload, predict
from engine.state import ExperimentState, RunState
from engine.workload import fit

NOT_MEASURED = "no steps measured yet"


class Range(msgspec.Struct, frozen=True):
    """A figure with its 90 % range and what it rests on; None where nothing is known."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    basis: str = NOT_MEASURED


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One knob that differs. `live`: a training under way can take it up; `lock`: why the experiment locks it."""

    name: str
    before: Value
    after: Value
    kind: Kind
    live: bool
    lock: str = ""


class Consequences(msgspec.Struct, frozen=True, kw_only=True):
    """`limit`: what would hold a step back. `finish`: seconds until the experiment ends. `sentences`: what to know
    before choosing it, the gravest first."""

    changes: tuple[Change, ...] = ()
    step_seconds: Range = Range()
    samples_per_second: Range = Range()
    limit: str = ""
    effective_batch: int = 1
    finish: Range = Range()
    sentences: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Whether a training under way can take all of it up."""
        return all(change.live for change in self.changes)

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
    batch = int(knobs.get("batch_size", held["batch_size"])) * int(knobs.get("accumulate_steps", 1))
    workload, basis = workload_of(state)
    known = Consequences(changes=changes, effective_batch=batch, sentences=_sentences(changes))
    if workload is None:
        return known
    complete = held.knobs | knobs
    there, here = predict(workload, complete), predict(workload, held.knobs)
    low, high = there.samples_range
    finish = Range()
    if now is not None and now.experiment.seconds is not None:
        factor = here.samples_per_second / there.samples_per_second
        steps = now.parts.get("train", now.experiment.seconds)
        rest = max(0.0, now.experiment.seconds - steps)
        finish = Range(
            rest + steps * factor,
            rest + steps * here.samples_per_second / high,
            rest + steps * here.samples_per_second / low,
            basis,
        )
    return msgspec.structs.replace(
        known,
        step_seconds=Range(there.step_seconds, there.low, there.high, basis),
        samples_per_second=Range(there.samples_per_second, low, high, basis),
        limit=there.limit,
        finish=finish,
    )


def sweep(state: ExperimentState, knobs: dict[str, Value], name: str, values: Sequence[int]) -> dict[int, float]:
    """Samples per second with each of `values` for one knob, the others as in `knobs`; empty where nothing is known."""
    workload, _ = workload_of(state)
    if workload is None:
        return {}
    complete = state.plan.profile.knobs | knobs
    return {value: predict(workload, complete | {name: value}).samples_per_second for value in values}


def workload_of(state: ExperimentState) -> tuple[Workload | None, str]:
    """What has been measured of this training, as the model's figures, and in words what that was."""
    cores = state.samples[-1].cores if state.samples else None
    if cores is None:
        return None, NOT_MEASURED
    probes = probes_of(state)
    if not probes:
        return None, NOT_MEASURED
    try:
        workload = fit(probes, cores)
    except ValueError:
        return None, NOT_MEASURED
    if not workload.trainer_cores and _on_cpu(state):
        # A trainer that does not say what it computes with is taken to use what there is.
        workload = msgspec.structs.replace(workload, trainer_cores=float(cores))
    steps = sum(probe.steps for probe in probes)
    tried = f", {len(probes)} profiles" if len(probes) > 1 else ""
    return workload, f"modelled from {steps:,} steps measured here{tried}"


def _on_cpu(state: ExperimentState) -> bool:
    begin = state.run.begin if state.run is not None else None
    return begin is not None and begin.device == "cpu"


def probes_of(state: ExperimentState) -> list[Measurement]:
    """One measurement for each profile that was tried here."""
    if state.plan.test is not None:
        return [one.measured for one in phases.results(state.plan, state.prepared, state.visits) if one.measured]
    run = state.run
    return _living(run, state.plan.profile.knobs) if run is not None else []


def _living(run: RunState, knobs: dict[str, Value]) -> list[Measurement]:
    if run.tested:
        tried: Sequence[Measurement | None] = [phases.of_lines(one.lines, one.knobs) for one in run.tested]
        return [one for one in tried if one is not None]
    one = phases.of_lines(run.recent, knobs)
    return [one] if one is not None else []


def _lock(plan: Plan, name: str, value: Value) -> str:
    """Why the experiment locks a knob that is to have another value; '' for the value that it wants."""
    lock = plan.experiment.locks.get(name)
    return lock.reason if lock is not None and value != lock.value else ""


def _sentences(changes: Sequence[Change]) -> tuple[str, ...]:
    said: list[str] = []
    for change in changes:
        if change.lock:
            said.append(f"{change.name} is locked: {change.lock}")
    for kind in (Kind.OPTIMISATION, Kind.METRIC):
        names = [change.name for change in changes if change.kind == kind]
        if names:
            said.append(f"{', '.join(names)} {kind}: its results cannot be compared with those so far")
    if len(changes) > 1:
        said.append(f"{len(changes)} knobs at once: whatever changes cannot be put down to one of them")
    fixed = [change.name for change in changes if not change.live]
    if fixed:
        said.append(f"{', '.join(fixed)} cannot change while it trains: stop and launch anew, or test it in a phase")
    return tuple(said)
