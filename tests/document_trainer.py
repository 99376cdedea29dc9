"""The documents' trainers, with their own loops and their own mistakes, at a shrunken time scale.

`python -m tests.document_trainer RUN_FOLDER`; DOCUMENT in the environment is JSON: `epochs` (seconds of each), whose
ends are printed and written down as the time since the start, as document 001's were; or `validate` (batches) of
`batch` samples, after an epoch of training, and then reconstruction of `volumes`, if it says so.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from engine.config.plan import Plan
from engine.journals.events import Begin, End, EpochEnded, Progress, SpanEnded, Spans, Steps
from engine.journals.journal import Writer
from engine.journals.records import ResultInfo
from engine.paths import ExperimentPaths, RunPaths, read_json, write_json

STEPS = 20
stopped: list[int] = []


def train(journal: Writer, epochs: list[float]) -> int:
    """Its clock starts once and is never set back."""
    start, step = time.monotonic(), 0
    for epoch, whole in enumerate(epochs, 1):
        for _ in range(STEPS):
            began = time.monotonic()
            time.sleep(whole / STEPS)
            took = time.monotonic() - began
            step += 1
            journal.write(Steps(epoch=epoch, step=step, steps=1, seconds=took, low=took, high=took, samples=1))
        elapsed = time.monotonic() - start
        print(f"epoch {epoch} finished, time: {elapsed:.3f} s", flush=True)
        journal.write(EpochEnded(epoch=epoch, step=step, steps=STEPS, seconds=elapsed))
    return step


def validate(journal: Writer, batches: int, batch: int, volumes: int) -> int:
    """An epoch, then validation as long as its author thought."""
    for step in range(1, STEPS * 3 + 1):
        began = time.monotonic()
        time.sleep(0.005)
        took = time.monotonic() - began
        spans = Spans(forward=took)
        journal.write(Steps(epoch=1, step=step, steps=1, seconds=took, low=took, high=took, samples=1, spans=spans))
    for done in range(batches + 1):
        journal.write(Progress(name="validate", done=done * batch, total=batches * batch), sync=True)
        time.sleep(0.05)
    if volumes:
        journal.write(SpanEnded(name="validate", seconds=0.05 * batches, items=batches * batch))
        journal.write(Progress(name="reconstruct", done=0, total=volumes), sync=True)
    while not stopped:
        time.sleep(0.05)
    return 3 * STEPS


def main(folder: Path) -> int:
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    told, run = json.loads(os.environ["DOCUMENT"]), RunPaths(folder)
    plan = read_json(ExperimentPaths(folder.parent).plan, Plan)
    assert plan is not None
    epochs, attempt = told.get("epochs", [1.0]), int(os.environ["STEPTOP_ATTEMPT"])
    each = 3 * STEPS if "validate" in told else STEPS
    with Writer(run.segment(attempt)) as journal:
        journal.write(Begin(attempt=attempt, epochs=len(epochs), steps_per_epoch=each, pid=os.getpid()), sync=True)
        if "validate" in told:
            step = validate(journal, told["validate"], told["batch"], told.get("volumes", 0))
        else:
            step = train(journal, epochs)
        outcome = "stopped" if stopped else "finished"
        write_json(run.result, ResultInfo(outcome=outcome, attempt=attempt, step=step))  # type: ignore[arg-type]
        write_json(run.results, {"config_hash": plan.training_hash})
        journal.write(End(outcome=outcome, step=step))  # type: ignore[arg-type]
    return 3 if stopped else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
