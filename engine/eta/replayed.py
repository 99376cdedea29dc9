"""Recorded runs foretold again, percent by percent, and held against what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from engine.eta.calibration import Residual, Rung, Stage, residual, stage_of
from engine.eta.earlier import Earlier
from engine.eta.forecast import Forecast, forecast
from engine.eta.interval import Estimate
from engine.eta.moments import Moment as Moment, moments as moments
from engine.journals.events import AnyRecord, ExperimentEnded, RunEnded, RunStarted, Steps
from engine.journals.journal import read
from engine.live.state import ExperimentState
from engine.paths import ExperimentPaths

# Percents of a run's steps whose residuals are kept; of one run they are alike, and more would tell no more.
KEPT = (2, 5, 10, 20, 35, 50, 65, 80, 90)


class Foretold(msgspec.Struct, frozen=True, kw_only=True):
    """One forecast and the truth. Seconds: `gone` until then, `seconds` (`low` to `high`) foretold to be left, `truth`
    left. Time in which the machine slept, or nobody trained, counts nowhere."""

    run: str
    rung: Rung
    percent: int
    step: int
    stage: Stage
    gone: float
    seconds: float
    low: float
    high: float
    sigma: float
    truth: float
    basis: str

    @property
    def total(self) -> float:
        return self.gone + self.seconds

    @property
    def true_total(self) -> float:
        return self.gone + self.truth

    @property
    def error(self) -> float:
        """Of the total, relative to the true one."""
        return self.total / self.true_total - 1 if self.true_total else 0.0

    @property
    def inside(self) -> bool:
        """Whether the 90 % range held the truth."""
        return self.low <= self.truth <= self.high

    @property
    def residual(self) -> Residual | None:
        return residual(self.rung, self.stage, self.seconds, self.sigma, self.truth, self.gone, self.run)


class Ends(msgspec.Struct, frozen=True):
    """When things really ended, by the monotonic clock of one supervisor."""

    attempts: dict[tuple[int, int, str], list[tuple[int, float, float]]]
    finished: frozenset[tuple[int, int, str]]
    experiment: float | None

    def seconds(self, run: tuple[int, int, str]) -> float:
        """What a run took, all its attempts."""
        return sum(last - first for _, first, last in self.attempts[run])

    @property
    def whole(self) -> float | None:
        """What the experiment took from its first run's start; None if it did not end, or was resumed."""
        begun = [first for attempts in self.attempts.values() for _, first, _ in attempts]
        return self.experiment - min(begun) if self.experiment is not None and begun else None


def foretold(folder: Path, every: int = 1, earlier: Earlier | None = None) -> list[Foretold]:
    """Every finished run of an experiment, at each `every` percent of its steps, with what could be known then: its own
    journal, the runs before and beside it, and `earlier` experiments. Raises UsageError for a folder that is none."""
    ends = ends_of(folder)
    return [one for moment in moments(folder, every, earlier) for one in _held(moment, ends)]


def ends_of(folder: Path) -> Ends:
    """When runs and experiment really ended."""
    return _ends(read(ExperimentPaths(folder).events))


def _ends(events: Sequence[AnyRecord]) -> Ends:
    attempts: dict[tuple[int, int, str], list[tuple[int, float, float]]] = {}
    finished, begun, last = set(), {}, None
    for event in events:
        if isinstance(event, RunStarted):
            begun[event.at] = event.m
        elif isinstance(event, RunEnded):
            key = event.at
            first = begun.get(key, event.m - event.seconds)
            attempts.setdefault(key, []).append((event.attempt, first, event.m if event.m >= first else first))
            if event.outcome == "finished":
                finished.add(key)
        elif isinstance(event, ExperimentEnded) and event.outcome == "finished":
            last = event.m
    alone = sum(isinstance(event, ExperimentEnded) for event in events) == 1
    return Ends(attempts, frozenset(finished), last if alone else None)


def _held(moment: Moment, ends: Ends) -> Iterator[Foretold]:
    """This moment's forecasts against the truth."""
    state, percent, record = moment.state, moment.percent, moment.record
    event, epochs, run = moment.event, moment.epochs, moment.state.run
    if run is None:
        return
    said = forecast(state)
    attempts = ends.attempts[event.at]
    gone = sum(last - first for number, first, last in attempts if number < event.attempt)
    gone += sum(max(0.0, record.m - first) for number, first, _ in attempts if number == event.attempt)
    whole = sum(last - first for _, first, last in attempts)
    stage = stage_of(run.step / run.steps_total, said.warming)
    truths: list[tuple[Rung, Estimate, float, float]] = [("run", said.run, gone, whole - gone)]
    if record.epoch in epochs:
        began = max((m for epoch, m in epochs.items() if epoch < record.epoch), default=event.m)
        truths.append(("epoch", said.epoch, record.m - began, epochs[record.epoch] - record.m))
    if ends.experiment is not None:
        began = min(first for runs in ends.attempts.values() for _, first, _ in runs)
        truths.append(("experiment", said.experiment, record.m - began, ends.experiment - record.m))
    for rung, estimate, so_far, truth in truths:
        if estimate.seconds is not None and truth >= 0:
            yield _foretold(rung, estimate, said, state, percent, record, stage, so_far, truth)


def _foretold(
    rung: Rung,
    estimate: Estimate,
    said: Forecast,
    state: ExperimentState,
    percent: int,
    record: Steps,
    stage: Stage,
    gone: float,
    truth: float,
) -> Foretold:
    run = state.run
    return Foretold(
        run=f"{state.plan.name}/{run.key.name}" if run is not None else "",
        rung=rung,
        percent=percent,
        step=record.step,
        stage=stage,
        gone=gone,
        seconds=estimate.seconds or 0.0,
        low=estimate.low or 0.0,
        high=estimate.high or 0.0,
        sigma=estimate.sigma,
        truth=truth,
        basis="warming" if said.warming else estimate.basis,
    )


def residuals(found: Sequence[Foretold]) -> list[Residual]:
    """Those worth keeping: a few percents of every run."""
    kept: list[Residual] = []
    for key in dict.fromkeys((one.run, one.rung) for one in found):
        own = [one for one in found if (one.run, one.rung) == key]
        nearest = {_nearest(own, percent) for percent in KEPT}
        kept += [left for one in own if one.percent in nearest and (left := one.residual) is not None]
    return kept


def _nearest(found: Sequence[Foretold], percent: int) -> int:
    return min((one.percent for one in found), key=lambda known: abs(known - percent))
