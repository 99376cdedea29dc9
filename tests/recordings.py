"""Whole experiment folders as steptop leaves them, simulated: for screens, replay and pictures.

`write_recording(folder, kind, at)` writes plan, data, the supervisor's, the sampler's and the runs' journals as if the
experiment had come to run number `at` (0.25: a quarter of the first run; 2.5: two done, the third half-way).
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from engine.config.experiment import Experiment, resolve_profile
from engine.config.hashes import training_hash
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split, Subject, steps_per_epoch
from engine.config.run_keys import runs_of
from engine.config.tables import Checkpoints, Data, Model, Prepare, Runs, Target
from engine.journals.events import (
    AnyRecord,
    Begin,
    ExperimentEnded,
    Gpu,
    Note,
    PrepareEnded,
    PrepareStarted,
    Progress,
    RunEnded,
    RunStarted,
    Sample,
    Spans,
    Steps,
    SupervisorStarted,
    Verdict,
    Worker,
)
from engine.journals.journal import read, write_all
from engine.live.replay import Replay
from engine.live.state import ExperimentState
from engine.machine.cores import machine
from engine.machine.device_preview import quick_device
from engine.paths import RUNS, ExperimentPaths, write_json
from tests.traces import STARTED as BOOTED, Recipe, run_records

# An experiment that computes in a step what the recorded quickstart does.
LIKE_QUICKSTART = """
title = "as the recording of the quickstart"
epochs = 8
[data]
source = "phantom"
subjects = 30
[prepare]
shape = [64, 64, 64]
spacing_mm = 2.0
[model]
channels = 5
[runs]
folds = 2
restarts = 2
[knobs]
num_workers = 2
val_every_epochs = 2
"""

GIB = 1 << 30
# Friday 20 November 2026, 19:42 UTC
STARTED = 1_795_203_720.0
GAP_SECONDS = 2.5


@dataclass(frozen=True)
class Machine:
    """What the sampler would see."""

    cores: int
    ram: int
    ram_used: int
    worker_bytes: int
    worker_growth: float
    cpu: float
    disk: int
    disk_free: int
    gpu: Gpu | None = None
    gpu_reason: str = ""


@dataclass(frozen=True)
class Scene:
    """One kind of recording: plan, prepared data, how a run goes, and the machine it runs on."""

    experiment_name: str
    experiment: Experiment
    knobs: dict[str, bool | int | float | str]
    profile: str
    subjects: int
    test: tuple[int, ...]
    recipe: Recipe
    machine: Machine
    cv: float
    device: str


ARC = Scene(
    experiment_name="arc-meshnet26",
    experiment=Experiment(
        title="Stroke lesions on T2 MRI, MeshNet-26 at 256³", epochs=50, profile="conservative",
        data=Data(source="bids"), target=Target(dice=0.876, std=0.016, source="Fedorov et al. 2025, arXiv 2503.05531"),
    ),
    knobs={"num_workers": 1}, profile="conservative", subjects=223, test=(75, 74, 74),
    recipe=Recipe(
        epochs=50, steps_per_epoch=148, spans=Spans(data=15.2, h2d=0.06, forward=0.9, loss=0.08, backward=1.6, optimizer=0.17),
        startup_seconds=41.0, validate_every=0, evaluate_items=75, evaluate_item_seconds=16.4, checkpoint_seconds=0.4,
        load_seconds=17.3, num_workers=1, device="cuda:0", device_name="NVIDIA A100-SXM4-80GB",
        gpu_bytes=round(61.0 * GIB), best_dice=0.868,
    ),
    machine=Machine(
        cores=12, ram=170 * GIB, ram_used=round(14 * GIB), worker_bytes=round(6.2 * GIB), worker_growth=0.4 * GIB,
        cpu=1.08, disk=1000 * 10**9, disk_free=312 * 10**9,
        gpu=Gpu(
            index=0, name="NVIDIA A100-SXM4-80GB", util=17.0, memory_used=round(67.2 * GIB), memory_total=80 * GIB,
            own_memory=round(66.8 * GIB), temperature=39.0, power=92.0, power_limit=400.0, clock=1410.0,
        ),
    ),
    cv=0.04, device="0",
)

COMPUTE = replace(
    ARC, experiment_name="arc-meshnet26", knobs={"num_workers": 4, "val_every_epochs": 5}, profile="moderate",
    recipe=replace(
        ARC.recipe, spans=Spans(data=0.012, h2d=0.018, forward=0.17, loss=0.01, backward=0.295, optimizer=0.012),
        startup_seconds=12.0, validate_every=5, validate_items=16, validate_item_seconds=0.3, evaluate_item_seconds=0.34,
        load_seconds=0.9, num_workers=4,
    ),
    machine=replace(
        ARC.machine, worker_bytes=round(1.3 * GIB), worker_growth=0.0, cpu=4.6,
        gpu=msgspec.structs.replace(ARC.machine.gpu, util=97.0, temperature=66.0, power=371.0),  # type: ignore[type-var]
    ),
)

QUICKSTART = Scene(
    experiment_name="quickstart",
    experiment=Experiment(
        title="MeshNet-5 on phantom brains, two minutes on a laptop", epochs=8, profile="conservative",
        data=Data(source="phantom", subjects=30), prepare=Prepare(shape=(64, 64, 64), spacing_mm=2.0),
        model=Model(channels=5), runs=Runs(folds=2, restarts=2), checkpoints=Checkpoints(),
    ),
    knobs={"num_workers": 2, "val_every_epochs": 2}, profile="conservative", subjects=30, test=(15, 15),
    recipe=Recipe(
        epochs=8, steps_per_epoch=15, spans=Spans(data=0.004, forward=0.055, loss=0.006, backward=0.115, optimizer=0.002),
        startup_seconds=1.6, validate_every=2, validate_items=15, validate_item_seconds=0.07, evaluate_items=15,
        evaluate_item_seconds=0.11, checkpoint_seconds=0.03, checkpoint_bytes=71_000, load_seconds=0.021, num_workers=2,
        voxels_per_sample=262_144, parameters=5_682, best_dice=0.71,
    ),
    machine=Machine(
        cores=2, ram=8 * GIB, ram_used=3 * GIB, worker_bytes=round(0.06 * GIB), worker_growth=0.0, cpu=1.9,
        disk=64 * 10**9, disk_free=21 * 10**9, gpu_reason="no NVIDIA driver: libnvidia-ml.so.1 was not found",
    ),
    cv=0.08, device="cpu",
)

SCENES = {"arc": ARC, "compute": COMPUTE, "quickstart": QUICKSTART}


def write_recording(folder: Path, kind: str = "arc", at: float = 0.25, name: str = "") -> None:
    """A recorded experiment of one of SCENES in `folder`, come to run `at`. The same every time."""
    scene = SCENES[kind]
    plan, prepared = plan_for(scene, name or folder.name), prepared_for(scene)
    paths = ExperimentPaths(folder)
    for made in (folder, paths.control, paths.acknowledged, *(paths.run(k.fold, k.restart).folder for k in plan.runs)):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(paths.plan, plan)
    write_json(paths.data, prepared)
    runs, events, now = _history(scene, plan, prepared, at)
    write_all(paths.events, events)
    for (fold, restart), records in runs.items():
        run = paths.run(fold, restart)
        run.console.write_text("epoch 1\nTraining on " + scene.recipe.device_name + "\n")
        write_all(run.segment(1), records)
    write_all(paths.prepare, [
        Progress(name="prepare", done=done, total=scene.subjects, text=f"sub-{done:03d}", t=STARTED + done * 0.4, m=1.0 + done)
        for done in range(0, scene.subjects + 1, 10)
    ])
    write_all(paths.machine, _samples(scene, STARTED, now))


def on_this_machine(folder: Path) -> None:
    """As if it had been recorded here: on the device, and with as many cores, that a launch on the CPU finds."""
    name, cores = quick_device("cpu")["name"], machine().cores
    for journal in folder.glob(f"{RUNS}/steps-*.jsonl"):
        records = read(journal)
        journal.unlink()
        write_all(journal, [
            msgspec.structs.replace(record, device_name=name, cores=cores) if isinstance(record, Begin) else record
            for record in records
        ])


def state_of(folder: Path) -> ExperimentState:
    """The recording's last moment, as a screen would get it."""
    replay = Replay(folder)
    return replay.state_at(replay.ends)


