"""Tests of profiles: one visit after another to a trial that does nothing else, each written down as it was.

What comes next is decided by engine.phase.courses from what is done. A trial is reused as long as only the loader
changes; a batch size, a precision or a compiled model gets a process of its own, so that running out of memory ends
that alone.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from statistics import linear_regression
from typing import NamedTuple

from engine.config.plan import Plan
from engine.config.profile import KNOBS, Value
from engine.journals.events import (
    SPANS,
    Gpu,
    Memory,
    PhaseBegun,
    PhaseEnded,
    ProfileChanged,
    ProfileMeasured,
    RunStarted,
    Sample,
    Spans,
    Steps,
    Use,
    Verdict,
)
from engine.journals.journal import Reader, Writer, read
from engine.journals.records import ProfileRequest
from engine.live.watch import Watch
from engine.machine import contention
from engine.machine.sampler import smaps
from engine.memory.budget import refusal
from engine.memory.footprint import Footprint, footprint
from engine.paths import ExperimentPaths, write_json
from engine.phase import courses, phases, tuning
from engine.phase.visit import Visit
from engine.process import descendants
from engine.runs.attempt import Attempt, Ended, begin_run
from engine.runs.slots import environment

POLL_SECONDS = 0.1
# The sampler reads memory every ten seconds.
SLOPE_SECONDS, SLOPE_POINTS = 30.0, 4
OK = Verdict(kind="ok", text="measured")


class Visited(NamedTuple):
    """What a visit left in the trial's journal. `verdict`: ok, or why the trial ended."""

    steps: list[Steps]
    memory: Memory | None
    swap_seconds: float
    verdict: Verdict


