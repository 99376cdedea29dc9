"""A loader swapped in a living trainer: how long the training stands still, with fork and spawn, idle and busy workers.

`python -m tests.benchmarks.swap`
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from engine.journals.events import ProfileChanged, Steps
from engine.journals.records import ProfileRequest
from engine.paths import ExperimentPaths, RunPaths, write_json
from tests.training.world import build, close_nursery, plan_of, records, start

SWAPS = 12
SLOW_ITEM = (
    "import time; from engine.training.samples import Volumes as V; V.quick = V.__getitem__; "
    "V.__getitem__ = lambda self, key: (__import__('time').sleep({0}), self.quick(key))[1]"
)


def ask(run: RunPaths, name: str, **knobs: Any) -> None:
    held = plan_of(ExperimentPaths(run.folder.parent)).profile.knobs
    write_json(run.profile, ProfileRequest(id=name, name=name, knobs=held | knobs))


def swaps(context: str, item: float) -> list[float]:
    """Seconds from the request's being taken up to the next step's start, of SWAPS changes between 2 and 4 workers."""
    with tempfile.TemporaryDirectory() as folder:
        paths = build(
            Path(folder),
            subjects=40,
            shape=(32, 32, 32),
            table={"epochs": 400, "model": {"channels": 2}},
            knobs={"num_workers": 2},
        )
        run = paths.run(0, 0)
        child = start(run, before=SLOW_ITEM.format(item) if item else "", line_seconds=0.1)
        try:
            for number in range(SWAPS):
                wait(lambda: len(records(run, Steps)) > 0)
                seen = len(records(run, ProfileChanged))
                ask(run, f"swap-{number}", num_workers=4 if number % 2 == 0 else 2, multiprocessing_context=context)
                wait(lambda seen=seen: len(records(run, ProfileChanged)) > seen)
                time.sleep(0.6 + item)
        finally:
            child.kill()
        return [record.seconds for record in records(run, ProfileChanged)]


def wait(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)


def main() -> None:
    found: dict[str, dict[str, float]] = {}
    try:
        for context, item in (("fork", 0.0), ("fork", 5.0), ("spawn", 0.0)):
            seconds = swaps(context, item)
            name = f"{context}, {'workers idle' if not item else f'workers in the middle of a {item:.0f} s sample'}"
            found[name] = {"median": median(seconds), "worst": max(seconds), "swaps": len(seconds)}
            print(f"{name:50} median {median(seconds):.2f} s, worst {max(seconds):.2f} s of {len(seconds)}")
    finally:
        close_nursery()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