def plan_for(scene: Scene, name: str) -> Plan:
    profile, _ = resolve_profile(scene.experiment, scene.profile, "", {}, scene.knobs)
    return Plan(
        name=name, experiment_name=scene.experiment_name, experiment=scene.experiment, profile=profile,
        runs=runs_of(scene.experiment), data_dir="/data/ds004884" if scene.experiment.data.source == "bids" else "",
        cache_dir="/data/logs/_cache", device=scene.device, training_hash=training_hash(scene.experiment, profile),
        command=("steptop", "run", scene.experiment_name), created=STARTED - 2.0,
    )


def prepared_for(scene: Scene) -> Prepared:
    """Every subject is held out once; the folds' sizes are the scene's."""
    rng = random.Random(scene.experiment_name)
    subjects = tuple(
        Subject(
            id=f"sub-M{2000 + i}", folder=f"/data/logs/_cache/{i:03d}", lesion_mm3=round(math.exp(rng.uniform(5.3, 12.6))),
            acquisition=rng.choice(("space_2x", "space_no_accel")),
        )
        for i in range(scene.subjects)
    )
    splits, first = [], 0
    for fold, count in enumerate(scene.test):
        test = range(first, first + count)
        splits.append(Split(fold=fold, train=tuple(i for i in range(scene.subjects) if i not in test), test=tuple(test)))
        first += count
    return Prepared(
        subjects=subjects, splits=tuple(splits), data_hash="simulated", stratified_by=("lesion_size", "acquisition"),
        seconds=scene.subjects * 0.4,
    )


