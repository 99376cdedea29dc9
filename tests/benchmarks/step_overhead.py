"""What a step of the real trainer takes beside the same step in a bare loop, and how much of it is not the network's.
`python -m tests.benchmarks.step_overhead [--rounds N] [--steps N]`

1. In one process, turn and turn about: an epoch of the trainer's own loop (loader processes, spans, loss terms, looks for
   a stop and for another profile), and as many steps of forward, loss, backward and optimizer on one batch that stays
   where it is. The same network, loss, optimizer and precision. The bare loop goes twice a round: how far those two are
   apart says what the figure is worth. On a CPU the loader takes from the cores that the network computes on; on a GPU
   it does not. Target: 3 % at most.
2. Whole trainings in processes of their own with 0, 1 and 2 workers: of a step's seconds in the journal, those that are
   not forward, loss, backward or optimizer. Target with the best number of workers: 5 % at most.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch

from engine.config.experiment import Experiment, load, resolve_profile
from engine.config.run_keys import runs_of
from engine.journals.events import Steps
from engine.journals.journal import Writer, read
from engine.paths import ExperimentPaths, RunPaths, write_json
from engine.training.job import read as read_job
from engine.training.loop import Trainer
from engine.training.prepare import prepare
from engine.training.samples import Batch
from engine.training.stop import Stop
from tests.benchmarks import _rig
from tests.benchmarks._pairs import Ratio, ratio, turns
from tests.benchmarks._step import bare_step
from tests.conftest import whole_plan

ROOT = Path(__file__).parents[2]
EXPERIMENTS = ROOT / "engine" / "experiments"
# Steps of an epoch. A multiple of 4: a term of vesuvius-small counts at every fourth step.
BLOCK = 12
WAYS = ("bare", "again", "trainer")
# Of a training's steps, the first ones are left out.
WARM_UP = 0.25
COMPUTED = ("forward", "loss", "backward", "optimizer")


class Work(NamedTuple):
    """`told`: in words. `data`: instead of the experiment's."""

    name: str
    told: str
    data: dict[str, Any]


WORKS = (
    Work("quickstart", "MeshNet-5, whole volumes of 28×32×28", {"subjects": 8}),
    Work("vesuvius-small", "residual U-Net, 2 patches of 32³, five terms, augmented", {"subjects": 4}),
)


class Spent(NamedTuple):
    """Seconds of a block, and CPU seconds of this process in it."""

    wall: float
    cpu: float


class Shares(NamedTuple):
    """Of the seconds of a training's steps: waiting for data, copying, and what no span holds."""

    workers: int
    data: float
    copy: float
    rest: float
    step: float

    @property
    def total(self) -> float:
        return self.data + self.copy + self.rest


def experiment_of(work: Work, epochs: int) -> Experiment:
    whole = load(EXPERIMENTS / f"{work.name}.toml")
    return msgspec.structs.replace(whole, epochs=epochs, data=msgspec.structs.replace(whole.data, **work.data))


def laid_out(logs: Path, experiment: Experiment, knobs: dict[str, Any], name: str) -> RunPaths:
    """An experiment's folder as a launch leaves it, data prepared; its first run."""
    profile, _ = resolve_profile(experiment, "benchmark", "", {}, knobs)
    paths = ExperimentPaths(logs / name)
    paths.folder.mkdir(parents=True)
    runs = runs_of(experiment)[:1]
    plan = whole_plan(
        experiment, profile, name, experiment_name=experiment.title, runs=runs, device="cpu",
        cache_dir=str(logs / "_cache"), created=time.time(),
    )
    write_json(paths.plan, plan)
    with Writer(paths.prepare) as writer:
        prepared = prepare(plan, logs, writer, lambda: False, processes=1)
    assert prepared is not None
    write_json(paths.data, prepared)
    run = paths.run(*runs[0].at)
    run.folder.mkdir()
    return run


@contextmanager
def trainer_of(work: Work, logs: Path, workers: int, block: int) -> Iterator[Trainer]:
    """A trainer before its first step, its epochs `block` steps long."""
    run = laid_out(logs, experiment_of(work, 10**6), {"num_workers": workers, "steps_per_epoch": block}, "steps")
    job = read_job(run.folder)
    with Writer(run.segment(1)) as journal:
        trainer = Trainer(job, journal, Stop(), time.monotonic())
        try:
            trainer.start()
            yield trainer
        finally:
            trainer.resources.close()


def resident(trainer: Trainer) -> Batch:
    samples = trainer.task.training(trainer.knobs)
    size = int(trainer.knobs["batch_size"])
    return trainer.learner.to_device(trainer.task.collate([samples[1, draw] for draw in range(size)]))


