"""A real loader that runs step by step and says after each what its processes have in memory: one JSON line a step.

    python growing_loader.py CACHE VOLUMES SIDE WORKERS STEPS PERSISTENT FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from engine.config.prepared import Subject
from engine.config.profile import Profile, defaults
from engine.machine.sampler import role_of, smaps
from engine.process import descendants
from engine.training.loader import Feed
from engine.training.samples import Volumes


def main(cache: str, volumes: int, side: int, workers: int, steps: int, persistent: bool, folder: Path) -> None:
    subjects = []
    for number in range(volumes):
        case = folder / f"case-{number}"
        case.mkdir(parents=True)
        for name, kind in (("image.npy", np.float32), ("label.npy", np.uint8)):
            np.save(case / name, np.ones((side,) * 3, kind))
            with (case / name).open("rb") as file:
                os.fsync(file.fileno())
        subjects.append(Subject(id=f"s{number}", folder=str(case)))
    knobs = defaults() | {"num_workers": workers, "persistent_workers": persistent, "cache": cache}
    feed = Feed(Volumes(subjects, 1, cache=cache), Profile(name="x", knobs=knobs), 1, "cpu")
    step, epoch = 0, 0
    while step < steps:
        epoch += 1
        for batch in feed.epoch(epoch):
            del batch
            step += 1
            print(json.dumps({"step": step, "processes": read()}), flush=True)
            if step == steps:
                break
    feed.close()


def read() -> list[tuple[int, str, int, int, int]]:
    own = os.getpid()
    found = [(own, "trainer", *(smaps(own) or (0, 0, 0)))]
    return found + [(pid, role_of(pid, [own]), *(smaps(pid) or (0, 0, 0))) for pid in descendants(own)]


if __name__ == "__main__":
    words = sys.argv[1:]
    main(words[0], int(words[1]), int(words[2]), int(words[3]), int(words[4]), words[5] == "yes", Path(words[6]))
