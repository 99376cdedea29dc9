"""Where the time goes: `recorder.lap("forward")` behind what was the forward pass, and a line in the journal every
quarter of a second.

Nothing here waits for the device. The device times and losses of all steps it has passed by then are looked up
together, when a line is due.

Of quick steps only some are timed, as many as may cost TIMED_SHARE of the training, at distances that no period of the
training's own can fall in with. Their laps and their wait for data stand for those of the others in their line, and the
time between the ends of two of them is shared by the steps between; samples, losses and terms are those of every step.
What an untimed step touches here is cold after the work of the step, and takes some ten times as long as in a loop of
its own: so it touches next to nothing.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from engine.journals.events import Memory, Progress, Record, SpanEnded
from engine.training.clock import Clock
from engine.training.line import Line, Loads, Mean
from engine.training.losses import Parts
from engine.training.samples import Batch

LINE_SECONDS = 0.25
PROGRESS_SECONDS = 1.0
MEMORY_SECONDS = 5.0
# Steps that may await their line before the device is waited for; a CUDA queue is full long before.
PENDING = 1000

# What timing a step costs beside work that empties the caches (tests/benchmarks/telemetry_steps.py), the share of the
# training that may go there, and the least part of the steps that is timed.
TIMED_SECONDS = 40e-6
TIMED_SHARE = 0.001
TIMED_LEAST = 0.03
# Shorter than any step: all steps of no time at all are still all steps.
TICK = 1e-9
# Steps along the unit interval that never come back to where one was, and fill it evenly (Weyl).
GOLDEN = 0.6180339887498949

Write = Callable[[Record], object]
Lap = Callable[[str], object]
Laps = list[tuple[str, Any, Any]]
# A step, until the device has done it: number, epoch, lr, seconds, seconds of waiting for data, samples, its loss and
# the like as the clock keeps them, laps and their marks. (A plain tuple: a class of its own costs half as much again.)
Step = tuple[int, int, float | None, float, float, int, Any, Laps, list[Any]]
KEPT = 6
# An untimed step calls this in the place of laps: nothing that is called costs less.
NO_LAP: Lap = len
ALL_STEPS = math.inf
NONE: list[Any] = []


class NaNLoss(Exception):
    """The loss is no longer a number."""


class NaNGradients(NaNLoss):
    """The loss still is, its gradients are not: the weights after that step are spoilt."""


class LongSpan:
    """Something beside the steps that counts items."""

    def __init__(self, write: Write, name: str, total: int, now: Callable[[], float]) -> None:
        self._write, self._name, self._total, self._now = write, name, total, now
        self.done = 0
        self._said = now()
        write(Progress(name=name, done=0, total=total))

    def advance(self, text: str = "") -> None:
        """One item done; written at most once a second."""
        self.done += 1
        if self._now() - self._said >= PROGRESS_SECONDS and self.done < self._total:
            self._said = self._now()
            self._write(Progress(name=self._name, done=self.done, total=self._total, text=text))


class Recorder:
    """Times steps and their laps of one attempt and writes them down. `losses` is the mean over the present epoch, `at`
    when the last step ended, by `now`.

    `memory` reads the device's memory (None without one). `timed_share`: of the time, what timing steps may cost; with
    ALL_STEPS every one is timed. Raises NaNLoss from `step_ended` or `drain` when a loss that is looked up is not
    finite, NaNGradients when a norm is not.
    """

    def __init__(
        self, write: Write, clock: Clock, memory: Callable[[], Memory | None] = lambda: None,
        now: Callable[[], float] = time.monotonic, line_seconds: float = LINE_SECONDS,
        timed_share: float = TIMED_SHARE,
    ) -> None:
        self.clock = clock
        self.now = now
        self.losses = Mean()
        self.at = now()
        # `lap(name)`: what the device has been given since the lap before, or since `fetch`, is `name` of events.SPANS.
        # It is another one for each step, to be taken when the step begins.
        self.lap: Lap = self._lap
        self._data = 0.0
        self._samples = 0
        # Of the steps since the last timed one: number, epoch, lr, loss and the like as the clock keeps them; and what
        # their batches tell.
        self._passed: list[tuple[int, int, float | None, Any]] = []
        self._loaded: list[tuple[list[int], float, float, float, bool]] = []
        self._laps: Laps = []
        self._marks: list[Any] = []
        self._part, self._place = 1.0, 0.0
        self._write = write
        self._memory = memory
        self._line_seconds = line_seconds
        self._timed_share = timed_share if line_seconds > 0 else ALL_STEPS  # a line of its own needs its own time
        self._singly = 0
        self._pending: deque[Step] = deque()
        self._line = Line()
        self._since_line = 0.0
        self._loads = Loads()
        self._each: dict[str, float] = {}  # seconds of a step's laps, of the last line that knew
        self._cpu = time.process_time()
        self._memory_due = self.at

    # ------------------------------------------------------------ within a step

    def fetch(self, batches: Iterator[Batch], fresh: bool = True) -> Batch:
        """The next batch, waited for by the host: `data`, whatever the device does meanwhile. Not `fresh`: it had been
        there before, nobody loaded it for this step."""
        timed = self.lap is not NO_LAP
        began = self.now() if timed else 0.0
        batch = next(batches)
        if timed:
            self._data += self.now() - began
            self._marks.append(self.clock.mark())
        self._loaded.append((batch.indices, batch.load_seconds, batch.load_squares, batch.load_cpu, fresh))
        return batch

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Something else that the next batch is waited for with."""
        began = self.now()
        yield
        self._line.data += self.now() - began

    def _time_next(self) -> None:
        """The step that begins is a timed one."""
        self.lap, self._laps, self._marks = self._lap, [], []

    def _close(self) -> None:
        """The steps since the last timed one, this one with its laps at their end if it was timed itself, await the
        device; they share the time that they took together."""
        now = self.now()
        seconds, self.at = now - self.at, now
        self._since_line += seconds
        for indices, took, squares, cpu, fresh in self._loaded:
            self._samples += len(indices)
            if fresh:
                self._loads.add(len(indices), took, squares, cpu)
        each = seconds / len(self._passed)
        for number, epoch, lr, kept in self._passed:
            self._pending.append((number, epoch, lr, each, 0.0, 0, kept, NONE, NONE))
        number, epoch, lr, each, _, _, kept, _, _ = self._pending.pop()
        self._pending.append((number, epoch, lr, each, self._data, self._samples, kept, self._laps, self._marks))
        self._data, self._samples, self._passed, self._loaded = 0.0, 0, [], []
        self.lap, self._laps, self._marks = NO_LAP, NONE, NONE

    def _lap(self, name: str) -> None:
        begin, end = self._marks[-1], self.clock.mark()
        self._marks.append(end)
        self._laps.append((name, begin, end))

    def step_ended(
        self, number: int, epoch: int, lr: float | None, loss: Parts | None = None, norm: Tensor | None = None
    ) -> None:
        """Close the step, whose time runs from the end of the one before it. Its loss, its terms and the norm of its
        gradients are still on the device, and copied without waiting; None where nobody needs to look at it."""
        self._passed.append((number, epoch, lr, self.clock.keep(loss, norm)))
        self._place = (self._place + GOLDEN) % 1.0
        if self.lap is NO_LAP:
            if self._place < self._part:
                self._time_next()
            return
        self._close()
        if self._place < self._part:
            self._time_next()
        # Where few steps are timed a line that holds twice as many is as quick to be seen, and costs half.
        due = self._line_seconds if self._part >= 1.0 else 2 * self._line_seconds
        if self._since_line >= due or len(self._pending) > PENDING:
            self._take_done()
            if len(self._pending) > PENDING:
                self.clock.wait()  # host-device sync: only if the host has run this far ahead
                self._take_done()
            self._write_line()

    # ------------------------------------------------------------ between steps

    def write_every_step(self, count: int) -> None:
        """The lines of at least the next `count` steps hold the seconds of each; the first of these lines takes its
        spans from no step before it."""
        self._singly = count
        self._part, self._each = 1.0, {}
        self._time_next()

    def resume(self) -> None:
        """Steps go on from here: what happened since the last one is not theirs."""
        self.at, self._cpu = self.now(), time.process_time()

    def drain(self) -> None:
        """Everything measured so far into the journal. Host-device sync: the steps under way are waited for."""
        if self._passed:
            self._close()
            if self._place < self._part:
                self._time_next()
        if self._pending:
            self.clock.wait()
            waited, self.at = self.now() - self.at, self.now()
            self._take_done()
            self._line.seconds[-1] += waited
        self._write_line()

    @contextmanager
    def long(self, name: str, total: int, epoch: int = 0, step: int = 0) -> Iterator[LongSpan]:
        """A span beside the steps (validate, checkpoint, evaluate): progress while it lasts, its seconds at its end.

        One that is broken off leaves no `span` record: its seconds would not be those of a whole one.
        """
        begin = self.now()
        span = LongSpan(self._write, name, total, self.now)
        yield span
        self.at = self.now()
        self._write(SpanEnded(name=name, seconds=self.at - begin, epoch=epoch, step=step, items=span.done))

    # ------------------------------------------------------------ what the device has done

    def _take_done(self) -> None:
        clock, pending, line = self.clock, self._pending, self._line
        while pending and clock.arrived(pending[0][KEPT]):
            line.number, line.epoch, line.lr, seconds, data, samples, kept, laps, marks = pending.popleft()
            line.seconds.append(seconds)
            line.samples += samples
            if laps is not NONE:
                line.timed += 1
                line.laps["data"] = line.laps.get("data", 0.0) + data
                for name, begin, end in laps:
                    line.laps[name] = line.laps.get(name, 0.0) + clock.seconds(begin, end)
            clock.release(marks)
            loss, terms, norm = clock.numbers(kept)
            line.numbers(loss, terms)
            if loss is None:
                continue
            if not math.isfinite(loss):
                self._write_line()
                raise NaNLoss(f"the loss is {loss} at step {line.number}")
            if norm is not None and not math.isfinite(norm):
                self._write_line()
                said = f"the norm of the gradients is {norm} at step {line.number}, with a loss of {loss:.4g}"
                raise NaNGradients(said)
            self.losses.add(loss)

    def _write_line(self) -> None:
        line, self._since_line = self._line, 0.0
        if not line.seconds:
            return
        if line.timed:
            self._each = line.of_a_step()
        cpu, before = time.process_time(), self._cpu
        spans = line.spans(self._each, self.clock.asynchronous)
        self._write(line.record(spans, self._loads, cpu - before, each=self._singly > 0))
        self._cpu, self._line, self._loads = cpu, Line(), Loads()
        self._singly -= len(line.seconds)
        mean = sum(line.seconds) / len(line.seconds)
        enough = max(TIMED_LEAST, self._timed_share * max(mean, TICK) / TIMED_SECONDS)
        self._part = 1.0 if self._singly > 0 else enough
        if self.at >= self._memory_due:
            memory = self._memory()
            if memory is not None:
                self._write(memory)
            self._memory_due = self.at + MEMORY_SECONDS
