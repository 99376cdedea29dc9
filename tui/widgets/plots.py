"""Curves of a run: step time, loss, Dice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.reactive import reactive

from engine.state import RunState
from tui.format import count, duration, loss, significant
from tui.messages import View
from tui.widgets.chart import Point, bounds, columns, curve
from tui.widgets.line import Line, ends
from tui.widgets.panel import Panel

LABEL = 8


def step_times(run: RunState) -> list[Point]:
    """(step, seconds per step) of every bucket behind the first warm-up."""
    return [
        (b.last - b.steps / 2, b.seconds / b.steps)
        for b in run.pace.buckets
        if b.steps and b.last - b.steps >= run.pace.warm_steps
    ]


def losses(run: RunState) -> list[Point]:
    return [(b.last - b.steps / 2, b.loss) for b in run.pace.buckets if math.isfinite(b.loss)]


def plot_lines(
    points: Sequence[Point],
    width: int,
    height: int,
    unit: str = "",
    log: bool = False,
    robust: bool = False,
    empty: str = "",
    number: object = significant,
) -> list[Line]:
    """The curve with its range on the left and the steps it covers below."""
    assert callable(number)
    if len(points) < 2 or height < 3 or width < LABEL + 6:
        return [[], [(f"  {empty}", "label")]] if empty else []
    values = columns(points, 2 * (width - LABEL), log)
    low, high = bounds([value for value in values if value is not None], log, robust)
    rows = curve(values, height - 1, low, high, log)
    middle = math.sqrt(low * high) if log else (low + high) / 2
    labels = {0: number(high), len(rows) - 1: number(low)}
    if len(rows) >= 7:
        labels[len(rows) // 2] = number(middle)
    lines: list[Line] = [
        [(f"{labels.get(y, ''):>{LABEL - 1}} ", "label"), (row, "accent")] for y, row in enumerate(rows)
    ]
    kind = " log" if log else ""
    left: Line = [
        (" " * LABEL, "label"),
        (f"step {count(max(1, round(points[0][0])))}{unit and f' · {unit}'}{kind}", "faint"),
    ]
    return [*lines, ends(left, [(count(round(points[-1][0])), "faint")], width)]


class Plot(Panel):
    """A panel with a curve; g switches its scale."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("g", "log_scale", "log scale", show=False)]
    logarithmic: reactive[bool] = reactive(False, repaint=False, init=False)

    def depends(self, view: View) -> tuple[object, ...]:
        run = view.state.run
        return (run.pace, run.curves) if run is not None else (None, None)

    def action_log_scale(self) -> None:
        self.logarithmic = not self.logarithmic

    def watch_logarithmic(self) -> None:
        self.redraw()


class StepTimePlot(Plot):
    """How the pace went."""

    TITLE = "Step time"
    NUMBER = 5
    HELP = (
        "Seconds per step over the steps of this run, warm-up left out. A single stall does not set the scale: what is "
        "beyond three medians runs along the upper edge.\n"
        "g: logarithmic scale."
    )

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        run = view.state.run
        self.entitle(duration(view.bottleneck.step_seconds) if view.bottleneck.step_seconds else "")
        points = step_times(run) if run is not None else []
        empty = "warming up" if run is not None and run.step else "no steps yet"
        return plot_lines(points, width, height, log=self.logarithmic, robust=True, empty=empty, number=duration)


class LossPlot(Plot):
    """What is being learned; m goes through the curves there are."""

    TITLE = "Loss"
    NUMBER = 6
    HELP = (
        "The training loss over the steps of this run.\n"
        "g: logarithmic scale. m: the next curve (validation figures, when there are some)."
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "next_curve", "next curve", show=False)]
    chosen: reactive[int] = reactive(0, repaint=False, init=False)

    def action_next_curve(self) -> None:
        self.chosen += 1

    def watch_chosen(self) -> None:
        self.redraw()

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        run = view.state.run
        names = (
            ["", *sorted(name for name, points in run.curves.items() if len(points) > 1)] if run is not None else [""]
        )
        name = names[self.chosen % len(names)]
        if run is not None and name:
            self.entitle(f"{name} {significant(run.curves[name][-1][1])}")
            points: Sequence[Point] = [(float(step), value) for step, value in run.curves[name]]
        else:
            self.entitle(loss(run.loss) if run is not None and run.loss is not None else "")
            points = losses(run) if run is not None else []
        return plot_lines(points, width, height, log=self.logarithmic, empty="no loss yet", number=significant)


class DicePlot(Plot):
    """Validation Dice; on wide screens only."""

    TITLE = "Dice"
    NUMBER = 9
    HELP = "Validation Dice over the steps of this run, where the profile validates (val_every_epochs)."

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        run = view.state.run
        found = run.curves.get("val/dice", ()) if run is not None else ()
        self.entitle(significant(found[-1][1]) if found else "")
        points = [(float(step), value) for step, value in found]
        return plot_lines(
            points, width, height, log=self.logarithmic, empty="no validation in this profile", number=significant
        )
