"""Recorded runs played again: the state of an experiment at every percent of each of its finished runs, as it was then.

Journals are read together, in the order of the monotonic clock: of runs side by side each moment knows what every one
of them had written by then, and nothing of later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Generator, Iterator, Sequence
from math import inf
from pathlib import Path

import msgspec

from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.errors import UsageError
from engine.eta.earlier import Earlier
from engine.journals.events import AnyRecord, Begin, EpochEnded, RunEnded, RunStarted, Steps, SupervisorStarted
from engine.journals.journal import read
from engine.live.fold_experiment import fold_samples, fold_supervisor
from engine.live.fold_run import fold_run
from engine.live.history import as_supervised, with_run
from engine.live.state import ExperimentState, new_experiment
from engine.paths import ExperimentPaths, read_json


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of a recorded run, which `state` shows, `percent` of its steps done. `epochs`: when each of its
    attempt's epochs ended, by the monotonic clock."""

    state: ExperimentState
    percent: int
    record: Steps
    event: RunStarted
    epochs: dict[int, float]


class _Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that goes on: `done` of its `records` are folded; `cuts` are where its moments are (index, percent,
    and the line that has just come)."""

    event: RunStarted
    place: int
    records: Sequence[AnyRecord]
    cuts: tuple[tuple[int, int, Steps], ...]
    epochs: dict[int, float]
    done: int = 0


class _Played(msgspec.Struct, frozen=True, kw_only=True):
    """What is folded so far; the first `sampled` of the readings of the machine are."""

    state: ExperimentState
    going: tuple[_Attempt, ...] = ()
    sampled: int = 0


def moments(folder: Path, every: int = 1, earlier: Earlier | None = None) -> Iterator[Moment]:
    """The moments at each `every` percent of every finished run, with what could be known then: the journals up to it,
    and `earlier` experiments. Raises UsageError for a folder that is no experiment."""
    paths = ExperimentPaths(folder)
    plan = read_json(paths.plan, Plan)
    if plan is None:
        raise UsageError(f"{folder} is not an experiment: it has no readable plan.json")
    state = msgspec.structs.replace(
        new_experiment(str(folder), plan), prepared=read_json(paths.data, Prepared), earlier=earlier or Earlier()
    )
    events, samples = read(paths.events), read(paths.machine)
    finished = {event.at for event in events if isinstance(event, RunEnded) and event.outcome == "finished"}
    played = _Played(state=state)
    for event in events:
        played = yield from _until(played, event, samples)
        played = msgspec.structs.replace(played, state=fold_supervisor(played.state, [event]))
        if isinstance(event, RunStarted):
            played = _begun(played, paths, event, every, finished)
    yield from _until(played, None, samples)


def _begun(
    played: _Played, paths: ExperimentPaths, event: RunStarted, every: int, finished: Collection[tuple[int, int, str]]
) -> _Played:
    """With another attempt under way; nothing for a run that the plan does not have."""
    place = next((place for place, run in enumerate(played.state.runs) if run.key.at == event.at), None)
    if place is None:
        return played
    records = read(paths.run(*event.at).segment(event.attempt))
    attempt = _Attempt(
        event=event,
        place=place,
        records=records,
        cuts=tuple(_cuts(records, every)) if event.at in finished else (),
        epochs={record.epoch: record.m for record in records if isinstance(record, EpochEnded)},
    )
    return msgspec.structs.replace(played, going=(*played.going, attempt))


def _until(
    played: _Played, event: AnyRecord | None, samples: Sequence[AnyRecord]
) -> Generator[Moment, None, _Played]:
    """All that was written before `event` (None: all there is), each moment on the way; attempts that are over then go
    on no more."""
    ends = {attempt.place: _end(attempt, event) for attempt in played.going}
    due = sorted(
        (record.m, attempt.place, index, percent)
        for attempt in played.going
        for index, percent, record in attempt.cuts
        if index >= attempt.done and record.m <= ends[attempt.place]
    )
    for m, place, index, percent in due:
        played = _folded(played, {one.place: index + 1 if one.place == place else _by(one, m) for one in played.going})
        sampled = bisect_right(samples, m, lo=played.sampled, key=_monotonic)
        state = fold_samples(played.state, samples[played.sampled : sampled])
        played = msgspec.structs.replace(played, state=state, sampled=sampled)
        attempt = next(one for one in played.going if one.place == place)
        record = attempt.records[index]
        if isinstance(record, Steps) and not _stopping(state):
            shown = _as_of(msgspec.structs.replace(state, current=place), record)
            yield Moment(state=shown, percent=percent, record=record, event=attempt.event, epochs=attempt.epochs)
    played = _folded(played, {attempt.place: _by(attempt, ends[attempt.place]) for attempt in played.going})
    return msgspec.structs.replace(
        played, going=tuple(attempt for attempt in played.going if ends[attempt.place] < inf)
    )


def _end(attempt: _Attempt, event: AnyRecord | None) -> float:
    """Up to when its records were written before `event`: all of them where that says that it is over."""
    match event:
        case None:
            return inf
        case RunEnded() | RunStarted() if event.at == attempt.event.at:
            return inf
        case SupervisorStarted(adopted=0):
            return inf
        case _:
            return event.m


def _by(attempt: _Attempt, m: float) -> int:
    """How many of its records were written by then."""
    return bisect_right(attempt.records, m, lo=attempt.done, key=_monotonic)


def _folded(played: _Played, upto: dict[int, int]) -> _Played:
    """With the records of each attempt, by its place, up to so many."""
    state, going = played.state, []
    for attempt in played.going:
        done = max(attempt.done, upto[attempt.place])
        if done > attempt.done:
            run = state.runs[attempt.place]
            folded = fold_run(run, attempt.records[attempt.done : done])
            state = with_run(state, attempt.place, as_supervised(folded, run))
            attempt = msgspec.structs.replace(attempt, done=done)
        going.append(attempt)
    return msgspec.structs.replace(played, state=state, going=tuple(going))


def _stopping(state: ExperimentState) -> bool:
    """Whether it obeys a stop: what is foretold then is the stop's end."""
    return state.stop is not None and state.stop.mode != "after_run" and state.stop.phase != "done"


def _cuts(records: Sequence[AnyRecord], every: int) -> Iterator[tuple[int, int, Steps]]:
    """Where the records of an attempt are cut: index, percent, and the first line that has come so far."""
    begin = next((record for record in records if isinstance(record, Begin)), None)
    total = begin.epochs * begin.steps_per_epoch if begin is not None else 0
    if begin is None or total < 1:
        return
    due = max(every, 100 * begin.resumed_from_step // total + 1)
    due += -due % every
    for index, record in enumerate(records):
        if isinstance(record, Steps) and (percent := 100 * record.step // total) >= due:
            yield index, percent, record
            due = percent + every - percent % every


def _as_of(state: ExperimentState, record: AnyRecord) -> ExperimentState:
    return msgspec.structs.replace(
        state, now=record.t, now_monotonic=record.m, supervisor_alive=True, trainer_alive=True
    )


def _monotonic(record: AnyRecord) -> float:
    return record.m
