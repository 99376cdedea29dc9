"""`steptop report`: seconds of the whole command, interpreter and imports included, for recordings, for one that is a day
long, and for a run of 10⁶ steps.

`python -m tests.benchmarks.report`. Targets: a recorded day as Markdown ≤ 0.5 s, with its plots (HTML) ≤ 3 s.
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

# A run of arc takes 37 hours: so much of one is a day.
RECORDED = (("arc", 0.25), ("arc", 0.65), ("arc", 2.5), ("compute", 1.3), ("quickstart", 4.0))
# Markdown to stdout has no plots; a .md file has them beside it, a page in it.
FORMS = ("Markdown", ".md", ".html")
COMPILED = str(Path(tempfile.gettempdir()) / "steptop-benchmark-bytecode")


def reported(folder: Path, form: str) -> tuple[float, float, float]:
    """Wall and CPU seconds of the command, and the size of what it wrote in bytes."""
    path = folder.parent / f"report{form}"
    words = [] if form == FORMS[0] else ["-o", str(path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tui.cli", "report", str(folder), *words], check=True,
        capture_output=True, env=environment(),
    )  # fmt: skip
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, path.stat().st_size if words else len(done.stdout)


def environment() -> dict[str, str]:
    """As installed: compiled once, for pip writes the bytecode of what it installs."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONPYCACHEPREFIX": COMPILED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3, help="the quickest of so many counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        for kind, at in RECORDED:
            folder = Path(made) / f"{kind}-{at}" / kind
            write_recording(folder, kind, at)
            reported(folder, FORMS[0])
            _told(f"{kind}, {at:g} runs", folder, options.repeats)
        folder = Path(made) / "long" / "long"
        write_long_run(folder, options.steps)
        _told(f"{options.steps:,} steps", folder, options.repeats)


def _told(name: str, folder: Path, repeats: int) -> None:
    for form in FORMS:
        wall, busy, size = min(reported(folder, form) for _ in range(repeats))
        print(f"{name:<20}{form:<10}{wall:6.2f} s ({busy:.2f} s of CPU)  {size / 1000:6.0f} kB", flush=True)


if __name__ == "__main__":
    main()
