"""How the pace went; where terms of the loss count at an interval, beside it the newest steps one by one, their spikes
in them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, lcm, sqrt

from engine.live.segments import Bucket
from engine.live.spike_lines import Timed
from engine.live.spikes import Spike, briefly, present, said, spikes
from engine.live.state import RunState
from tui.format import count, duration
from tui.messages import View
from tui.widgets.chart import Point, bounds, columns, curve
from tui.widgets.line import Line, ends
from tui.widgets.plots import LABEL, Plot, plot_lines

# Buckets of a curve are averaged over so many times their own length, or a mean would hold one long step more or less.
SMOOTH = 4
# Periods are those of all terms together, as far as such a curve still has points.
LONGEST = 400
# The newest steps have half of a curve this wide, show so many periods at least, and go with fewer.
WIDE, PERIODS, FEWEST = 20, 4, 2
GAP = 2
# The height from which the words have a line below.
TALL = 6


def counted(run: RunState) -> list[Bucket]:
    """Outside the warm-up of the first and of the present attempt.

    The first step is always warm-up here: one that is too little slower to hold a forecast up still bends the curve.
    """
    pace = run.pace
    begins = run.begin.resumed_from_step if run.begin is not None else 0
    warm = begins + max(1, pace.warm_steps)
    first = next((segment.first - 1 for segment in pace.segments[:1] if segment.attempt == 0), 1) if begins else warm
    return [
        b
        for b in pace.buckets
        if b.steps and (b.last - b.steps >= warm or max(1, first) <= b.last - b.steps < begins)
    ]


def step_times(run: RunState) -> list[Point]:
    """(step, seconds per step) of every bucket."""
    return [(b.last - b.steps / 2, b.seconds / b.steps) for b in counted(run)]


def over_periods(buckets: Sequence[Bucket], period: int) -> list[Point]:
    """(step, seconds per step) over whole periods of `period` steps."""
    widest = max((bucket.steps for bucket in buckets), default=1)
    size = period * (1 if widest == 1 else ceil(SMOOTH * widest / period))
    points: list[Point] = []
    steps = seconds = 0.0
    for bucket in buckets:
        each = bucket.seconds / bucket.steps
        taken = min(float(bucket.steps), size - steps)
        steps, seconds, left = steps + taken, seconds + taken * each, bucket.steps - taken
        if steps >= size:
            points.append((bucket.last - left - size / 2, seconds / size))
            steps, seconds = left, left * each
    return points


def one_by_one(lines: Sequence[Timed], intervals: Sequence[int]) -> list[Point]:
    """(step, seconds) of the newest steps without a gap. In a line of several the slowest has the rare term."""
    since = max((at for at, (a, b) in enumerate(pairwise(lines), 1) if b.last - b.steps != a.last), default=0)
    points: list[Point] = []
    for line in lines[since:]:
        numbers = range(line.last - line.steps + 1, line.last + 1)
        long = {number for number in numbers if any((number - 1) % every == 0 for every in intervals)}
        if not 0 < len(long) < line.steps:
            points += [(number, line.seconds / line.steps) for number in numbers]
            continue
        usual = max(line.low, (line.seconds - len(long) * line.high) / (line.steps - len(long)))
        points += [(number, line.high if number in long else usual) for number in numbers]
    return points


def spiking_lines(
    run: RunState, found: Sequence[Spike], width: int, height: int, log: bool = False
) -> list[Line]:
    """The pace over whole periods, and right of it the newest steps one by one; the peak of what shares a column."""
    intervals, room = [one.every for one in found], width - LABEL
    period = lcm(*intervals) if lcm(*intervals) <= LONGEST else max(intervals)
    history = over_periods(counted(run), period)
    singles, cells = one_by_one(present(run), intervals), (room - GAP) // 2
    each = max(1, ceil(PERIODS * max(intervals) / max(1, 2 * cells)))
    singles = singles[-2 * cells * each :] if cells > 0 else []
    if room < WIDE or len(singles) < FEWEST * max(intervals) or len(history) < 2 or height < 3:
        points = history if len(history) > 1 else step_times(run)
        return plot_lines(points, width, height, log=log, robust=True, number=duration)
    peaks = [max(took for _, took in singles[at : at + each]) for at in range(0, len(singles), each)]
    cells = ceil(len(peaks) / 2)
    values = columns(history, 2 * (room - GAP - cells), log)
    low, high = bounds([*(value for value in values if value is not None), *peaks], log, robust=True)
    left = curve(values, height - 1, low, high, log)
    right = curve([value if value > 0 or not log else None for value in peaks], height - 1, low, high, log)
    labels = {0: duration(high), len(left) - 1: duration(low)}
    if len(left) >= 7:
        labels[len(left) // 2] = duration(sqrt(low * high) if log else (low + high) / 2)
    lines: list[Line] = [
        [(f"{labels.get(y, ''):>{LABEL - 1}} ", "label"), (row, "accent"), (" " * GAP, "text"), (comb, "text")]
        for y, (row, comb) in enumerate(zip(left, right, strict=True))
    ]
    begins = f"step {count(max(1, round(history[0][0])))}{' log' if log else ''}"
    head: Line = [(" " * LABEL, "label"), (begins, "faint")]
    foot = ends(head, [(count(round(history[-1][0])), "faint")], width - GAP - cells)
    newest = f"last {count(len(singles))} steps"
    foot = ends(foot, [(newest if len(newest) <= cells else newest.removesuffix(" steps"), "faint")], width)
    return [*lines, foot]


class StepTimePlot(Plot):
    """How the pace went."""

    TITLE = "Step time"
    NUMBER = 5
    HELP = (
        "Seconds per step over the steps of this run, warm-up left out. A single stall does not set the scale: what is "
        "beyond three medians runs along the upper edge.\n"
        "Where a term of the loss counts at every k-th step only: left over whole periods, right the newest steps one "
        "by one (or the longest of a few), the spikes in them.\n"
        "g: logarithmic scale."
    )

    def draw(self, view: View, width: int, height: int) -> list[Line]:
        run = view.state.run
        found = spikes(run) if run is not None else ()
        told = [said(one, duration(one.seconds)) for one in found] if height >= TALL else []
        seconds = duration(view.bottleneck.step_seconds) if view.bottleneck.step_seconds else ""
        if found and not told:
            seconds += f" · {briefly(found[0], duration(found[0].seconds))}"
        self.entitle(seconds)
        if run is not None and found:
            said_lines: list[Line] = [[(f" {words}", "label")] for words in told[: height - TALL + 1]]
            return [*spiking_lines(run, found, width, height - len(said_lines), self.logarithmic), *said_lines]
        points = step_times(run) if run is not None else []
        empty = "warming up" if run is not None and run.step else "no steps yet"
        return plot_lines(points, width, height, log=self.logarithmic, robust=True, empty=empty, number=duration)