def _history(
    scene: Scene, plan: Plan, prepared: Prepared, at: float
) -> tuple[dict[tuple[int, int], list[AnyRecord]], list[AnyRecord], float]:
    """Records of every run so far, the supervisor's, and when it is now."""
    now = STARTED
    runs: dict[tuple[int, int], list[AnyRecord]] = {}
    events: list[AnyRecord] = [
        _at(SupervisorStarted(
            pid=4100, host="simulated", boot_id="simulated", runs=tuple((k.fold, k.restart) for k in plan.runs)
        ), now),
        _at(PrepareStarted(pid=4110), now + 0.3),
    ]
    now += 0.5 + prepared.seconds
    events.append(_at(PrepareEnded(seconds=prepared.seconds, ok=True), now))
    for index, key in enumerate(plan.runs[: math.ceil(at)]):
        split = prepared.split(key.fold)
        recipe = replace(
            scene.recipe, steps_per_epoch=steps_per_epoch(split, plan.profile), evaluate_items=len(split.test)
        )
        rng = random.Random(index)
        records = run_records(recipe, _step_seconds(scene, recipe, rng), now + 1.0, key, seed=index)
        events.append(_at(
            RunStarted(fold=key.fold, restart=key.restart, attempt=1, pid=4242 + index, device=scene.recipe.device), now
        ))
        part = at - index
        if part < 1:
            stop = math.floor(part * recipe.steps)
            last = next((i for i, r in enumerate(records) if isinstance(r, Steps) and r.step >= stop), len(records) - 1)
            records = records[: last + 1]
        runs[key.fold, key.restart] = records
        began, now = now, records[-1].t
        if part >= 1:
            events.append(_at(
                RunEnded(
                    fold=key.fold, restart=key.restart, attempt=1, outcome="finished", rc=0, seconds=now + 0.5 - began,
                    verdict=Verdict(kind="finished", text="trained to its last epoch and evaluated"),
                ), now + 0.5,
            ))
            now += 0.5 + GAP_SECONDS
        elif kind_of(scene) == "arc" and recipe.steps * part > 1200:
            busy = records[len(records) // 2].t
            events.append(_at(Note(text="another process used 3.8 cores (pid 4121)", level="warn"), busy))
    if at >= len(plan.runs):
        events.append(_at(ExperimentEnded(outcome="finished", text=f"all {len(plan.runs)} runs finished"), now - 1.0))
    return runs, sorted(events, key=lambda record: record.t), now


def kind_of(scene: Scene) -> str:
    return next(kind for kind, known in SCENES.items() if known is scene)


def _at(record: AnyRecord, t: float) -> AnyRecord:
    return msgspec.structs.replace(record, t=t, m=t - BOOTED + 1000.0)


def _step_seconds(scene: Scene, recipe: Recipe, rng: random.Random) -> list[float]:
    """A slow start, noise, now and then a stall, and on the loader-bound machine an hour with a noisy neighbour."""
    spans = recipe.spans
    mean = spans.data + spans.h2d + spans.forward + spans.loss + spans.backward + spans.optimizer
    drift, seconds = 0.0, []
    for index in range(recipe.steps):
        drift = 0.4 * drift + rng.gauss(0, scene.cv * 0.9)
        value = mean * max(0.6, 1 + drift)
        if rng.random() < 0.004:
            value *= rng.uniform(1.3, 2.0)
        if index < 9:
            value *= 1 + 3.5 * math.exp(-index / 3)
        if kind_of(scene) == "arc" and 900 <= index < 1000:
            value *= 1.13
        seconds.append(value)
    return seconds


def _samples(scene: Scene, started: float, now: float) -> list[AnyRecord]:
    """The last twenty minutes at the sampler's pace; before that one reading a minute, for the last five hours."""
    rng = random.Random(7)
    begin = max(started, now - 5 * 3600)
    times, t = [], begin
    while t < now:
        times.append(t)
        t += 2.0 if t > now - 1200 else 60.0
    return [_sample(scene, t, t - started, rng) for t in times]


def _sample(scene: Scene, t: float, elapsed: float, rng: random.Random) -> Sample:
    machine, spans = scene.machine, scene.recipe.spans
    gpus: tuple[Gpu, ...] = ()
    if machine.gpu is not None:
        # Utilisation comes in bursts: a loader-bound GPU is idle, then busy for the length of its computing.
        computing = spans.forward + spans.backward + spans.optimizer
        busy = rng.random() < computing / (computing + spans.data)
        util = rng.uniform(88, 100) if busy else rng.uniform(0, 4)
        power = (machine.gpu.power or 0) + (rng.uniform(60, 160) if busy and spans.data > computing else rng.uniform(-6, 6))
        gpus = (msgspec.structs.replace(
            machine.gpu, util=round(util), power=round(power, 1),
            temperature=(machine.gpu.temperature or 0) + rng.choice((-1.0, 0.0, 0.0, 1.0)),
        ),)
    grown = machine.worker_bytes + machine.worker_growth * min(elapsed, 12 * 3600) / 3600
    count = scene.recipe.num_workers
    workers = [Worker(pid=4242, role="trainer", rss=5 * GIB, pss=round(4.1 * GIB) if gpus else GIB // 3, uss=4 * GIB, cpu=0.9)]
    for number in range(count):
        size = round(grown * rng.uniform(0.998, 1.002))
        workers.append(Worker(
            pid=4300 + number, rss=size + GIB // 4, pss=size, uss=round(size * 0.97),
            cpu=round(max(0.0, (machine.cpu - 0.9) / count + rng.gauss(0, 0.03)), 3),
        ))
    used = machine.ram_used + sum(worker.pss or 0 for worker in workers)
    return Sample(
        t=t, m=t - BOOTED + 1000.0, cores=machine.cores, cpu=round(machine.cpu * rng.uniform(0.94, 1.06), 2),
        own_cpu=round(machine.cpu * 0.95, 2), ram_total=machine.ram,
        ram_available=machine.ram - used - rng.randrange(GIB // 50), shm_total=machine.ram // 2,
        shm_used=round(machine.ram * 0.005), disk_total=machine.disk, disk_free=machine.disk_free - round(elapsed * 20),
        disk_read=12e6 * rng.uniform(0.6, 1.4), disk_write=2e4 * rng.uniform(0.2, 3.0), gpus=gpus,
        gpu_reason=machine.gpu_reason, workers=tuple(workers),
    )