class Conductor:
    """`tick` obeys requests and keeps sampling; it returns whether to stop. `keep` are the children of this process
    that are not the trial's."""

    def __init__(
        self,
        paths: ExperimentPaths,
        plan: Plan,
        journal: Writer,
        tick: Callable[[Attempt | None], bool],
        keep: Callable[[], set[int]],
    ) -> None:
        self.paths = paths
        self.plan = plan
        self.journal = journal
        self.run = paths.run(*plan.runs[0].at)
        self.done = [record for record in read(paths.events) if isinstance(record, PhaseEnded)]
        self._tick = tick
        self._keep = keep
        self._trial: Attempt | None = None
        self._fixed: dict[str, Value] = {}
        self._reader: Reader | None = None
        self._machine = Reader(paths.machine)
        self.best: dict[str, Value] | None = None
        self._known: tuple[int, Footprint] | None = None

    def conduct(self) -> str:
        """Until the course is through or a stop is asked for; why it ended, in words ('' for a stop)."""
        try:
            while not self._tick(None):
                visit = courses.next_visit(self.plan, self.done, self.limits)
                if isinstance(visit, str):
                    self.conclude()
                    return visit
                if self.done and (why := self.limits(visit.knobs)):
                    self.refuse(visit, why)
                else:
                    self.perform(visit)
            return ""
        finally:
            self.end_trial()

    # ------------------------------------------------------------ what must not be tried

    def limits(self, knobs: Mapping[str, Value]) -> str:
        """Why the machine's memory does not allow it, from what the visits so far used; '' if it does."""
        return refusal(knobs, self.known()) if self.done else ""

    def known(self) -> Footprint:
        if self._known is None or self._known[0] != len(self.done):
            self._known = len(self.done), footprint(Watch(self.paths.folder).quick(), phases=self.done)
        return self._known[1]

    def refuse(self, visit: Visit, why: str) -> None:
        """Written down as a phase that was not tried."""
        verdict = Verdict(kind="refused", text=f"not tried: {why}")
        record = PhaseEnded(phase=visit.phase, round=visit.round, name=visit.name, knobs=visit.knobs, verdict=verdict)
        self.journal.write(record, sync=True)
        self.done.append(record)

    def conclude(self) -> None:
        """The best of what was tried; what a tuner found is kept for profile `auto`."""
        state = Watch(self.paths.folder).quick()
        assert self.plan.test is not None
        if self.plan.test.kind == "tune":
            device = state.run.begin.device_name if state.run is not None and state.run.begin is not None else ""
            self.best = tuning.write_down(self.paths, self.plan, self.done, self.limits, device)
        elif winner := phases.best(phases.results(self.plan, state.prepared, state.visits)):
            self.best = winner.knobs

    # ------------------------------------------------------------ one visit

    def perform(self, visit: Visit) -> None:
        name = uuid.uuid4().hex[:12]
        request = ProfileRequest(id=name, name=visit.name, knobs=visit.knobs, mode=visit.mode, steps=visit.steps)
        self.journal.write(
            PhaseBegun(
                phase=visit.phase,
                round=visit.round,
                name=visit.name,
                knobs=visit.knobs,
                steps=visit.steps,
                mode=visit.mode,
                low=visit.low,
                high=visit.high,
                basis=visit.basis,
                trial=name,
            )
        )
        write_json(self.run.profile, request)
        began = time.time()
        trial = self.trial_for(visit)
        visited, foreign, own = self.follow(trial, name)
        if visited is None:
            return  # a stop was asked for: nothing of this visit counts
        use = self.use(trial, visited, began, foreign, own)
        cores = len(os.sched_getaffinity(0))
        before = sum(done.repeated for done in self.done if (done.phase, done.round) == (visit.phase, visit.round))
        disturbed = contention.disturbed(foreign, cores, use.foreign_gpu)
        repeated = visited.verdict.kind == "ok" and disturbed and before < courses.REPEATS
        record = PhaseEnded(
            phase=visit.phase,
            round=visit.round,
            name=visit.name,
            knobs=visit.knobs,
            mode=visit.mode,
            trial=name,
            verdict=visited.verdict,
            swap_seconds=visited.swap_seconds,
            use=use,
            repeated=repeated,
            **summed(visited.steps),  # type: ignore[arg-type]
        )
        self.journal.write(record, sync=True)
        self.done.append(record)
        if visited.verdict.kind != "ok":
            self._trial = None

    def follow(self, trial: Attempt, name: str) -> tuple[Visited | None, float, float]:
        """Until the trial has done its steps or is no more; with the cores that others and that it used meanwhile."""
        steps: list[Steps] = []
        memory: Memory | None = None
        swap, here = 0.0, False
        before = self.read_cpu(trial)
        assert self._reader is not None
        while True:
            over = trial.ended()
            for record in [record for block in self._reader.read_all() for record in block]:
                match record:
                    case ProfileChanged(id=found) if found == name:
                        swap, here, before = record.seconds, True, self.read_cpu(trial)
                        if record.error:
                            return self.failed(steps, record.error), 0.0, 0.0
                    case Steps() if here:
                        steps.append(record)
                    case Memory() if here:
                        memory = record
                    case ProfileMeasured(id=found) if found == name:
                        after = self.read_cpu(trial)
                        visited = Visited(steps, memory, swap, OK)
                        return visited, contention.foreign_cores(before, after), contention.own_cores(before, after)
            if over:
                return Visited(steps, memory, swap, self.close(trial).verdict), 0.0, 0.0
            if self._tick(trial):
                return None, 0.0, 0.0
            trial.wait(POLL_SECONDS)

    def failed(self, steps: list[Steps], why: str) -> Visited:
        return Visited(steps, None, 0.0, Verdict(kind="refused", text=why))

    def use(self, trial: Attempt, visited: Visited, began: float, foreign: float, own: float) -> Use:
        """What the visit used, from readings of the machine within it and one at its end."""
        samples = [r for block in self._machine.read_all() for r in block if isinstance(r, Sample) and r.t >= began]
        pids = descendants(trial.who.pid)
        sizes = [size for pid in pids if (size := smaps(pid)) is not None]
        trainer = smaps(trial.who.pid)
        shm = os.statvfs("/dev/shm")  # noqa: S108  looked at, not written to
        now = sum(pss for _, pss, _ in sizes) + (trainer[1] if trainer else 0)
        peaks = [sum(worker.pss or worker.rss for worker in sample.workers) for sample in samples] + [now]
        gpus = [gpu for sample in samples for gpu in sample.gpus if gpu.own_memory]
        beside = [gpu.others_util for gpu in gpus if gpu.others_util is not None]
        utils = [gpu.util for gpu in gpus if gpu.util is not None]
        return Use(
            ram_slope=slope(samples),
            ram_peak=max(peaks) or None,
            worker_pss=sum(pss for _, pss, _ in sizes) // len(sizes) if sizes else None,
            worker_uss=sum(uss for _, _, uss in sizes) // len(sizes) if sizes else None,
            trainer_pss=trainer[1] if trainer else None,
            shm_peak=max([sample.shm_used for sample in samples] + [(shm.f_blocks - shm.f_bavail) * shm.f_frsize]),
            gpu_util=sum(utils) / len(utils) if utils else None,
            vram_allocated=visited.memory.peak_allocated if visited.memory else None,
            vram_reserved=visited.memory.peak_reserved if visited.memory else None,
            vram_device=max((gpu.memory_used or 0 for gpu in gpus), default=0) or None,
            vram_total=gpus[-1].memory_total if gpus else None,
            foreign_vram=max((others(gpu) for gpu in gpus), default=0) or None,
            cores=len(os.sched_getaffinity(0)),
            own_cores=round(own, 3),
            foreign_cores=round(foreign, 3),
            foreign_gpu=sum(beside) / len(beside) if beside else None,
        )

    def read_cpu(self, trial: Attempt) -> contention.Reading:
        """The trial, its workers, this process and its sampler."""
        own = {os.getpid(), *descendants(os.getpid()), trial.who.pid, *descendants(trial.who.pid)}
        return contention.read(own)

    # ------------------------------------------------------------ the trial's process

    def trial_for(self, visit: Visit) -> Attempt:
        """The one that runs, if it can take the visit's knobs; otherwise a new one in its place."""
        fixed = {name: visit.knobs[name] for name, knob in KNOBS.items() if not knob.live and name in visit.knobs}
        if self._trial is not None and not self._trial.ended() and fixed == self._fixed:
            return self._trial
        self.end_trial()
        key = self.plan.runs[0]
        trial = begin_run(self.paths, self.plan, key, environment(self.plan, 0))
        self._trial, self._fixed = trial, fixed
        self._reader = Reader(self.run.segment(trial.number))
        self.journal.write(
            RunStarted(
                fold=key.fold, restart=key.restart, attempt=trial.number, pid=trial.who.pid, device=self.plan.device,
                variant=key.variant,
            ),
            sync=True,
        )
        return trial

    def end_trial(self) -> None:
        trial = self._trial
        if trial is None:
            return
        while not trial.ended():
            trial.ask_to_stop("now")
            self._tick(trial)
            trial.wait(POLL_SECONDS)
        self.close(trial)

    def close(self, trial: Attempt) -> Ended:
        ended = trial.close(self._keep)
        key = self.plan.runs[0]
        self._trial = None
        self.journal.write(ended.record(key, trial.number), sync=True)
        return ended


