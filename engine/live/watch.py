"""Follow one experiment: fold its journals and look who is alive. What a screen and `status` both look through."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from engine.config.plan import Plan
from engine.config.prepared import Prepared
from engine.errors import UsageError
from engine.eta import timings
from engine.journals.events import AnyRecord, Verdict
from engine.journals.journal import Reader, read_ends
from engine.journals.records import ProcessInfo, ResultInfo, SupervisorInfo
from engine.live.history import SAMPLES_TAIL, History, glance, with_run
from engine.live.reopened import reopened
from engine.live.state import ExperimentState, RunState, StopState, new_experiment
from engine.machine import room
from engine.paths import RUNS, ExperimentPaths, read_json
from engine.process import alive, boot_id, start_ticks
from engine.runs import control
from engine.runs.survivors import SURVIVORS
from engine.runs.verdict import onward

STARTING_SECONDS = 15.0
# Between a reading of the journals and a look at the processes a supervisor may write its last line and end, or one
# that has written its first line be about to write down who it is: nothing is lost before a second look after so long.
SETTLE_SECONDS = 0.05
STALLED_SECONDS = 60.0
STALLED_STEPS = 10

STOPS = {"stop_after_run": "after_run", "stop_now": "now", "stop_force": "force"}


class Watch:
    """Reads what is new at each `poll`. Use it from one thread."""

    def __init__(self, folder: Path) -> None:
        self.paths = ExperimentPaths(folder)
        size = self.paths.machine.stat().st_size if self.paths.machine.exists() else 0
        self._history = History(self.paths, Reader, max(0, size - SAMPLES_TAIL))
        self._lost_before = False
        self._plan_stamp = 0
        self._data_stamp = 0
        self._state = new_experiment(str(folder), self._read_plan())
        self._earlier = timings.earlier(folder.parent, folder.name)

    def recall(self) -> None:
        """Read what other experiments have left since somebody last looked: their journals, where they have ended."""
        timings.refresh(self.paths.folder.parent)
        self._earlier = timings.earlier(self.paths.folder.parent, self.paths.folder.name)

    def _read_plan(self) -> Plan:
        plan = read_json(self.paths.plan, Plan)
        if plan is None:
            raise UsageError(f"{self.paths.folder} is not an experiment: it has no readable plan.json")
        return plan

    def quick(self) -> ExperimentState:
        """The present state from the ends of the journals alone, however long they are; curves are partial."""
        state = self._glanced()
        if state.phase == "lost":
            time.sleep(SETTLE_SECONDS)
            state = self._glanced()
        return state

    def _glanced(self) -> ExperimentState:
        fresh = new_experiment(str(self.paths.folder), self._read_plan())
        state = glance(fresh, self.paths, lambda path, head, tail: read_ends(path, head, tail)[0])
        return self._seen(msgspec.structs.replace(state, prepared=read_json(self.paths.data, Prepared)))

    def poll(self) -> ExperimentState:
        """Everything written since the last poll folded in."""
        self._refresh_plan()
        self._state = self._history.fold(self._state)
        state = self._seen(self._state)
        if state.phase == "lost" and not self._lost_before:
            time.sleep(SETTLE_SECONDS)
            self._state = self._history.fold(self._state)
            state = self._seen(self._state)
        self._lost_before = state.phase == "lost"
        return state

    def _refresh_plan(self) -> None:
        stamp = _stamp(self.paths.plan)
        if stamp != self._plan_stamp:
            plan = self._read_plan()
            if self._plan_stamp and plan != self._state.plan:
                kept = {run.key.at: run for run in self._state.runs}
                fresh = new_experiment(str(self.paths.folder), plan)
                runs = tuple(kept.get(run.key.at, run) for run in fresh.runs)
                current = self._state.run
                index = next((i for i, run in enumerate(runs) if current and run.key == current.key), None)
                self._state = msgspec.structs.replace(self._state, plan=plan, runs=runs, current=index)
            else:
                self._state = msgspec.structs.replace(self._state, plan=plan)
            self._plan_stamp = stamp
        stamp = _stamp(self.paths.data)
        if stamp != self._data_stamp:
            self._data_stamp = stamp
            self._state = msgspec.structs.replace(self._state, prepared=read_json(self.paths.data, Prepared))

    def _seen(self, state: ExperimentState) -> ExperimentState:
        """`state` with what the machine says now: who lives, what was asked for, how long nothing has come."""
        info = read_json(self.paths.supervisor, SupervisorInfo)
        supervised = info is not None and alive(info.who)
        processes = self._processes(state)
        training = any(alive(process.who) for process in processes.values())
        now, mono = time.time(), time.monotonic()
        state = msgspec.structs.replace(
            state,
            supervisor_alive=supervised,
            trainer_alive=training,
            now=now,
            now_monotonic=mono,
            stop=self._asked() or state.stop,
            earlier=self._earlier,
            disk_full=(supervised or training) and room.is_full(self.paths.folder),
        )
        state = msgspec.structs.replace(state, stalled_seconds=stalled(state, mono) if training else 0.0)
        if state.ended is not None:
            return state if supervised else reopened(_still_there(state), self.paths)
        if supervised:
            return state
        if training:
            return msgspec.structs.replace(state, phase="running")
        if info is None and now - state.plan.created < STARTING_SECONDS:
            return state
        return self._gone(state, processes)

    def _processes(self, state: ExperimentState) -> dict[int, ProcessInfo]:
        """Of the runs under way, or else of the last one, by their places."""
        places = state.under_way or (() if state.current is None else (state.current,))
        found = {place: read_json(self.paths.run(*state.runs[place].key.at).process, ProcessInfo) for place in places}
        return {place: info for place, info in found.items() if info is not None}

    def _asked(self) -> StopState | None:
        """A stop that lies there and is not acknowledged yet."""
        stop = None
        for asked in control.pending(self.paths):
            if asked.verb in STOPS:
                stop = StopState(id=asked.id, mode=STOPS[asked.verb], phase="requested", since=asked.at)  # type: ignore[arg-type]
        return stop

    def _gone(self, state: ExperimentState, processes: Mapping[int, ProcessInfo]) -> ExperimentState:
        """Supervisor and trainers are gone and no last line was written; loader workers may live on for a while."""
        shown, saved, finished = state.current, False, False
        survivors = SURVIVORS.of(self.paths.folder)
        for place in dict.fromkeys((*state.under_way, *(() if shown is None else (shown,)))):
            run = state.runs[place]
            folder = self.paths.run(*run.key.at)
            saved = bool(folder.checkpoints()) or (run.checkpoint is not None and not run.checkpoint.error)
            seen = msgspec.structs.replace(run, survivors=survivors if place == shown else ())
            if run.phase == "running":
                result = read_json(folder.result, ResultInfo)
                outcome = result.outcome if result is not None and result.attempt == run.attempt else "lost"
                finished = outcome == "finished"
                seen = msgspec.structs.replace(seen, phase=outcome, activity="")
            state = with_run(state, place, seen)
        process = processes.get(shown) if shown is not None else None
        rebooted = process is not None and process.who.boot_id != boot_id() and process.who.host == os.uname().nodename
        why = "the machine was restarted" if rebooted else "supervisor and trainer are gone and nobody wrote down why"
        first = "ends what is left and " if survivors else ""
        advice = f"resume {first}{onward(saved)} (r, or `steptop resume`)"
        if finished and not rebooted:
            why = f"run {(shown or 0) + 1} finished, but its supervisor was gone: nobody wrote it down or went on"
            advice = "resume writes it down and goes on with what is left (r, or `steptop resume`)"
        verdict = Verdict(kind="lost", text=why, advice=advice, sure=rebooted or finished)
        return msgspec.structs.replace(state, phase="lost", verdict=verdict, stop=None, survivors=survivors)


def _still_there(state: ExperimentState) -> ExperimentState:
    """An ended experiment whose supervisor is gone: who would not be ended then may be gone by now."""
    if state.ended is not None and state.ended.survivors:
        left = _living(state.ended.survivors)
        ended = msgspec.structs.replace(state.ended, survivors=left)
        state = msgspec.structs.replace(state, ended=ended, survivors=left)
    if state.run is not None and state.current is not None and state.run.survivors:
        own = msgspec.structs.replace(state.run, survivors=_living(state.run.survivors))
        state = with_run(state, state.current, own)
    return state


def _living(pids: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(pid for pid in pids if start_ticks(pid) is not None)


def stalled(state: ExperimentState, now_monotonic: float) -> float:
    """Seconds without a record from a trainer, once that is more than a minute and ten steps; else 0. Of several side
    by side, the one that has been quiet longest.

    Records of another boot or host have another monotonic clock and say nothing.
    """
    return max((quiet(state.runs[place], now_monotonic) for place in state.under_way), default=0.0)


def quiet(run: RunState, now_monotonic: float) -> float:
    """Seconds without a record of this run, once that is more than a minute and ten of its steps; else 0."""
    if run.begin is None or run.begin.boot_id != boot_id():
        return 0.0
    if run.begin.attempt != run.attempt:
        return 0.0  # another attempt is starting: how long nobody trained before it is no stall
    silent = now_monotonic - run.last_monotonic
    recent = run.recent[-8:]
    step = sum(r.seconds for r in recent) / max(1, sum(r.steps for r in recent)) if recent else 0.0
    return silent if silent > max(STALLED_SECONDS, STALLED_STEPS * step) else 0.0


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def records_of(folder: Path) -> dict[str, list[AnyRecord]]:
    """All journals of an experiment, whole: file name relative to the folder -> records."""
    paths = ExperimentPaths(folder)
    files = [paths.events, paths.prepare, paths.finish, paths.machine, *sorted(folder.glob(f"{RUNS}/steps-*.jsonl"))]
    return {
        str(file.relative_to(folder)): [record for block in Reader(file).read_all() for record in block]
        for file in files
        if file.exists()
    }
