"""A training whose disk fills up under it. `unshare -rm python -m tests.training.full_disk FOLDER`

In a mount namespace of its own, FOLDER becomes a disk of 64 MB. What was seen goes to stdout as one JSON object: what
the command line of steptop said, and what lay in the run's folder, when the disk was full and when it had room again.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.journals.events import CheckpointWritten, Note, RunEnded
from engine.journals.journal import read
from engine.live.state import ENDED
from engine.live.watch import Watch
from engine.paths import ExperimentPaths
from engine.training.data import cache
from tests.conftest import Laboratory, wait_until

EXPERIMENT = """
title = "some steps"
epochs = 20
data = { source = "phantom", subjects = 6, shape = [24, 24, 24] }
prepare = { spacing_mm = 8.0, shape = [20, 24, 20] }
model = { channels = 2 }
runs = { folds = 2, restarts = 1 }
"""


def steptop(folder: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-P", "-m", "tui.cli", "--logs", str(folder / "logs"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr.strip()


def told(folder: Path) -> str:
    command = [sys.executable, "-P", "-m", "tui.cli", "--logs", str(folder / "logs"), "--readonly", "status"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout


def fill(folder: Path) -> Path:
    """Everything that is free, to the last block; again, because what others give back is free again."""
    path = folder / "fill"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return path


def until_ended(paths: ExperimentPaths, meanwhile: Callable[[], object] = lambda: None) -> str:
    watch, deadline = Watch(paths.folder), time.monotonic() + 90
    while (state := watch.poll()).phase not in ENDED or state.supervisor_alive:
        assert time.monotonic() < deadline, f"waited in vain for the end: {state.phase}, {state.verdict}"
        meanwhile()
        time.sleep(0.1)
    return state.phase


def story(folder: Path) -> dict[str, Any]:
    (folder / "steps.toml").write_text(EXPERIMENT)
    lab = Laboratory(folder / "logs")
    paths = ExperimentPaths(folder / "logs" / "steps")
    lab.folders.append(paths.folder)
    run = paths.run(0, 0)
    seen: dict[str, Any] = {}
    try:
        seen["run"] = steptop(folder, "run", str(folder / "steps.toml"))
        wait_until(lambda: any(isinstance(r, CheckpointWritten) for s in run.segments() for r in read(s)), 60, "a checkpoint")
        # It stands still meanwhile, lest it ends before it is asked to.
        trainer = lab.trainer(paths).who.pid
        os.kill(trainer, signal.SIGSTOP)
        filling = fill(folder)
        wait_until(lambda: "the disk is full" in told(folder), 30, "what status says")
        seen["status"] = told(folder)
        fill(folder)
        seen["stop"] = steptop(folder, "stop")
        try:
            cache.check_room(folder / "logs" / "_cache", 5_000_000)
        except cache.DiskFull as error:
            seen["room"] = str(error)
        os.kill(trainer, signal.SIGCONT)
        seen["phase"] = until_ended(paths, lambda: fill(folder))
        seen["resume"] = steptop(folder, "resume")
        records = read(paths.events)
        seen["notes"] = [r.text for r in records if isinstance(r, Note)]
        seen["verdicts"] = [r.verdict.kind for r in records if isinstance(r, RunEnded)]
        seen["left"] = sorted(path.name for path in folder.rglob("*.tmp.*"))
        seen["kept"] = [path.name for path in run.checkpoints()]
        filling.unlink()
        seen["again"] = steptop(folder, "resume")
        seen["end"] = until_ended(paths)
        seen["started"] = [(r.attempt, r.outcome) for r in read(paths.events) if isinstance(r, RunEnded) and r.fold == 0]
    finally:
        lab.close()
    return seen


if __name__ == "__main__":
    disk = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "steptop", str(disk)], check=True)
    print(json.dumps(story(disk)))
