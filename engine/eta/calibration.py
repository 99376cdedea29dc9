"""How wide a range must be to hold nine times in ten, learnt from forecasts whose end is known.

A residual is how far the truth lay from the forecast, in standard deviations of the forecast's own model. Quantiles of
enough of them, split by rung and by how far the run had come, replace the normal distribution's 1.645 (split conformal
prediction with normalised scores: Papadopoulos et al. 2002; Lei et al. 2018, JASA 113).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, floor, isfinite, log
from typing import Literal, TypeAlias

import msgspec

Rung: TypeAlias = Literal["epoch", "run", "experiment"]
Stage: TypeAlias = Literal["warming", "early", "middle", "late"]

RUNGS: tuple[Rung, ...] = ("epoch", "run", "experiment")
STAGES: tuple[Stage, ...] = ("warming", "early", "middle", "late")
# Shares of a run's steps at which the early and the middle stage end.
EARLY, MIDDLE = 0.1, 0.5
# Each side of a 90 % range.
TAIL = 0.05
Z90 = 1.645
# Fewer residuals, or of fewer runs, say nothing of the tails.
ENOUGH, ENOUGH_RUNS = 20, 4
# A range is never made narrower than this part of the built-in one: residuals of one run are alike.
NARROWEST = 0.6
# Ends nearer than this are not forecast but seen.
NEAR_SECONDS, NEAR = 1.0, 0.01


class Factor(msgspec.Struct, frozen=True):
    """Standard deviations below and above the forecast within which the truth lies nine times in ten."""

    low: float = Z90
    high: float = Z90


class Residual(msgspec.Struct, frozen=True):
    """One forecast against the truth: `score` in the forecast's standard deviations (log scale), `ratio` of the
    predicted total to the true one. `run`: which run it is of."""

    rung: Rung
    stage: Stage
    score: float
    ratio: float
    run: str = ""


class Calibration(msgspec.Struct, frozen=True):
    """`factors` by "rung/stage"; what is missing is built in. From `residuals` of so many `runs`."""

    factors: dict[str, Factor] = {}
    residuals: int = 0
    runs: int = 0

    def factor(self, rung: Rung, stage: Stage) -> Factor:
        name = f"{rung}/{stage}"
        return self.factors.get(name) or BUILT_IN.get(name) or Factor()

    @property
    def basis(self) -> str:
        """What the ranges rest on, in words."""
        if not self.factors:
            return "ranges as wide as steptop's benchmark found them to have to be"
        return f"ranges from {self.residuals:,} forecasts of {self.runs:,} runs here whose end is known"


# As `python -m tests.benchmarks.forecast --calibrate --runs 100` found them on simulated trainings (67,000 residuals),
# times 1.08: trainings it had not seen were held by the bare quantiles 88.7 % of the time.
# While warming the truth may lie far below, which `Cost.below` covers: there the normal distribution's stays.
BUILT_IN: dict[str, Factor] = {
    "run/warming": Factor(Z90, 2.47),
    "run/early": Factor(1.07, 1.76),
    "run/middle": Factor(1.13, 1.78),
    "run/late": Factor(1.33, 1.64),
}


def stage_of(done: float, warming: bool) -> Stage:
    """`done`: share of the run's steps."""
    return "warming" if warming else "early" if done < EARLY else "middle" if done < MIDDLE else "late"


def residual(
    rung: Rung, stage: Stage, seconds: float, sigma: float, truth: float, gone: float, run: str = ""
) -> Residual | None:
    """Of a forecast of `seconds` (log-scale deviation `sigma`) where `truth` seconds were left and `gone` had passed;
    None where there was next to nothing left to forecast."""
    if truth < max(NEAR_SECONDS, NEAR * (gone + truth)) or seconds <= 0 or sigma <= 0:
        return None
    score = log(truth / seconds) / sigma
    return Residual(rung, stage, score, (gone + seconds) / (gone + truth), run) if isfinite(score) else None


def calibrated(residuals: Iterable[Residual]) -> Calibration | None:
    """From all `residuals`; None while no stage of any rung has enough."""
    groups: dict[str, list[Residual]] = {}
    for one in residuals:
        groups.setdefault(f"{one.rung}/{one.stage}", []).append(one)
    enough = {
        name: group
        for name, group in groups.items()
        if len(group) >= ENOUGH and len({one.run for one in group}) >= ENOUGH_RUNS
    }
    if not enough:
        return None
    factors = {name: _kept(quantiles([one.score for one in group]), name) for name, group in enough.items()}
    used = [one for group in enough.values() for one in group]
    return Calibration(factors, len(used), len({one.run for one in used}))


def quantiles(scores: Sequence[float]) -> Factor:
    """Those that leave TAIL of the next score on each side; of few scores the outermost."""
    ordered, count = sorted(scores), len(scores)
    upper = min(count, ceil((count + 1) * (1 - TAIL))) - 1
    lower = max(1, floor((count + 1) * TAIL)) - 1
    return Factor(max(0.0, -ordered[lower]), max(0.0, ordered[upper]))


def _kept(found: Factor, name: str) -> Factor:
    usual = BUILT_IN.get(name) or Factor()
    return Factor(max(found.low, NARROWEST * usual.low), max(found.high, NARROWEST * usual.high))