def bare(trainer: Trainer, batch: Batch) -> None:
    """What trains, and nothing else."""
    learner, task = trainer.learner, trainer.task
    learner.model.train()
    for step in range(trainer.job.steps_per_epoch):
        bare_step(learner, task, batch, step)


def spent(what: Callable[[], None]) -> Spent:
    began, cpu = time.perf_counter(), time.process_time()
    what()
    return Spent(time.perf_counter() - began, time.process_time() - cpu)


def beside(work: Work, workers: int, rounds: int, block: int) -> dict[str, Ratio]:
    """The trainer's epoch over a bare one, and one bare one over the other; by the clock and in CPU."""
    found: dict[str, list[Spent]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder, trainer_of(work, Path(folder), workers, block) as trainer:
        batch = resident(trainer)
        ways: dict[str, Callable[[], None]] = {
            "bare": lambda: bare(trainer, batch), "again": lambda: bare(trainer, batch), "trainer": trainer.train_epoch,
        }
        for number in range(-1, rounds):
            for name in turns(WAYS, number + 1):
                one = spent(ways[name])
                if number >= 0:  # the first round warms up
                    found[name].append(one)
    told: dict[str, Ratio] = {}
    for clock in Spent._fields:
        each = {name: [getattr(one, clock) for one in of] for name, of in found.items()}
        both = [(a + b) / 2 for a, b in zip(each["bare"], each["again"], strict=True)]
        told[clock] = ratio(each["trainer"], both)
        told[f"{clock}, bare over bare"] = ratio(each["again"], each["bare"])
    step = sum(one.wall for one in found["bare"]) / len(found["bare"]) / block
    print(
        f"{work.name} ({work.told}), {workers} workers, {rounds} rounds of {block} steps of {step * 1e3:.0f} ms:\n"
        f"  the trainer's steps over the bare ones: {told['wall'].percent()} by the clock, {told['cpu'].percent()} in its CPU\n"
        f"  (one bare loop over the other: {told['wall, bare over bare'].percent()}, "
        f"{told['cpu, bare over bare'].percent()})", flush=True,
    )
    return told


def shares(work: Work, workers: int, steps: int) -> Shares:
    """A training of so many steps, as the supervisor starts one."""
    knobs = {"num_workers": workers, "steps_per_epoch": steps, "val_every_epochs": 0}
    with tempfile.TemporaryDirectory() as folder:
        run = laid_out(Path(folder), experiment_of(work, 1), knobs, "shares")
        with run.console.open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "engine.training", str(run.folder)], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd=run.folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
            )
        if done.returncode:
            raise RuntimeError(run.console.read_text()[-2000:])
        lines = [record for segment in run.segments() for record in read(segment) if isinstance(record, Steps)]
    kept = [line for line in lines if line.step - line.steps >= steps * WARM_UP] or lines[-1:]
    seconds = sum(line.seconds for line in kept)
    data, copy = (sum(getattr(line.spans, name) for line in kept) for name in ("data", "h2d"))
    computed = sum(getattr(line.spans, name) for line in kept for name in COMPUTED)
    return Shares(
        workers, data / seconds, copy / seconds, (seconds - data - copy - computed) / seconds,
        seconds / sum(line.steps for line in kept),
    )


def not_computed(work: Work, steps: int, workers: list[int]) -> Shares:
    """Printed for each number of workers; the fastest of them."""
    every = [shares(work, count, steps) for count in workers]
    for one in every:
        print(
            f"  {one.workers} workers: {one.step * 1e3:.0f} ms a step; waits for data {one.data:.2%}, copies {one.copy:.2%}, "
            f"no span {one.rest:.2%}: {one.total:.2%} is not the network's", flush=True,
        )
    best = min(every, key=lambda one: one.step)
    print(f"  the fastest, {best.workers} workers: {best.total:.2%}, target 5 %")
    return best


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.step_overhead")
    parser.add_argument("--works", nargs="+", choices=[work.name for work in WORKS], default=[work.name for work in WORKS])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--block", type=int, default=BLOCK, help="steps of an epoch in a round")
    parser.add_argument("--steps", type=int, default=96, help="of a whole training")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="of a whole training")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    machine, own, began = _rig._busy(), _rig._own(), time.perf_counter()
    print(f"torch on {torch.get_num_threads()} threads, {_rig.CORES} cores", flush=True)
    figures: dict[str, Any] = {}
    for work in WORKS:
        if work.name in asked.works:
            of = beside(work, 1, asked.rounds, asked.block)
            best = not_computed(work, asked.steps, asked.workers)
            figures[work.name] = {name: one._asdict() for name, one in of.items()} | {"not the network's": best._asdict()}
    foreign = max(0.0, (_rig._busy() - machine) - (_rig._own() - own)) / (time.perf_counter() - began)
    print(f"other processes took {foreign:.2f} of {_rig.CORES} cores meanwhile")
    _rig.save(asked.json, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
