"""What finished runs amount to so far, and how much one more would change it. Pure.

One more run is taken to be drawn as those before it were. Beside n values with mean m and standard deviation s it lies
within m ± t·s·√(1 + 1/n) (the prediction interval for one value, Student's t with n - 1 degrees of freedom), and it
moves the mean by the (n + 1)th part of its distance: by t·s/√(n(n + 1)) at most, 9 times in 10. Restarts of a fold
learn from the same subjects, so of many restarts the figure is somewhat too small.
"""

from __future__ import annotations

from math import sqrt
from statistics import fmean, stdev
from typing import Literal

import msgspec

from engine.config.leading import Measure, measure
from engine.config.run_keys import variants_of
from engine.counts import plural
from engine.live.state import ExperimentState, RunState
from engine.phase.student import quantile
from engine.runs.ablation import Result, compare

LEVEL = 0.9


class SoFar(msgspec.Struct, frozen=True, kw_only=True):
    """The leading figure of the held-out tests over `count` values: of each run, or (`per` fold) of each fold, its
    restarts averaged, where variants are compared.

    `std` is that of a sample (n - 1), `error` the standard error of the mean; `one_more`: one more value would move the
    mean by at most that, 9 times in 10. None where there are too few values, and then `missing` says of what.
    """

    variant: str = ""
    per: Literal["run", "fold"] = "run"
    runs: int = 0
    count: int = 0
    mean: float | None = None
    std: float | None = None
    error: float | None = None
    one_more: float | None = None
    missing: str = ""


def judged(state: ExperimentState, run: RunState) -> float | None:
    """The leading figure of a run's held-out test."""
    return run.test.values.get(measure(state.plan.experiment).figure) if run.test is not None else None


def results(state: ExperimentState) -> list[Result]:
    """Of every finished run that has the figure."""
    return [
        Result(run.key.variant, run.key.fold, run.key.restart, figure)
        for run in state.runs
        if run.phase == "finished" and (figure := judged(state, run)) is not None
    ]


def blank(state: ExperimentState) -> list[RunState]:
    """Finished runs that have learned nothing, as their held-out test says; not those that wrote no figure."""
    kind = measure(state.plan.experiment)
    done = [(run, judged(state, run)) for run in state.runs if run.phase == "finished"]
    return [run for run, figure in done if figure is not None and not kind.learned(figure)]


def so_far(state: ExperimentState) -> tuple[SoFar, ...]:
    """Of each variant in the order they are trained in; one of all runs where there are no variants."""
    found, variants = results(state), variants_of(run.key for run in state.runs)
    kind = measure(state.plan.experiment)
    if not any(variants):
        values = [one.value for one in found]
        mean, std = fmean(values) if values else None, stdev(values) if len(values) > 1 else None
        return (_with_spread(SoFar(runs=len(values), count=len(values), mean=mean, std=std), kind),)
    compared = {one.variant: one for one in compare(found, variants)}
    told = []
    for name in variants:
        one = SoFar(variant=name, per="fold")
        if (known := compared.get(name)) is not None:
            one = msgspec.structs.replace(one, runs=known.runs, count=known.folds, mean=known.mean, std=known.std)
        told.append(_with_spread(one, kind))
    return tuple(told)


def _with_spread(one: SoFar, kind: Measure) -> SoFar:
    """With how well the mean is known; never from a single value, nor from values that show no spread."""
    if one.mean is not None and not kind.learned(one.mean):
        return msgspec.structs.replace(one, missing="nothing was learned")
    if one.std == 0:
        return msgspec.structs.replace(one, missing=f"all {one.count} are the same: how {one.per}s differ is not known")
    if one.std is None:
        words = f"one {one.per} has no spread: a second one shows how much {one.per}s differ"
        return msgspec.structs.replace(one, missing=words if one.count else f"no finished run has a {kind.title} yet")
    return msgspec.structs.replace(
        one,
        error=one.std / sqrt(one.count),
        one_more=one_more(one.count, one.std),
    )


def one_more(count: int, std: float) -> float:
    """By how much another value moves the mean of `count` (2 or more) at most, 9 times in 10."""
    return quantile(LEVEL, count - 1) * std / sqrt(count * (count + 1))


def models_words(state: ExperimentState) -> str:
    """A run that has come to its end and has learned something is a model that can be used, and nothing else is."""
    finished, useless = state.runs_finished, len(blank(state))
    if not finished:
        return "no model yet: 1 run = 1 usable model"
    usable = plural(finished - useless, "usable model") if useless < finished else "no usable model"
    nothing = f": {'it' if finished == 1 else useless} learned nothing" if useless else ""
    return f"{plural(finished, 'run')} = {usable}{nothing}"
