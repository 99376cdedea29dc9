"""Simulated trainings: the records a trainer would write, and what really came of them.

`trace` makes one run with a known end, for the forecast; tests/recordings.py makes whole experiment folders of them.
Simulated means simulated: shapes and sizes are believable, nothing here was measured.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp, sqrt

from msgspec.structs import replace

from engine.config.experiment import Experiment, resolve_profile
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split, Subject
from engine.config.run_keys import RunKey
from engine.config.tables import Checkpoints
from engine.journals.events import (
    AnyRecord,
    Begin,
    CheckpointWritten,
    End,
    EpochEnded,
    Memory,
    Metrics,
    PrecisionActive,
    Progress,
    SpanEnded,
    Spans,
    Steps,
)
from engine.live.fold_run import fold_run
from engine.live.state import ExperimentState, RunState, new_experiment, new_run

KINDS = ("stationary", "cold_epoch", "early_shift", "late_shift", "bursts", "spikes", "creep")
STARTED = 1_795_000_000.0
RECORD_SECONDS = 0.25


USUAL = Spans(data=0.1, forward=0.3, loss=0.02, backward=0.5, optimizer=0.08)


@dataclass(frozen=True)
class Recipe:
    """What a simulated training is like. Seconds; `spans` are the shares of a step without its noise."""

    epochs: int = 20
    steps_per_epoch: int = 50
    spans: Spans = USUAL
    startup_seconds: float = 5.0
    validate_every: int = 1
    validate_items: int = 10
    validate_item_seconds: float = 1.0
    evaluate_items: int = 20
    evaluate_item_seconds: float = 1.0
    checkpoint_every: int = 1
    checkpoint_seconds: float = 0.4
    checkpoint_bytes: int = 1_800_000
    load_seconds: float = 0.1
    num_workers: int = 0
    voxels_per_sample: int = 16_777_216
    device: str = "cpu"
    device_name: str = "2-core CPU"
    parameters: int = 147_474
    attempt: int = 1
    from_step: int = 0
    gpu_bytes: int = 0
    best_dice: float = 0.86

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


@dataclass(frozen=True)
class Truth:
    """What really happened: `ended` is the wall clock of the last record, `at_step[i]` that of the end of step i."""

    started: float
    ended: float
    at_step: tuple[float, ...] = field(repr=False)

    @property
    def seconds(self) -> float:
        return self.ended - self.started


def step_seconds(kind: str, rng: random.Random, count: int, mean: float, per_epoch: int, cv: float) -> list[float]:
    """Seconds of each step: autocorrelated noise, 1 % stalls of 3–10×, first five steps 3–20×, and the kind's own trouble."""
    phi, log_sd = rng.uniform(0.0, 0.6), sqrt(cv * cv / (1 + cv * cv))
    drift, seconds = rng.gauss(0, log_sd), []
    for index in range(count):
        drift = phi * drift + sqrt(1 - phi * phi) * rng.gauss(0, log_sd)
        value = mean * exp(drift - log_sd * log_sd / 2)
        if rng.random() < 0.01:
            value *= rng.uniform(3, 10)
        if index < 5:
            value *= rng.uniform(3, 20)
        seconds.append(value)
    if kind == "cold_epoch":
        _scale(seconds, 0, per_epoch, rng.uniform(2, 5))
    elif kind == "early_shift":
        _scale(seconds, round(count * rng.uniform(0.02, 0.06)), count, rng.uniform(1.3, 2.0))
    elif kind == "late_shift":
        _scale(seconds, round(count * rng.uniform(0.3, 0.7)), count, rng.uniform(1.3, 2.0))
    elif kind == "creep":
        onset, growth = rng.uniform(0.0, 0.3), rng.uniform(0.3, 1.5)
        seconds = [s * (1 + growth * max(0.0, i / count - onset) / (1 - onset)) for i, s in enumerate(seconds)]
    elif kind == "bursts":
        workers = rng.choice((2, 3, 4, 6, 8))
        seconds = [s * (1 + 2 * (workers - 1)) / 3 if i % workers == 0 else s / 3 for i, s in enumerate(seconds)]
    elif kind == "spikes":
        every = rng.choice((4, 16, 50))
        seconds = [s + mean * 0.2 * every * (i % every == every - 1) for i, s in enumerate(seconds)]
    return seconds


