"""A recorded experiment played again: the same folds over the same journals, by a clock of its own."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from engine.errors import UsageError
from engine.events import AnyRecord
from engine.experiment import Plan, Prepared
from engine.fold import fold_prepare, fold_run, fold_samples, fold_supervisor
from engine.paths import ExperimentPaths, read_json
from engine.state import ExperimentState, new_experiment
from engine.watch import records_of


class Replay:
    """Stands where a Watch stands: `poll` gives the state as it was `speed` × (now − start) after the first record."""

    def __init__(
        self, folder: Path, speed: float = 60.0, at: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`at`: begin after this fraction (0 to 1) of the recording. Raises UsageError for a folder that is none."""
        paths = ExperimentPaths(folder)
        plan = read_json(paths.plan, Plan)
        if plan is None:
            raise UsageError(f"{folder} is not an experiment: it has no readable plan.json")
        prepared = read_json(paths.data, Prepared)
        self._state = msgspec.structs.replace(new_experiment(str(folder), plan), prepared=prepared)
        streams = [[(r.t, name, r) for r in records] for name, records in records_of(folder).items()]
        self._records: list[tuple[float, str, AnyRecord]] = list(heapq.merge(*streams, key=lambda item: item[0]))
        if not self._records:
            raise UsageError(f"{folder} holds no records to replay")
        self._next = 0
        self._speed = speed
        self._clock = clock
        self.begins, self.ends = self._records[0][0], self._records[-1][0]
        self._started = clock() - at * (self.ends - self.begins) / speed

    @property
    def over(self) -> bool:
        return self._next >= len(self._records)

    def quick(self) -> ExperimentState:
        return self.poll()

    def poll(self) -> ExperimentState:
        now = min(self.begins + (self._clock() - self._started) * self._speed, self.ends)
        return self.state_at(now)

    def state_at(self, now: float) -> ExperimentState:
        """The state at wall clock `now`; `now` may not go back."""
        state, mono = self._state, self._state.now_monotonic
        first = self._next
        while self._next < len(self._records) and self._records[self._next][0] <= now:
            self._next += 1
        for _, name, record in self._records[first : self._next]:
            state = self._fold(state, name, record)
            mono = record.m or mono
        alive = not self.over or state.ended is None
        self._state = msgspec.structs.replace(
            state,
            now=now,
            now_monotonic=mono,
            supervisor_alive=alive and state.ended is None,
            trainer_alive=any(run.phase == "running" for run in state.runs),
        )
        return self._state

    def _fold(self, state: ExperimentState, name: str, record: AnyRecord) -> ExperimentState:
        if name == "machine.jsonl":
            return fold_samples(state, [record])
        if name == "events.jsonl":
            return fold_supervisor(state, [record])
        if name == "prepare.jsonl":
            return fold_prepare(state, [record])
        for index, run in enumerate(state.runs):
            if name.startswith(f"fold_{run.key.fold}_restart_{run.key.restart}/"):
                folded = msgspec.structs.replace(fold_run(run, [record]), phase=run.phase, attempt=run.attempt)
                return msgspec.structs.replace(state, runs=(*state.runs[:index], folded, *state.runs[index + 1 :]))
        return state
