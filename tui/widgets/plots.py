"""Curves of a run: loss, what held-out cases are judged by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.reactive import reactive

from engine.config.leading import Measure, measure
from engine.live.loss_terms import largest_first
from engine.live.state import RunState
from engine.runs.so_far import judged
from engine.text import clean
from tui.format import count, loss, significant
from tui.messages import View
from tui.plain import wrapped
from tui.widgets.chart import Point, bounds, columns, curve
from tui.widgets.line import Line, ends, width_of
from tui.widgets.panel import Panel

LABEL = 8
# Lines of the terms of a loss, and the height from which a plot leaves room for them.
TERM_LINES = 2
PLOT_AND_TERMS = 7


def losses(run: RunState) -> list[Point]:
    return [(b.last - b.steps / 2, b.loss) for b in run.pace.buckets if math.isfinite(b.loss)]


def plot_lines(
    points: Sequence[Point],
    width: int,
    height: int,
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
        (f"step {count(max(1, round(points[0][0])))}{kind}", "faint"),
    ]
    return [*lines, ends(left, [(count(round(points[-1][0])), "faint")], width)]


class Plot(Panel):
    """A panel with a curve; g switches its scale."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("g", "log_scale", "log scale", show=False)]
    logarithmic: reactive[bool] = reactive(False, repaint=False, init=False)

    def depends(self, view: View) -> tuple[object, ...]:
        run = view.state.run
        return (run.pace, run.curves, run.losses) if run is not None else (None, None, None)

    def action_log_scale(self) -> None:
        self.logarithmic = not self.logarithmic

    def watch_logarithmic(self) -> None:
        self.redraw()


class LossPlot(Plot):
    """What is being learned; m goes through the curves there are."""

    TITLE = "Loss"
    NUMBER = 6
    HELP = (
        "The training loss over the steps of this run; below it what each of its terms contributes now.\n"
        "g: logarithmic scale. m: the next curve (terms of the loss, epoch by epoch; validation figures)."
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "next_curve", "next curve", show=False)]
    chosen: reactive[int] = reactive(0, repaint=False, init=False)

    def action_next_curve(self) -> None:
        self.chosen += 1

    def watch_chosen(self) -> None:
        self.redraw()

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        run = view.state.run
        names = curve_names(run)
        name = names[self.chosen % len(names)]
        if run is not None and name:
            self.entitle(f"{name} {significant(run.curves[name][-1][1])}")
            points: Sequence[Point] = [(float(step), value) for step, value in run.curves[name]]
        else:
            self.entitle(loss(run.loss) if run is not None and run.loss is not None else "")
            points = losses(run) if run is not None else []
        terms = term_lines(run.losses, width) if run is not None and height >= PLOT_AND_TERMS else []
        plot = plot_lines(
            points, width, height - len(terms), log=self.logarithmic, empty="no loss yet", number=significant
        )
        return [*plot, *terms] if points else plot


def term_lines(losses: Mapping[str, float], width: int) -> list[Line]:
    """What each term of the loss contributes, the largest first, in two lines at most."""
    lines: list[Line] = []
    for name, value in largest_first(losses):
        part: Line = [(f" {clean(name)} ", "label"), (significant(value), "text")]
        if lines and width_of(lines[-1]) + width_of(part) <= width:
            lines[-1] += part
        elif len(lines) < TERM_LINES and width_of(part) <= width:
            lines.append(part)
    return lines


def curve_names(run: RunState | None) -> list[str]:
    """The curves there are: '' (the training loss) and every figure that was written more than once."""
    return ["", *sorted(name for name, points in run.curves.items() if len(points) > 1)] if run is not None else [""]


class FigurePlot(Plot):
    """The leading figure of the held-out cases; on wide screens only."""

    TITLE = "Dice"
    NUMBER = 9
    HELP = (
        "What held-out cases are judged by (volumes by Dice) over the steps of this run, where the profile validates "
        "(val_every_epochs). The held-out test comes when the run ends."
    )

    def depends(self, view: View) -> tuple[object, ...]:
        run = view.state.run
        return (*super().depends(view), run.test if run is not None else None, view.state.plan)

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        kind, run = measure(view.state.plan.experiment), view.state.run
        found = run.curves.get(f"val/{kind.figure}", ()) if run is not None else ()
        test = judged(view.state, run) if run is not None else None
        shown = f"test {significant(test)}" if test is not None else significant(found[-1][1]) if found else ""
        self.entitle(shown, title=kind.title)
        if len(found) > 1:
            points = [(float(step), value) for step, value in found]
            return plot_lines(points, width, height, log=self.logarithmic)
        said = [line for text in figure_words(view, kind) for line in wrapped(text, width - 2, 3)]
        return [[], *([("  ", "text"), (line, "label")] for line in said)]


def figure_words(view: View, kind: Measure) -> list[str]:
    """What there is instead of a curve, and when there will be one."""
    state, run = view.state, view.state.run
    found = run.curves.get(f"val/{kind.figure}", ()) if run is not None else ()
    test = judged(state, run) if run is not None else None
    words: list[str] = []
    every = 0 if state.plan.experiment.command else int(state.plan.profile["val_every_epochs"])
    if found:
        step, value = found[0]
        words.append(f"one validation so far: {significant(value)} after step {count(step)}")
    elif state.plan.experiment.command:
        words.append(f"no validation yet: the trainer has written no {kind.title}")
    elif every:
        often = "one after every epoch" if every == 1 else f"one every {count(every)} epochs"
        words.append(f"no validation yet: {often} (val_every_epochs)")
    else:
        words.append("no validation: val_every_epochs = 0")
    if test is not None:
        words.append(f"test {kind.title} at the run's end: {significant(test)}")
    elif run is None or run.phase in ("waiting", "running"):
        words.append(f"the test {kind.title} comes at the run's end")
    return words