def _scale(seconds: list[float], first: int, last: int, factor: float) -> None:
    for index in range(first, min(last, len(seconds))):
        seconds[index] *= factor


def run_records(
    recipe: Recipe, seconds: Sequence[float], started: float = STARTED, key: RunKey | None = None, seed: int = 0
) -> list[AnyRecord]:
    """Everything a trainer would write from Begin to End. `seconds[i]` is how long step i + 1 took."""
    return list(_stamped(_run(recipe, seconds, key or RunKey(fold=0, restart=0, seed=42), random.Random(seed)), started))


def _stamped(records: Iterator[tuple[float, AnyRecord]], started: float) -> Iterator[AnyRecord]:
    now = started
    for number, (took, record) in enumerate(records, start=1):
        now += took
        yield replace(record, n=number, t=now, m=now - STARTED + 1000.0)


def _run(
    recipe: Recipe, seconds: Sequence[float], key: RunKey, rng: random.Random
) -> Iterator[tuple[float, AnyRecord]]:
    """Pairs of (seconds since the record before, record)."""
    yield 0.0, Begin(
        attempt=recipe.attempt, fold=key.fold, restart=key.restart, seed=key.seed, epochs=recipe.epochs,
        steps_per_epoch=recipe.steps_per_epoch, voxels_per_sample=recipe.voxels_per_sample, device=recipe.device,
        device_name=recipe.device_name, num_workers=recipe.num_workers, parameters=recipe.parameters,
        config_hash="simulated", resumed_from_step=recipe.from_step, pid=4242, boot_id="simulated",
        resumed_from=f"step-{recipe.from_step:08d}.pt" if recipe.from_step else "",
    )
    yield 0.0, Progress(name="startup", done=0, total=1)
    yield recipe.startup_seconds, SpanEnded(name="startup", seconds=recipe.startup_seconds)
    fast = recipe.device.startswith("cuda")
    yield 0.0, PrecisionActive(
        requested="fp16" if fast else "fp32", active="float16" if fast else "float32",
        evidence="26 of 26 convolutions",
    )
    for epoch in range(recipe.from_step // recipe.steps_per_epoch + 1, recipe.epochs + 1):
        yield from _epoch(recipe, seconds, epoch, rng)
    items = recipe.evaluate_items
    yield from _span("evaluate", items, recipe.evaluate_item_seconds * rng.uniform(0.95, 1.05), recipe.epochs, recipe.steps)
    dice = recipe.best_dice + rng.gauss(0, 0.012)
    yield 0.0, Metrics(split="test", values=_metrics(dice), epoch=recipe.epochs, step=recipe.steps)
    yield 0.0, End(outcome="finished", step=recipe.steps, epoch=recipe.epochs)


def _epoch(
    recipe: Recipe, seconds: Sequence[float], epoch: int, rng: random.Random
) -> Iterator[tuple[float, AnyRecord]]:
    first = (epoch - 1) * recipe.steps_per_epoch
    begun = max(first, recipe.from_step)
    held: list[int] = []
    whole = 0.0
    for index in range(begun, first + recipe.steps_per_epoch):
        held.append(index)
        took = sum(seconds[i] for i in held)
        if took >= RECORD_SECONDS or index + 1 == first + recipe.steps_per_epoch:
            yield took, _steps(recipe, [seconds[i] for i in held], index + 1, epoch, rng)
            whole += took
            held = []
    if recipe.gpu_bytes:
        yield 0.0, Memory(
            allocated=recipe.gpu_bytes // 3, reserved=recipe.gpu_bytes, peak_allocated=round(recipe.gpu_bytes * 0.9),
            peak_reserved=recipe.gpu_bytes,
        )
    step = first + recipe.steps_per_epoch
    if recipe.checkpoint_every and (epoch % recipe.checkpoint_every == 0 or epoch == recipe.epochs):
        took = recipe.checkpoint_seconds * rng.uniform(0.8, 1.3)
        yield 0.0, Progress(name="checkpoint", done=0, total=1)
        yield took, SpanEnded(name="checkpoint", seconds=took, epoch=epoch, step=step, items=1)
        last = epoch == recipe.epochs
        yield 0.0, CheckpointWritten(
            file="final.pt" if last else f"step-{step:08d}.pt", step=step, epoch=epoch, bytes=recipe.checkpoint_bytes,
            seconds=took, verified=True,
        )
        whole += took
    if recipe.validate_every and epoch % recipe.validate_every == 0:
        each = recipe.validate_item_seconds * rng.uniform(0.95, 1.05)
        yield from _span("validate", recipe.validate_items, each, epoch, step)
        whole += recipe.validate_items * each
        dice = recipe.best_dice * (1 - exp(-3.5 * epoch / recipe.epochs)) + rng.gauss(0, 0.01)
        yield 0.0, Metrics(split="val", values=_metrics(dice), epoch=epoch, step=step)
    loss = _loss(recipe, step, 0.0)
    yield 0.0, EpochEnded(epoch=epoch, step=step, steps=step - begun, seconds=whole, loss=loss)


def _span(name: str, items: int, each: float, epoch: int, step: int) -> Iterator[tuple[float, AnyRecord]]:
    """A span with a progress line about once a second."""
    yield 0.0, Progress(name=name, done=0, total=items)
    waited, every = 0.0, max(1, round(1.0 / each))
    for done in range(1, items + 1):
        waited += each
        if done % every == 0 and done < items:
            yield waited, Progress(name=name, done=done, total=items)
            waited = 0.0
    yield waited, SpanEnded(name=name, seconds=items * each, epoch=epoch, step=step, items=items)


def _steps(recipe: Recipe, took: list[float], step: int, epoch: int, rng: random.Random) -> Steps:
    total, count = sum(took), len(took)
    usual = recipe.spans
    base = (usual.data + usual.h2d + usual.forward + usual.loss + usual.backward + usual.optimizer) * count
    # What a step takes more or less than usual, it waits for data more or less; a step all of computing is stretched.
    data = max(0.0, total - 0.005 * total - (base - usual.data * count))
    shrink = (total - data) / (1.005 * (base - usual.data * count)) if base > usual.data * count else 0.0
    shares = [value * count * min(1.0, shrink) for value in (usual.h2d, usual.forward, usual.loss, usual.backward, usual.optimizer)]
    return Steps(
        epoch=epoch, step=step, steps=count, seconds=total, low=min(took), high=max(took), samples=count,
        spans=Spans(data=data, h2d=shares[0], forward=shares[1], loss=shares[2], backward=shares[3], optimizer=shares[4]),
        load_seconds=recipe.load_seconds * count * rng.uniform(0.9, 1.1), loads=count,
        loss=_loss(recipe, step, rng.gauss(0, 0.015)), lr=1e-3 * (1 - step / (recipe.steps + 1)),
    )


def _loss(recipe: Recipe, step: int, noise: float) -> float:
    return round(0.2 + 1.4 * exp(-8.0 * step / recipe.steps) + noise * (0.3 + exp(-5.0 * step / recipe.steps)), 5)


def _metrics(dice: float) -> dict[str, float]:
    return {"dice": round(dice, 4), "avd": round(0.55 - 0.35 * dice, 4), "mcc": round(dice - 0.005, 4)}


# ---------------------------------------------------------------- runs with a known end


def trace(
    kind: str, seed: int, epochs: int | None = None, steps_per_epoch: int = 50, **more: object
) -> tuple[list[AnyRecord], Truth, Recipe]:
    """A whole run of one of KINDS with sizes drawn from `seed`: 1,000–4,000 steps, CV 3–25 %, validation of 5–40
    step times after every 50 steps, evaluation and checkpoints."""
    rng = random.Random(f"{kind}/{seed}")
    mean = 10 ** rng.uniform(-0.6, 1.2)
    subject = mean * rng.uniform(0.5, 4)
    recipe = Recipe(
        **{  # type: ignore[arg-type]
            "epochs": epochs or rng.randrange(20, 81), "steps_per_epoch": steps_per_epoch,
            "spans": Spans(data=0.1 * mean, forward=0.3 * mean, loss=0.02 * mean, backward=0.5 * mean, optimizer=0.08 * mean),
            "startup_seconds": rng.uniform(2, 10), "validate_item_seconds": subject,
            "evaluate_item_seconds": subject * rng.uniform(0.8, 1.25), "checkpoint_seconds": rng.uniform(0.05, 0.5),
        } | more
    )
    seconds = step_seconds(kind, rng, recipe.steps, mean, steps_per_epoch, rng.uniform(0.03, 0.25))
    records = run_records(recipe, seconds, seed=seed)
    ends = [(r.step, r.t) for r in records if isinstance(r, Steps)]
    at_step = [STARTED] * (recipe.steps + 1)
    previous = recipe.from_step
    for step, t in ends:
        at_step[previous + 1 : step + 1] = [t] * (step - previous)
        previous = step
    return records, Truth(STARTED, records[-1].t, tuple(at_step)), recipe


def until_step(records: Sequence[AnyRecord], step: int) -> list[AnyRecord]:
    """The records up to the one that ends with step `step` or more."""
    for index, record in enumerate(records):
        if isinstance(record, Steps) and record.step >= step:
            return list(records[: index + 1])
    return list(records)


def until(records: Sequence[AnyRecord], t: float) -> list[AnyRecord]:
    """The records up to wall clock `t`."""
    return list(records[: bisect_right([record.t for record in records], t)])


def plan_of(recipe: Recipe, runs: Sequence[RunKey] = (RunKey(fold=0, restart=0, seed=42),), **more: object) -> Plan:
    """A plan that asks for what the recipe does."""
    experiment = Experiment(
        epochs=recipe.epochs, checkpoints=Checkpoints(epochs=max(1, recipe.checkpoint_every), minutes=0.0)
    )
    knobs = {"num_workers": recipe.num_workers, "val_every_epochs": recipe.validate_every}
    profile, _ = resolve_profile(experiment, "simulated", "", {}, knobs)  # type: ignore[arg-type]
    return Plan(
        **{  # type: ignore[arg-type]
            "name": "simulated", "experiment_name": "simulated", "experiment": experiment, "profile": profile,
            "runs": tuple(runs), "training_hash": "simulated", "created": STARTED - 60,
        } | more
    )


def prepared_of(recipe: Recipe, folds: int = 1) -> Prepared:
    """Folds of which each trains `steps_per_epoch` subjects and tests `evaluate_items`."""
    total = recipe.steps_per_epoch + recipe.evaluate_items
    subjects = tuple(Subject(id=f"sub-{i:03d}", folder=f"/cache/sub-{i:03d}") for i in range(total))
    splits = []
    for fold in range(folds):
        test = [(fold * recipe.evaluate_items + i) % total for i in range(recipe.evaluate_items)]
        splits.append(Split(fold=fold, train=tuple(i for i in range(total) if i not in test), test=tuple(test)))
    return Prepared(subjects=subjects, splits=tuple(splits), data_hash="simulated")


def experiment_state(
    recipe: Recipe, records: Sequence[AnyRecord], now: float | None = None,
    runs: Sequence[RunKey] = (RunKey(fold=0, restart=0, seed=42),), earlier: Sequence[RunState] = (), **more: object,
) -> ExperimentState:
    """An experiment whose present run has written `records`; `earlier` are finished runs before it."""
    state = new_experiment("/logs/simulated", plan_of(recipe, runs))
    index = len(earlier)
    run = fold_run(new_run(runs[index]), records)
    now = now if now is not None else records[-1].t if records else STARTED
    return replace(
        state,
        **{  # type: ignore[arg-type]
            "runs": (*earlier, run, *state.runs[index + 1 :]), "current": index, "phase": "running", "now": now,
            "now_monotonic": now - STARTED + 1000.0, "prepared": prepared_of(recipe, max(key.fold for key in runs) + 1),
            "supervisor_alive": True, "trainer_alive": True,
        } | more,
    )
