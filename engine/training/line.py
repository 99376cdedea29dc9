"""What goes into a line of the journal about steps: many of them, folded as they are looked up."""

from __future__ import annotations

import math

from engine.journals.events import Spans, Steps


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


class Loads:
    """What loading took: samples, their seconds, the squares of these, CPU seconds."""

    __slots__ = ("count", "cpu", "seconds", "squares")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = self.squares = self.cpu = 0.0

    def add(self, count: int, seconds: float, squares: float, cpu: float) -> None:
        self.count += count
        self.seconds += seconds
        self.squares += squares
        self.cpu += cpu


class Line:
    """The steps since the line before. `laps`: the seconds of each span, over the `timed` of them; `data`: seconds of
    waiting for data beside those of a step's own."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.data = 0.0
        self.samples = self.timed = 0
        self.laps: dict[str, float] = {}
        self.loss = Mean()
        self.terms: dict[str, Mean] = {}
        self.number = self.epoch = 0
        self.lr: float | None = None

    def numbers(self, loss: float | None, terms: dict[str, float]) -> None:
        """A step's loss and the terms that it computed; what is not finite spoils no mean."""
        if loss is not None and math.isfinite(loss):
            self.loss.add(loss)
        for name, value in terms.items():
            self.terms.setdefault(name, Mean()).add(value)

    def of_a_step(self) -> dict[str, float]:
        """Seconds of each span in a timed step; there must be one."""
        return {name: seconds / self.timed for name, seconds in self.laps.items()}

    def spans(self, of_a_step: dict[str, float], asynchronous: bool) -> dict[str, float]:
        """Seconds of each span in all steps, when those in one, of this line or an earlier one, are known. Where
        the host waits for what the device does, they fit into the time that passed."""
        steps = len(self.seconds)
        there, total = sum(self.seconds) - self.data, sum(of_a_step.values()) * steps
        fits = 1.0 if asynchronous or total <= there else there / total
        return {name: seconds * steps * fits for name, seconds in of_a_step.items()}

    def record(self, spans: dict[str, float], loads: Loads, trainer_cpu: float, each: bool) -> Steps:
        """`spans`: seconds of each in all steps."""
        steps, terms = len(self.seconds), {name: mean.value for name, mean in self.terms.items()}
        return Steps(
            epoch=self.epoch, step=self.number, steps=steps, seconds=sum(self.seconds), low=min(self.seconds),
            high=max(self.seconds), samples=self.samples,
            spans=Spans(**spans | {"data": self.data + spans.get("data", 0.0)}),
            load_seconds=loads.seconds, loads=loads.count, load_squares=loads.squares, load_cpu=loads.cpu,
            trainer_cpu=trainer_cpu, each=tuple(round(value, 6) for value in self.seconds) if each else None,
            loss=self.loss.value, lr=self.lr,
            losses={name: value for name, value in terms.items() if value is not None and math.isfinite(value)} or None,
        )
