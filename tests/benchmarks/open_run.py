"""Opening a run of 10⁶ steps: seconds to the last state and to the full curves, and memory, in a fresh process.

`python -m tests.benchmarks.open_run`. Every step is a line of its own, which a trainer with steps under 0.25 s would not
write. Targets: last state ≤ 0.1 s, full curves ≤ 1.5 s, RSS ≤ 150 MB.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from engine.config.run_keys import RunKey
from engine.journals.events import Begin, RunStarted as Started, Spans, Steps, SupervisorStarted, encode
from engine.journals.journal import write_all
from engine.paths import ExperimentPaths, write_json
from tests.traces import STARTED, Recipe, plan_of

OPEN = """
import resource, sys, time
from pathlib import Path
from engine.live.watch import Watch
began = time.perf_counter()
quick = Watch(Path(sys.argv[1])).quick()
first = time.perf_counter()
busy = time.process_time()
whole = Watch(Path(sys.argv[1])).poll()
end, busy = time.perf_counter(), time.process_time() - busy
assert quick.run.step == whole.run.step == int(sys.argv[2]), (quick.run.step, whole.run.step)
assert whole.run.pace.steps == int(sys.argv[2])
print(first - began, end - first, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def write_long_run(folder: Path, steps: int) -> int:
    """A run of so many one-step lines; the journal's size in bytes."""
    recipe = Recipe(epochs=max(1, steps // 1000), steps_per_epoch=min(steps, 1000), validate_every=0)
    key = RunKey(fold=0, restart=0, seed=42)
    paths = ExperimentPaths(folder)
    run = paths.run(0, 0)
    run.folder.mkdir(parents=True)
    write_json(paths.plan, plan_of(recipe, (key,)))
    write_all(paths.events, [
        SupervisorStarted(pid=1, host="simulated", boot_id="simulated", runs=((0, 0),), t=STARTED, m=1.0),
        Started(fold=0, restart=0, attempt=1, pid=2, t=STARTED, m=1.0),
    ])
    rng = random.Random(1)
    with run.segment(1).open("wb") as file:
        file.write(encode(Begin(n=1, t=STARTED, m=1.0, epochs=recipe.epochs, steps_per_epoch=recipe.steps_per_epoch)))
        now = STARTED
        for step in range(1, steps + 1):
            took = 0.1 * rng.lognormvariate(0, 0.1) * (10 if step < 6 else 1) * (1.2 if step > steps * 0.7 else 1)
            now += took
            file.write(encode(Steps(
                n=step + 1, t=round(now, 3), m=round(now - STARTED + 1, 3), epoch=(step - 1) // 1000 + 1, step=step, steps=1,
                seconds=round(took, 6), low=round(took, 6), high=round(took, 6), samples=1,
                spans=Spans(data=round(took * 0.6, 6), forward=round(took * 0.15, 6), backward=round(took * 0.2, 6)),
                load_seconds=round(took * 0.5, 6), loads=1, loss=round(0.2 + rng.random() / 10, 5), lr=0.001,
            )))
    return run.segment(1).stat().st_size


def opened(folder: Path, steps: int) -> tuple[float, ...]:
    """Seconds of quick() and poll(), CPU seconds of poll(), and peak RSS in bytes, of a process that does no more."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(folder), str(steps)], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )
    return tuple(float(word) for word in done.stdout.split())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        size = write_long_run(Path(made) / "long", options.steps)
        print(f"{options.steps:,} steps, one a line: {size / 1e6:.0f} MB")
        for _ in range(options.repeats):
            quick, whole, busy, rss = opened(Path(made) / "long", options.steps)
            print(
                f"last state {quick:6.3f} s   full curves {whole:6.2f} s ({busy:.2f} s of CPU)   RSS {rss / 1e6:5.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
