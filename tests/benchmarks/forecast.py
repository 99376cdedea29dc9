"""How well the end is foretold: simulated runs replayed through the real fold. `python -m tests.benchmarks.forecast`.

At a share of its steps each run is cut off, folded and forecast, and the forecast total is compared with what the whole
trace took. Beside it: what tqdm (smoothing 0.3) and a mean since the start say about the same moment.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from engine.events import Steps
from engine.forecast import forecast
from tests.traces import KINDS, experiment_state, trace, until_step

SMOOTHING = 0.3
AT = 0.10


@dataclass(frozen=True)
class Replayed:
    """Relative errors of the total at the cut, and whether the 90 % range held the truth."""

    kind: str
    seed: int
    error: float
    tqdm: float
    mean: float
    held: bool
    width: float


def replay(kind: str, seed: int, at: float = AT) -> Replayed:
    """One simulated run, cut at `at` of its steps."""
    records, truth, recipe = trace(kind, seed)
    step = max(1, round(at * recipe.steps))
    past = until_step(records, step)
    last = past[-1]
    assert isinstance(last, Steps)
    state = experiment_state(recipe, past)
    said = forecast(state).run
    assert said.seconds is not None and said.low is not None and said.high is not None
    elapsed, left = last.t - truth.started, truth.ended - last.t
    first = records[0].t
    quick = truth.at_step[1 : last.step + 1]
    return Replayed(
        kind=kind, seed=seed, error=abs(elapsed + said.seconds - truth.seconds) / truth.seconds,
        tqdm=abs(elapsed + _tqdm([first, *quick]) * (recipe.steps - last.step) - truth.seconds) / truth.seconds,
        mean=abs(elapsed / last.step * recipe.steps - truth.seconds) / truth.seconds,
        held=said.low <= left <= said.high, width=(said.high - said.low) / 2 / truth.seconds,
    )


def _tqdm(times: list[float]) -> float:
    """Seconds per step as an exponential moving average of intervals, bias-corrected; whatever stands between two steps
    (validation, a checkpoint) is in the interval."""
    average, weight = 0.0, 1.0
    for before, after in pairwise(times):
        if after > before:
            average = (1 - SMOOTHING) * average + SMOOTHING * (after - before)
            weight *= 1 - SMOOTHING
    return average / (1 - weight) if weight < 1 else 0.0


def summary(kind: str, seeds: range, at: float = AT) -> tuple[str, list[Replayed]]:
    """A line of the table, and what it is made of."""
    done = [replay(kind, seed, at) for seed in seeds]
    columns = [_pair([getattr(r, name) for r in done]) for name in ("error", "tqdm", "mean")]
    held = sum(r.held for r in done) / len(done)
    wide = median(r.width for r in done)
    return f"{kind:<12} {at:4.0%} {len(done):5d}   {'   '.join(columns)}   {held:6.0%}   ±{wide:.1%}", done


def _pair(errors: list[float]) -> str:
    ordered = sorted(errors)
    return f"{100 * median(ordered):6.1f} ({100 * ordered[int(0.9 * len(ordered))]:6.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="simulated runs of each kind")
    parser.add_argument("--at", type=float, nargs="*", default=[0.02, 0.1, 0.3, 0.6], help="shares of the steps")
    options = parser.parse_args()
    print("error of the total in %, median (p90)")
    print(f"{'kind':<12} {'at':>4} {'runs':>5}   {'steptop':>15}   {'tqdm 0.3':>15}   {'mean':>15}   in 90 %   median width")
    for kind in KINDS:
        for at in options.at:
            print(summary(kind, range(options.runs), at)[0], flush=True)


if __name__ == "__main__":
    main()
