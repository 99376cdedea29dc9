"""A recorded experiment played again: the same folds over the same journals, by a clock of its own."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import msgspec

from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.errors import UsageError
from engine.eta import timings
from engine.eta.earlier import Earlier
from engine.journals.events import AnyRecord
from engine.journals.journal import Reader, offset_after, read_ends
from engine.live.history import SAMPLES_TAIL, History, glance
from engine.live.state import ExperimentState, new_experiment
from engine.paths import RUNS, ExperimentPaths, read_json


class Playhead:
    """The moment up to which a recording has been played, and the newest record before it."""

    def __init__(self) -> None:
        self.at = -inf
        self.newest: AnyRecord | None = None

    def passed(self, records: list[AnyRecord]) -> None:
        if records and (self.newest is None or records[-1].t >= self.newest.t):
            self.newest = records[-1]


class Stream:
    """A journal read as far as the playhead is; what a block holds beyond it waits."""

    def __init__(self, path: Path, offset: int, head: Playhead) -> None:
        self._reader = Reader(path, offset)
        self._blocks = self._reader.read_all()
        self._block: list[AnyRecord] = []
        self._head = head

    @property
    def damaged(self) -> int:
        return self._reader.damaged

    def read_all(self) -> Iterator[list[AnyRecord]]:
        """Blocks of records up to the playhead."""
        while True:
            if not self._block and not (block := next(self._blocks, [])):
                return
            self._block = self._block or block
            if self._block[-1].t <= self._head.at:
                due, self._block = self._block, []
            else:
                cut = bisect_right(self._block, self._head.at, key=_written)
                due, self._block = self._block[:cut], self._block[cut:]
            self._head.passed(due)
            if due:
                yield due
            if self._block:
                return


class Replay:
    """Stands where a Watch stands: `poll` gives the state as it was `speed` × (now − start) after the first record.

    Nothing beyond the playhead is read, so a week begins as soon as an hour.
    """

    def __init__(
        self, folder: Path, speed: float = 60.0, at: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`at`: begin after this fraction (0 to 1) of the recording. Raises UsageError for a folder that is none."""
        self._paths = ExperimentPaths(folder)
        plan = read_json(self._paths.plan, Plan)
        if plan is None:
            raise UsageError(f"{folder} is not an experiment: it has no readable plan.json")
        prepared = read_json(self._paths.data, Prepared)
        self._state = msgspec.structs.replace(new_experiment(str(folder), plan), prepared=prepared)
        spans = [span for path in self._journals() if (span := span_of(path)) is not None]
        if not spans:
            raise UsageError(f"{folder} holds no records to replay")
        self.begins, self.ends = min(first for first, _ in spans), max(last for _, last in spans)
        begin = self.begins + at * (self.ends - self.begins)
        before = max(0, offset_after(self._paths.machine, begin) - SAMPLES_TAIL)
        self._created, self._earlier = plan.created, Earlier()
        self._head = Playhead()
        self._history = History(self._paths, lambda path, offset: Stream(path, offset, self._head), before)
        self._speed = speed
        self._clock = clock
        self._started = clock() - (begin - self.begins) / speed

    def recall(self) -> None:
        """What experiments launched before this one tell, as a dashboard would have known it then."""
        folder = self._paths.folder
        timings.refresh(folder.parent)
        self._earlier = timings.earlier(folder.parent, folder.name, before=self._created)

    @property
    def over(self) -> bool:
        return self._head.at >= self.ends

    def quick(self) -> ExperimentState:
        """The state at the playhead from the records just before it; curves are partial."""
        now, head = self._now(), Playhead()

        def ends(path: Path, first: int, last: int) -> list[AnyRecord]:
            records, _ = read_ends(path, first, last, offset_after(path, now))
            records = [record for record in records if record.t <= now]
            head.passed(records)
            return records

        return _as_of(glance(self._state, self._paths, ends), now, head)

    def poll(self) -> ExperimentState:
        return self.state_at(self._now())

    def state_at(self, now: float) -> ExperimentState:
        """The state at wall clock `now`; `now` may not go back."""
        # A clock that was set back leaves records that seem to lie beyond the end.
        self._head.at = now if now < self.ends else inf
        self._state = _as_of(self._history.fold(self._state), now, self._head)
        return msgspec.structs.replace(self._state, earlier=self._earlier)

    def _now(self) -> float:
        return min(self.begins + (self._clock() - self._started) * self._speed, self.ends)

    def _journals(self) -> list[Path]:
        paths = self._paths
        return [paths.events, paths.prepare, paths.machine, *sorted(paths.folder.glob(f"{RUNS}/steps-*.jsonl"))]


def _as_of(state: ExperimentState, now: float, head: Playhead) -> ExperimentState:
    """`state` with what a look at the machine would have added then."""
    return msgspec.structs.replace(
        state,
        now=now,
        now_monotonic=(head.newest.m if head.newest is not None else 0.0) or state.now_monotonic,
        supervisor_alive=state.ended is None,
        trainer_alive=any(run.phase == "running" for run in state.runs),
    )


def span_of(path: Path) -> tuple[float, float] | None:
    """Wall clocks of a journal's first and last record; None if it holds none."""
    first = next(Reader(path).read_all(), [])
    if not first:
        return None
    last = read_ends(path, 0)[0] or first
    return first[0].t, last[-1].t


def _written(record: AnyRecord) -> float:
    return record.t
