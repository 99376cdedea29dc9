"""A trainer of one's own on steptop's loader: real worker processes whose samples take as long as they are told to.

`python -m tests.slow_trainer RUN_FOLDER`; SLOW in the environment is JSON: item (s of loading), compute (s of a step
for a sample), batch_grows (computing grows with the batch), epochs, steps. Volumes are real, loading sleeps or counts.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from engine.config.plan import Plan
from engine.config.prepared import Subject
from engine.journals.events import Begin, End, EpochEnded
from engine.journals.journal import Writer
from engine.journals.records import ProfileRequest, ResultInfo
from engine.paths import ExperimentPaths, RunPaths, read_json, write_json

SHAPE = (16, 16, 16)
COUNT = 64

stopped: list[int] = []


class Sleepy:
    """A transform that takes `seconds`: what a filter over a whole volume does to a patch."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, image: Any, label: Any, _generator: object) -> tuple[Any, Any]:
        time.sleep(self.seconds)
        return image, label


def volumes(folder: Path) -> tuple[Subject, ...]:
    made = []
    for i in range(COUNT):
        case = folder / f"case-{i:02d}"
        if not case.exists():
            case.mkdir(parents=True)
            np.save(case / "image.npy", np.full(SHAPE, i, dtype=np.float32))
            np.save(case / "label.npy", np.zeros(SHAPE, dtype=np.uint8))
        made.append(Subject(id=case.name, folder=str(case)))
    return tuple(made)


def main(folder: Path) -> int:
    from engine.training.clock import HostClock
    from engine.training.loader import Feed
    from engine.training.recorder import Recorder
    from engine.training.samples import Volumes

    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    slow = json.loads(os.environ["SLOW"])
    run, attempt = RunPaths(folder), int(os.environ["STEPTOP_ATTEMPT"])
    plan = read_json(ExperimentPaths(folder.parent).plan, Plan)
    assert plan is not None
    asked = read_json(run.profile, ProfileRequest)
    profile = plan.profile
    feed = Feed(Volumes(volumes(folder.parent / "volumes"), 1, Sleepy(slow["item"])), profile, 1, "cpu")
    batch = int(profile["batch_size"])
    epochs, per_epoch, step = int(slow.get("epochs", 1)), -(-COUNT // batch), 0
    assert asked is None
    with Writer(run.segment(attempt)) as journal:
        journal.write(
            Begin(
                attempt=attempt, epochs=epochs, steps_per_epoch=per_epoch, batch_size=batch, device="cuda:0",
                device_name="A100", num_workers=int(profile["num_workers"]), pid=os.getpid(),
            )
        )
        recorder = Recorder(journal.write, HostClock(), line_seconds=0.05)
        for epoch in range(1, epochs + 1):
            began = time.monotonic()
            batches = feed.epoch(epoch)
            recorder.resume()
            for _ in range(per_epoch):
                if stopped:
                    break
                lap = recorder.lap
                got = recorder.fetch(batches)
                time.sleep(slow["compute"] * (len(got.indices) if slow.get("batch_grows", True) else 1))
                lap("forward")
                step += 1
                recorder.step_ended(step, epoch, None)
            recorder.drain()
            journal.write(EpochEnded(epoch=epoch, step=step, steps=per_epoch, seconds=time.monotonic() - began))
        outcome = "stopped" if stopped else "finished"
        write_json(run.result, ResultInfo(outcome=outcome, attempt=attempt, step=step))  # type: ignore[arg-type]
        write_json(run.results, {"config_hash": plan.training_hash})
        journal.write(End(outcome=outcome, step=step))  # type: ignore[arg-type]
    feed.close()
    return 3 if stopped else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
