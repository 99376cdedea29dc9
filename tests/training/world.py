"""A small experiment on disk, prepared by hand: balls in noise, a plan, and ways to start the real trainer on it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.config.experiment import from_table, resolve_profile
from engine.config.hashes import run_hash
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split, Subject
from engine.journals.events import AnyRecord
from engine.journals.journal import read
from engine.journals.records import ResultInfo
from engine.paths import ExperimentPaths, RunPaths, write_json
from tests.conftest import wait_until, whole_plan

TIMEOUT = 120.0

ROOT = Path(__file__).parents[2]


def ball(shape: Sequence[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a brighter ball in it, and the ball."""
    rng = np.random.default_rng(seed)
    radius = min(shape) * rng.uniform(0.2, 0.3)
    centre = [rng.uniform(0.35 * n, 0.65 * n) for n in shape]
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    label = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < radius**2
    image = rng.normal(0.3, 0.08, shape) + 0.35 * label
    return image.astype(np.float32), label.astype(np.uint8)


def build(
    logs: Path, subjects: int = 6, shape: Sequence[int] = (12, 12, 12), table: dict[str, Any] | None = None,
    knobs: dict[str, Any] | None = None, name: str = "world", device: str = "cpu",
) -> ExperimentPaths:
    """plan.json, data.json and the volumes they name. `table` overrides the experiment's fields, `knobs` the profile."""
    experiment_table: dict[str, Any] = {
        "title": "balls", "epochs": 2, "prepare": {"shape": list(shape), "intensity": "none"},
        "model": {"channels": 3}, "runs": {"folds": 2, "restarts": 1},
        "optimizer": {"lr": 0.01}, "knobs": {"num_workers": 0},
    }
    experiment = from_table(experiment_table | (table or {}), "test")
    profile, _ = resolve_profile(experiment, "test", "", {}, knobs or {})
    paths = ExperimentPaths(logs / name)
    paths.folder.mkdir(parents=True)
    plan = whole_plan(experiment, profile, name, created=time.time(), device=device)
    write_json(paths.plan, plan)
    made = []
    for i in range(subjects):
        folder = logs / "_cache" / f"{name}-{i}"
        folder.mkdir(parents=True)
        image, label = ball(shape, i)
        np.save(folder / "image.npy", image)
        np.save(folder / "label.npy", label)
        made.append(Subject(id=f"sub-{i:02d}", folder=str(folder), lesion_voxels=int(label.sum())))
    folds = experiment.runs.folds
    splits = tuple(
        Split(
            fold=f, train=tuple(i for i in range(subjects) if i % folds != f),
            test=tuple(i for i in range(subjects) if i % folds == f),
        )
        for f in range(folds)
    )
    write_json(paths.data, Prepared(subjects=tuple(made), splits=splits, data_hash="balls"))
    for key in plan.runs:
        paths.run(*key.at).folder.mkdir()
    return paths


def plan_of(paths: ExperimentPaths) -> Plan:
    return msgspec.json.decode(paths.plan.read_bytes(), type=Plan)


def prepared_of(paths: ExperimentPaths) -> Prepared:
    return msgspec.json.decode(paths.data.read_bytes(), type=Prepared)


def config_hash(paths: ExperimentPaths, index: int = 0) -> str:
    plan = plan_of(paths)
    return run_hash(plan, plan.runs[index], prepared_of(paths).data_hash)


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "STEPTOP_ATTEMPT"}
    return kept | {
        "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
    }


def start_for_real(run: RunPaths, *under: str) -> subprocess.Popen[bytes]:
    """`python -P -m engine.training RUN_FOLDER` as the supervisor starts it, its words in console.log; `under` goes
    before the command."""
    with run.console.open("ab") as log:
        return subprocess.Popen(
            [*under, sys.executable, "-P", "-m", "engine.training", str(run.folder)], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, cwd=run.folder, env=environment(), start_new_session=True,
        )


def train_for_real(run: RunPaths, seconds: float = 280.0) -> None:
    """That process, to its end without an error."""
    process = start_for_real(run)
    try:
        assert process.wait(seconds) == 0, run.console.read_text()
    finally:
        process.kill()
        process.wait()


class Child:
    """A trainer out of the nursery."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery

    def poll(self) -> int | None:
        self._nursery.listen(0.0)
        return self._nursery.gone.get(self.pid)

    def wait(self, seconds: float = TIMEOUT) -> int:
        deadline = time.monotonic() + seconds
        while self.pid not in self._nursery.gone:
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the trainer is still there after {seconds} s")
            self._nursery.listen(0.1)
        return self._nursery.gone[self.pid]

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """It and the workers it started: they share its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


class Nursery:
    """tests/training/nursery.py, started at first use."""

    def __init__(self) -> None:
        self.gone: dict[int, int] = {}
        self._born: list[int] = []
        self._buffer = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
            env=environment(),
        )

    def start(self, order: dict[str, Any]) -> Child:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        while not self._born:
            self.listen(1.0)
        return Child(self, self._born.pop())

    def listen(self, seconds: float) -> None:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return
        block = os.read(self._process.stdout.fileno(), 1 << 16)
        assert block, "the nursery has died"
        *lines, self._buffer = (self._buffer + block).split(b"\n")
        for line in lines:
            word, *numbers = line.split()
            if word == b"born":
                self._born.append(int(numbers[0]))
            else:
                self.gone[int(numbers[0])] = int(numbers[1])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


_nursery: list[Nursery] = []


def close_nursery() -> None:
    while _nursery:
        _nursery.pop().close()


def start(run: RunPaths, sabotage: str = "", before: str = "", line_seconds: float = 0.0) -> Child:
    """A trainer on `run`, a line in its journal for every step. `before` is a statement it executes first; `sabotage`
    is for an experiment whose loss is `sabotaged` (tests/training/sabotage.py)."""
    if not _nursery:
        _nursery.append(Nursery())
    return _nursery[0].start({
        "folder": str(run.folder), "log": str(run.console), "sabotage": sabotage, "before": before,
        "line_seconds": line_seconds,
    })


def train(run: RunPaths, **how: Any) -> int:
    """Train to the end; the exit code."""
    child = start(run, **how)
    try:
        return child.wait()
    finally:
        child.kill()


def records(run: RunPaths, kind: type | None = None) -> list[AnyRecord]:
    """Of all attempts, in order."""
    every = [record for segment in run.segments() for record in read(segment)]
    return [record for record in every if kind is None or isinstance(record, kind)]


def result(run: RunPaths) -> ResultInfo:
    return msgspec.json.decode(run.result.read_bytes(), type=ResultInfo)


def wait_for(run: RunPaths, kind: type, process: Child | subprocess.Popen[bytes], count: int = 1) -> None:
    """Until the journal holds `count` records of `kind`."""

    def there() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"the trainer ended early: {run.console.read_text()[-2000:]}")
        return len(records(run, kind)) >= count

    wait_until(there, 60, f"{count} {kind.__name__}")
