"""Replaying a recording of 10⁶ steps: seconds until the first screen can be drawn, and until it is whole.

`python -m tests.benchmarks.replay`. A fresh process for each; `--at` is where in the recording it begins. Target: first
state within 1 s wherever it begins.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.open_run import write_long_run

OPEN = """
import resource, sys, time
from pathlib import Path
from engine.live.replay import Replay
began = time.perf_counter()
replay = Replay(Path(sys.argv[1]), 60.0, float(sys.argv[2]))
quick = replay.quick()
first = time.perf_counter()
whole = replay.poll()
end = time.perf_counter()
assert quick.run is not None and whole.run is not None
print(first - began, end - first, whole.run.step, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def opened(folder: Path, at: float) -> tuple[float, ...]:
    """Seconds of Replay() with quick(), of the first poll(), the step it is at, and peak RSS in bytes."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(folder), str(at)], capture_output=True, text=True, check=True,
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
        for at in (0.0, 0.5, 1.0):
            for _ in range(options.repeats):
                first, whole, step, rss = opened(Path(made) / "long", at)
                print(
                    f"--at {at}: first state {first:6.3f} s   whole {whole:6.3f} s more, at step {step:,.0f}   "
                    f"RSS {rss / 1e6:5.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
