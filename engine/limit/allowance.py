"""What the limits of an experiment still allow: which comes first, when, how many runs fit, what is spent."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from engine.counts import plural
from engine.eta.forecast import Estimate, forecast
from engine.journals.limit_events import LimitSet, Rate
from engine.limit import limits
from engine.limit.ends import nth_end
from engine.limit.limits import Due
from engine.live.state import ENDED, ExperimentState
from engine.process import boot_id


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How many of `total` runs will be done in time, those that are done counted: as expected, and with the slow and
    the quick end of the forecast's 90 % range. `late_seconds`: by how much the next one would miss it."""

    runs: int
    surely: int
    at_best: int
    total: int
    late_seconds: float | None = None

    @property
    def text(self) -> str:
        """`4 of 30 runs fit (3 to 5); run 5 would end 3 h too late`."""
        between = f" ({self.surely} to {self.at_best})" if self.surely != self.at_best else ""
        if self.total == 1:
            said = "the run fits" if self.runs else "the run does not fit"
        elif self.runs == self.total:
            said = f"all {self.total} runs fit"
        else:
            said = f"{self.runs} of {plural(self.total, 'run')} {'fits' if self.runs == 1 else 'fit'}"
        if self.late_seconds is None or self.runs >= self.total:
            return f"{said}{between if self.total > 1 else ''}"
        which = "it" if self.total == 1 else f"run {self.runs + 1}"
        return f"{said}{between if self.total > 1 else ''}; {which} would end {rough(self.late_seconds)} too late"


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """`dues`: every limit, the earliest first. `spent`: money so far, None without a price. `fit`: None where the
    forecast does not know."""

    dues: tuple[Due, ...]
    fit: Fit | None = None
    spent: float | None = None
    rate: Rate | None = None
    budget: float | None = None

    @property
    def first(self) -> Due:
        return self.dues[0]

    @property
    def tight(self) -> bool:
        """Whether not every run will be done in time."""
        return self.fit is not None and self.fit.runs < self.fit.total


def passed(record: LimitSet, state: ExperimentState) -> float:
    """Seconds since the record was written, up to the experiment's end."""
    if state.ended is not None and state.ended.t >= record.t:
        return max(0.0, state.ended.m - record.m if state.ended.m >= record.m else state.ended.t - record.t)
    same = record.boot_id == boot_id()
    return max(0.0, state.now_monotonic - record.m if same else state.now - record.t)


def allowance(state: ExperimentState) -> Allowance | None:
    """None where nothing limits it. Of what has ended, how it was at its end: what was left, and what it has cost."""
    record = state.limit
    if record is None:
        return None
    since = passed(record, state)
    dues = limits.dues(record, state.ended.t if state.ended is not None else state.now, since)
    rate = record.limits.rate
    cost = limits.spent(record, since) if rate is not None else None
    if not dues:
        return None
    over = state.phase in ENDED or state.plan.test is not None
    fit = None if over else fit_of(state, dues[0].seconds)
    return Allowance(dues=dues, fit=fit, spent=cost, rate=rate, budget=record.limits.budget)


def fit_of(state: ExperimentState, seconds: float) -> Fit | None:
    """How many runs of a living experiment are done within `seconds`."""
    done = state.runs_finished
    failed = sum(run.phase == "failed" and run.failures > state.plan.retries for run in state.runs)
    left = len(state.runs) - done - failed
    if state.stop_after_runs:
        left = min(left, max(0, state.stop_after_runs - state.runs_ended_here))
    return fit(lambda count: ends_after(state, count), left, seconds, done)


def ends_after(state: ExperimentState, count: int) -> Estimate:
    """When `count` more runs are done, the one under way counted."""
    asked = msgspec.structs.replace(state, stop=None, stop_after_runs=state.runs_ended_here + count)
    until = forecast(asked).experiment
    if len(state.under_way) < 2 or not until.seconds or until.low is None or until.high is None:
        return until
    at = nth_end(state, count)  # one of those side by side is done before the others are
    if at is None:
        return until
    part = at / until.seconds
    return msgspec.structs.replace(
        until, seconds=at, low=until.low * part, high=until.high * part, at=state.now + at
    )


def fit(ends: Callable[[int], Estimate], left: int, seconds: float, done: int = 0) -> Fit | None:
    """`ends(n)`: when n of the `left` runs are done, from now. None where that is not known."""
    known: dict[int, Estimate] = {}

    def end(count: int) -> Estimate:
        if count not in known:
            known[count] = ends(count)
        return known[count]

    if left < 1:
        return Fit(runs=done, surely=done, at_best=done, total=done) if done else None
    if end(1).seconds is None:
        return None

    def most(bound: Callable[[Estimate], float | None]) -> int:
        """The most runs whose end is in time; ends only grow with the number of runs."""
        low, high = 0, left
        while low < high:
            middle = (low + high + 1) // 2
            at = bound(end(middle))
            if at is not None and at <= seconds:
                low = middle
            else:
                high = middle - 1
        return low

    runs = most(lambda estimate: estimate.seconds)
    surely, at_best = most(lambda estimate: estimate.high), most(lambda estimate: estimate.low)
    late = (end(runs + 1).seconds or seconds) - seconds if runs < left else None
    return Fit(runs=done + runs, surely=done + surely, at_best=done + at_best, total=done + left, late_seconds=late)


def rough(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h`, `2 d`."""
    for size, unit in ((2 * 86_400.0, "d"), (2 * 3600.0, "h"), (120.0, "min")):
        if seconds >= size:
            return f"{seconds / {'d': 86_400.0, 'h': 3600.0, 'min': 60.0}[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"
