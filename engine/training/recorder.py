"""Where the time goes: `with recorder.span("forward"): …`, and a line in the journal every quarter of a second.

Nothing here waits for the device. The device times and losses of all steps it has passed by then are looked up
together, when a line is due. Spans that follow each other share the mark between them.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from engine.journals.events import SPANS, Memory, Progress, Record, SpanEnded, Spans, Steps
from engine.training.clock import Clock
from engine.training.losses import Parts

LINE_SECONDS = 0.25
PROGRESS_SECONDS = 1.0
MEMORY_SECONDS = 5.0
# Steps that may await their line before the device is waited for; a CUDA queue is full long before.
PENDING = 1000

Write = Callable[[Record], object]


class NaNLoss(Exception):
    """The loss is no longer a number."""


class NaNGradients(NaNLoss):
    """The loss still is, its gradients are not: the weights after that step are spoilt."""


class Mean:
    """A running mean that can be saved and gone on with."""

    def __init__(self, total: float = 0.0, count: int = 0) -> None:
        self.total = total
        self.count = count

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None


class _Step:
    """One step, until the device has done it."""

    __slots__ = (
        "data", "epoch", "load_cpu", "load_seconds", "load_squares", "loads", "loss", "lr", "marks", "norm", "number",
        "samples", "seconds", "spans", "terms",
    )

    def __init__(self) -> None:
        self.number = self.epoch = self.samples = self.loads = 0
        self.seconds = self.data = self.load_seconds = self.load_squares = self.load_cpu = 0.0
        self.lr: float | None = None
        self.loss: Any = None
        self.norm: Any = None
        self.terms: dict[str, Any] = {}
        self.marks: list[Any] = []
        self.spans: list[tuple[str, Any, Any]] = []


class _DeviceSpan:
    """One named span; the same object each step."""

    __slots__ = ("_begin", "_name", "_of")

    def __init__(self, recorder: Recorder, name: str) -> None:
        self._of = recorder
        self._name = name

    def __enter__(self) -> None:
        of = self._of
        if of.open_mark is None:
            of.open_mark = of.clock.mark()
            of.step.marks.append(of.open_mark)
        self._begin = of.open_mark

    def __exit__(self, *_: object) -> None:
        of = self._of
        end = of.open_mark = of.clock.mark()
        of.step.marks.append(end)
        of.step.spans.append((self._name, self._begin, end))


class _HostSpan:
    """The wait for data: the host's time, whatever the device does meanwhile."""

    __slots__ = ("_begin", "_of")

    def __init__(self, recorder: Recorder) -> None:
        self._of = recorder

    def __enter__(self) -> None:
        self._of.open_mark = None
        self._begin = self._of.now()

    def __exit__(self, *_: object) -> None:
        self._of.step.data += self._of.now() - self._begin


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
    """Times steps and spans of one attempt and writes them down. `losses` is the mean over the present epoch.

    `memory` reads the device's memory (None without one). Raises NaNLoss from `step_ended` or `drain` when a loss that
    is looked up is not finite, NaNGradients when a norm is not.
    """

    def __init__(
        self, write: Write, clock: Clock, memory: Callable[[], Memory | None] = lambda: None,
        now: Callable[[], float] = time.perf_counter, line_seconds: float = LINE_SECONDS,
    ) -> None:
        self.clock = clock
        self.now = now
        self.losses = Mean()
        self.step = _Step()
        self.open_mark: Any = None
        self._write = write
        self._memory = memory
        self._line_seconds = line_seconds
        self._singly = 0
        self._pending: deque[_Step] = deque()
        self._line: list[tuple[_Step, float | None]] = []
        self._since_line = 0.0
        self._sums: dict[str, float] = {}
        self._terms: dict[str, Mean] = {}
        self._spans = {name: _DeviceSpan(self, name) for name in SPANS if name != "data"}
        self._data = _HostSpan(self)
        self._since = now()
        self._cpu = time.process_time()
        self._memory_due = self._since

    # ------------------------------------------------------------ within a step

    def span(self, name: str) -> _DeviceSpan | _HostSpan:
        """`data` is timed on the host, every other span of events.SPANS on the device."""
        return self._data if name == "data" else self._spans[name]

    def loaded(self, samples: int, seconds: float, squares: float = 0.0, cpu: float = 0.0, fresh: bool = True) -> None:
        """A batch arrived: its samples, how long loading them took in the workers (and the squares of it, summed), and
        their CPU seconds. Not `fresh`: it had been there before, nobody loaded it for this step."""
        self.step.samples += samples
        if fresh:
            self.step.loads += samples
            self.step.load_seconds += seconds
            self.step.load_squares += squares
            self.step.load_cpu += cpu

    def loss(self, parts: Parts) -> None:
        """The step's loss and its terms, still on the device. To be called before the step's last span."""
        self.step.loss = self.clock.keep(parts.total)
        self.step.terms = {name: self.clock.keep(value) for name, value in parts.terms.items()}

    def gradients(self, norm: Tensor | None) -> None:
        """The norm of the step's gradients, still on the device; None where nobody needs to look at it. To be called in
        the step's last span."""
        self.step.norm = None if norm is None else self.clock.keep(norm)

    def step_ended(self, number: int, epoch: int, lr: float | None) -> None:
        """Close the step, whose time runs from the end of the one before it."""
        step, now = self.step, self.now()
        step.number, step.epoch, step.lr = number, epoch, lr
        step.seconds, self._since = now - self._since, now
        self._pending.append(step)
        self.step, self.open_mark = _Step(), None
        self._since_line += step.seconds
        if self._since_line >= self._line_seconds or len(self._pending) > PENDING:
            self._take_done()
            if len(self._pending) > PENDING:
                self.clock.wait()  # host-device sync: only if the host has run this far ahead
                self._take_done()
            self._write_line()

    # ------------------------------------------------------------ between steps

    def write_every_step(self, count: int) -> None:
        """The lines of at least the next `count` steps hold the seconds of each."""
        self._singly = count

    def resume(self) -> None:
        """Steps go on from here: what happened since the last one is not theirs."""
        self._since, self._cpu = self.now(), time.process_time()

    def drain(self) -> None:
        """Everything measured so far into the journal. Host-device sync: the steps under way are waited for."""
        if self._pending:
            self.clock.wait()
            now = self.now()
            self._pending[-1].seconds += now - self._since
            self._since = now
            self._take_done()
        self._write_line()

    @contextmanager
    def long(self, name: str, total: int, epoch: int = 0, step: int = 0) -> Iterator[LongSpan]:
        """A span beside the steps (validate, checkpoint, evaluate): progress while it lasts, its seconds at its end.

        One that is broken off leaves no `span` record: its seconds would not be those of a whole one.
        """
        begin = self.now()
        span = LongSpan(self._write, name, total, self.now)
        yield span
        self._since = self.now()
        self._write(SpanEnded(name=name, seconds=self._since - begin, epoch=epoch, step=step, items=span.done))

    # ------------------------------------------------------------ what the device has done

    def _take_done(self) -> None:
        clock, pending = self.clock, self._pending
        while pending and (not pending[0].marks or clock.passed(pending[0].marks[-1])):
            step = pending.popleft()
            for name, begin, end in step.spans:
                self._sums[name] = self._sums.get(name, 0.0) + clock.seconds(begin, end)
            loss = None if step.loss is None else clock.kept(step.loss)
            norm = 0.0 if step.norm is None else clock.kept(step.norm)
            for name, slot in step.terms.items():
                self._terms.setdefault(name, Mean()).add(clock.kept(slot))
            clock.release(step.marks)
            self._line.append((step, loss))
            if loss is None:
                continue
            if not math.isfinite(loss):
                self._write_line()
                raise NaNLoss(f"the loss is {loss} at step {step.number}")
            if not math.isfinite(norm):
                self._write_line()
                said = f"the norm of the gradients is {norm} at step {step.number}, with a loss of {loss:.4g}"
                raise NaNGradients(said)
            self.losses.add(loss)

    def _write_line(self) -> None:
        line, self._since_line = self._line, 0.0
        if not line:
            return
        last, seconds = line[-1][0], [step.seconds for step, _ in line]
        losses = [loss for _, loss in line if loss is not None and math.isfinite(loss)]
        cpu, before = time.process_time(), self._cpu
        self._cpu = cpu
        self._write(
            Steps(
                epoch=last.epoch, step=last.number, steps=len(line), seconds=sum(seconds), low=min(seconds),
                high=max(seconds), samples=sum(step.samples for step, _ in line),
                spans=Spans(data=sum(step.data for step, _ in line), **self._sums),
                load_seconds=sum(step.load_seconds for step, _ in line), loads=sum(step.loads for step, _ in line),
                load_squares=sum(step.load_squares for step, _ in line),
                load_cpu=sum(step.load_cpu for step, _ in line), trainer_cpu=cpu - before,
                each=tuple(round(value, 6) for value in seconds) if self._singly > 0 else None,
                loss=sum(losses) / len(losses) if losses else None, lr=last.lr, losses=self._means(),
            )
        )
        self._singly -= len(line)
        self._line, self._sums, self._terms = [], {}, {}
        if self.now() >= self._memory_due:
            memory = self._memory()
            if memory is not None:
                self._write(memory)
            self._memory_due = self.now() + MEMORY_SECONDS

    def _means(self) -> dict[str, float] | None:
        """Of each term over the line's steps that computed it."""
        found = {name: mean.value for name, mean in self._terms.items() if mean.value is not None}
        return {name: value for name, value in found.items() if math.isfinite(value)} or None
