"""`steptop report`: seconds of the whole command for recordings, and for a run of 10⁶ steps.

`python -m tests.benchmarks.report`. Targets: recordings ≤ 0.5 s, 10⁶ steps ≤ 3 s.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.open_run import write_long_run
from tests.recordings import write_recording

RECORDED = (("arc", 0.25), ("arc", 2.5), ("compute", 1.3), ("quickstart", 4.0))


def reported(folder: Path, ending: str) -> tuple[float, float, float]:
    """Wall and CPU seconds of the command, and the size of what it wrote in bytes."""
    path = folder.parent / f"report{ending}"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-P", "-m", "tui.cli", "report", str(folder), "-o", str(path)], check=True,
        capture_output=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, path.stat().st_size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        for kind, at in RECORDED:
            folder = Path(made) / f"{kind}-{at}" / kind
            write_recording(folder, kind, at)
            _told(f"{kind}, {at:g} runs", folder, options.repeats)
        folder = Path(made) / "long" / "long"
        write_long_run(folder, options.steps)
        _told(f"{options.steps:,} steps", folder, options.repeats)


def _told(name: str, folder: Path, repeats: int) -> None:
    for ending in (".md", ".html"):
        wall, busy, size = min(reported(folder, ending) for _ in range(repeats))
        print(f"{name:<20}{ending:<6}{wall:6.2f} s ({busy:.2f} s of CPU)  {size / 1000:6.0f} kB", flush=True)


if __name__ == "__main__":
    main()