def slope(samples: Sequence[Sample]) -> float | None:
    """Bytes per second that the tree's memory grew by; None for less than SLOPE_SECONDS, which shows nothing."""
    points = [(one.m, float(sum(w.pss or w.rss for w in one.workers))) for one in samples if one.workers]
    if len(points) < SLOPE_POINTS or points[-1][0] - points[0][0] < SLOPE_SECONDS:
        return None
    return linear_regression([m for m, _ in points], [size for _, size in points]).slope


def others(gpu: Gpu) -> int:
    """Bytes of a GPU's memory that other processes use."""
    return max(0, (gpu.memory_used or 0) - (gpu.own_memory or 0))


def summed(lines: Sequence[Steps]) -> dict[str, object]:
    """The raw content of PhaseEnded, from the lines of a journal."""
    totals = {name: sum(getattr(line.spans, name) for line in lines) for name in SPANS}
    return {
        "seconds": tuple(second for line in lines for second in line.each or ()),
        "samples": tuple(n for line in lines for n in phases.shared(line)),
        "spans": Spans(**totals),
        "load_seconds": sum(line.load_seconds for line in lines),
        "load_squares": sum(line.load_squares for line in lines),
        "load_cpu": sum(line.load_cpu for line in lines),
        "loads": sum(line.loads for line in lines),
        "trainer_cpu": sum(line.trainer_cpu for line in lines),
    }
