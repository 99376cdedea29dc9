"""A stand-in for a trial: obeys profile.json like engine.training.trial, its steps sleep as a loader would make them.

A step takes max(4 ms, 12 ms × batch / num_workers); `in_order` false makes it fail as a GPU out of memory does, and
`val_num_workers` above 8 makes it die by SIGKILL in the middle.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from engine.journals.events import Begin, End, ProfileChanged, ProfileMeasured, Spans, Steps
from engine.journals.journal import Writer
from engine.journals.records import ProfileRequest, ResultInfo
from engine.paths import RunPaths, read_json, write_json

stopped: list[int] = []


def main(folder: Path) -> int:
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    run, attempt = RunPaths(folder), int(os.environ["STEPTOP_ATTEMPT"])
    with Writer(run.segment(attempt)) as journal:
        journal.write(Begin(attempt=attempt, epochs=1, steps_per_epoch=1000, device_name="stand-in", pid=os.getpid()))
        last, step = "", 0
        while not stopped:
            asked = read_json(run.profile, ProfileRequest)
            if asked is None or asked.id == last:
                time.sleep(0.01)
                continue
            last = asked.id
            journal.write(ProfileChanged(id=asked.id, name=asked.name, knobs=asked.knobs, mode=asked.mode, step=step))
            if not asked.knobs["in_order"]:
                print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", file=sys.stderr)
                error = "CUDA out of memory. Tried to allocate 2.00 GiB"
                write_json(run.result, ResultInfo(outcome="failed", attempt=attempt, error_class="OutOfMemoryError", error=error))
                journal.write(End(outcome="failed", error=error))
                return 1
            for _ in range(asked.steps):
                if stopped:
                    break
                step += 1
                journal.write(one_step(step, asked))
                if int(asked.knobs["val_num_workers"]) > 8 and step % 5 == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            journal.write(ProfileMeasured(id=asked.id, steps=asked.steps))
        write_json(run.result, ResultInfo(outcome="stopped", attempt=attempt))
        journal.write(End(outcome="stopped", step=step))
    return 3


def one_step(step: int, asked: ProfileRequest) -> Steps:
    batch, workers = int(asked.knobs["batch_size"]), int(asked.knobs["num_workers"])
    wanted = max(0.004, 0.012 * batch / max(1, workers)) if asked.mode == "train" else 0.004
    began = time.perf_counter()
    time.sleep(wanted)
    seconds = time.perf_counter() - began
    return Steps(
        epoch=1, step=step, steps=1, seconds=seconds, low=seconds, high=seconds, samples=batch, each=(seconds,),
        spans=Spans(data=max(0.0, seconds - 0.004), forward=0.004), load_seconds=0.009 * batch, loads=batch,
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
