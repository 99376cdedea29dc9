"""What one forecast costs after a million steps, and what it costs to keep it going: `python -m tests.benchmarks.forecast_cost`."""

from __future__ import annotations

import random
from statistics import median
from time import perf_counter

from msgspec.structs import replace

from engine.config.run_keys import RunKey
from engine.eta.forecast import forecast
from engine.journals.events import Steps
from engine.live.fold_run import fold_run
from engine.live.state import new_run
from tests.traces import Recipe, experiment_state, run_records, until_step

STEPS, EACH = 1_000_000, 4
RUNS = tuple(RunKey(fold=fold, restart=restart, seed=42 + restart) for fold in range(3) for restart in range(10))


def main() -> None:
    """A run of a million steps in lines of four, the first of thirty runs; then a line a refresh."""
    recipe = Recipe(epochs=1000, steps_per_epoch=1100)
    rng = random.Random(1)
    first = until_step(run_records(Recipe(epochs=2, steps_per_epoch=1100), [0.05] * 2200), 2200)
    begin = replace(first[0], epochs=1000)  # type: ignore[type-var]
    t, m, step = first[-1].t, first[-1].m, 2200
    lines = []
    while step < STEPS:
        seconds = 0.2 * rng.lognormvariate(0, 0.1)
        step, t, m = step + EACH, t + seconds, m + seconds
        lines.append(Steps(
            epoch=(step - 1) // 1100 + 1, step=step, steps=EACH, seconds=seconds, low=seconds / 5, high=seconds / 3,
            samples=EACH, loss=0.5, t=t, m=m,
        ))
    run = fold_run(new_run(RUNS[0]), [begin, *first[1:]])
    began = perf_counter()
    run = fold_run(run, lines)
    print(f"folding {len(lines):,} lines: {perf_counter() - began:.2f} s")
    state = replace(experiment_state(recipe, [], t, RUNS), runs=(run, *(new_run(key) for key in RUNS[1:])), now_monotonic=m)
    took, folds = [], []
    for _ in range(200):
        seconds = 0.2 * rng.lognormvariate(0, 0.1)
        step, t, m = step + EACH, t + seconds, m + seconds
        line = Steps(epoch=step // 1100 + 1, step=step, steps=EACH, seconds=seconds, low=0.04, high=0.06, t=t, m=m)
        began = perf_counter()
        run = fold_run(run, [line])
        folds.append(perf_counter() - began)
        state = replace(state, runs=(run, *state.runs[1:]), now=t, now_monotonic=m)
        began = perf_counter()
        said = forecast(state)
        took.append(perf_counter() - began)
    assert said.experiment.seconds is not None
    for name, times in (("folding a line", folds), ("forecast", took)):
        print(f"{name}: median {1000 * median(times):.2f} ms, worst {1000 * max(times):.2f} ms")


if __name__ == "__main__":
    main()
