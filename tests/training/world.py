"""A small experiment on disk, prepared by hand: balls in noise, a plan, and ways to start the real trainer on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.events import AnyRecord
from engine.experiment import (
    Plan,
    Prepared,
    Split,
    Subject,
    from_table,
    resolve_profile,
    run_hash,
    runs_of,
    training_hash,
)
from engine.journal import read
from engine.paths import ExperimentPaths, RunPaths, write_json
from engine.records import ResultInfo

TIMEOUT = 120.0
ROOT = Path(__file__).parents[2]

# Trains like `python -m engine.training`, with a line in the journal for every step.
EVERY_STEP = """
import sys, time
from pathlib import Path
from engine.training.stop import Stop
if __name__ == "__main__":
    began, stop = time.monotonic(), Stop()
    stop.install()
    {before}
    from engine.training.run import run
    sys.exit(run(Path(sys.argv[1]), stop, began, line_seconds=0.0))
"""


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
    plan = Plan(
        name=name, experiment_name=name, experiment=experiment, profile=profile, runs=runs_of(experiment),
        training_hash=training_hash(experiment, profile), created=time.time(), device=device,
    )
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
        paths.run(key.fold, key.restart).folder.mkdir()
    return paths


def plan_of(paths: ExperimentPaths) -> Plan:
    return msgspec.json.decode(paths.plan.read_bytes(), type=Plan)


def prepared_of(paths: ExperimentPaths) -> Prepared:
    return msgspec.json.decode(paths.data.read_bytes(), type=Prepared)


def config_hash(paths: ExperimentPaths, index: int = 0) -> str:
    plan = plan_of(paths)
    return run_hash(plan, plan.runs[index], prepared_of(paths).data_hash)


def command(run: RunPaths, every_step: bool = False, before: str = "pass") -> list[str]:
    """The trainer's argv; `before` is a statement it executes first."""
    if every_step or before != "pass":
        return [sys.executable, "-P", "-c", EVERY_STEP.format(before=before), str(run.folder)]
    return [sys.executable, "-P", "-m", "engine.training", str(run.folder)]


def environment(sabotage: str = "") -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "STEPTOP_ATTEMPT"}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "SABOTAGE": sabotage}


def start(run: RunPaths, sabotage: str = "", **how: Any) -> subprocess.Popen[str]:
    """The trainer as a process of its own, detached as the supervisor would have it, its words in console.log.

    `sabotage` is for an experiment whose loss is `sabotaged` (tests/training/sabotage.py).
    """
    if sabotage:
        how["before"] = "import tests.training.sabotage"
    with run.console.open("a") as log:
        return subprocess.Popen(
            command(run, **how), stdin=subprocess.DEVNULL, stdout=log, stderr=log, text=True, cwd=run.folder,
            env=environment(sabotage), start_new_session=True,
        )


def train(run: RunPaths, **how: Any) -> int:
    """Train to the end; the exit code."""
    process = start(run, **how)
    try:
        return process.wait(TIMEOUT)
    finally:
        process.kill()
        process.wait()


def records(run: RunPaths, kind: type | None = None) -> list[AnyRecord]:
    """Of all attempts, in order."""
    every = [record for segment in run.segments() for record in read(segment)]
    return [record for record in every if kind is None or isinstance(record, kind)]


def result(run: RunPaths) -> ResultInfo:
    return msgspec.json.decode(run.result.read_bytes(), type=ResultInfo)
