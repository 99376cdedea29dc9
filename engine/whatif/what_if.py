"""What a training would take if something about it were different: counts, knobs, GPUs, cores, hardware.

A step is made of what the GPU does, which scales with the GPU, and what the loader and the host do, which does not: the
queue of loader and trainer (engine.diagnosis.queueing) says what comes of both together. Everything else of a run is
counted as the forecast counts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace
from math import ceil, exp, hypot, log, log1p, sqrt
from typing import NamedTuple

import msgspec

from engine.config.experiment import RunKey, runs_of, variants_of
from engine.config.knob import Value
from engine.config.profile import KNOBS
from engine.diagnosis.consequences import Range
from engine.diagnosis.queueing import Workload, predict
from engine.errors import UsageError
from engine.eta.costs import BETWEEN_RUNS, Cost
from engine.eta.remaining import Amounts, Rhythm, whole_run
from engine.whatif.known import Z90, Known, rhythm_with
from engine.whatif.scaling import SAME, Scaling

COUNTED = ("epochs", "steps_per_epoch", "restarts", "gpus", "cores")
# Knobs that a step's own time does not depend on.
BESIDE = (
    "steps_per_epoch",
    "val_batch_size",
    "val_num_workers",
    "val_every_epochs",
    "val_patches_per_volume",
    "reconstruct_every_epochs",
)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What is different; None and nothing: as it was. `rest`: only the runs that are not finished, from where they are.
    `cores`: of the machine it would run on."""

    epochs: int | None = None
    steps_per_epoch: int | None = None
    folds: tuple[int, ...] | None = None
    restarts: int | None = None
    knobs: dict[str, Value] = {}
    gpus: int = 1
    cores: int | None = None
    rest: bool = False


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds with 90 % ranges; values None: no claim, and `why` says what is missing. `limit`: what holds a step back.
    `parts`: seconds of the whole experiment by what takes them, one GPU after the other."""

    step: Range = Range()
    epoch: Range = Range()
    run: Range = Range()
    experiment: Range = Range()
    limit: str = ""
    why: str = ""
    parts: dict[str, float] = {}


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """How much there is to do."""

    runs: tuple[RunKey, ...]
    epochs: int
    steps: dict[int, int]

    @property
    def folds(self) -> int:
        return len({key.fold for key in self.runs})


class _Scene(NamedTuple):
    """One way it may come: how many times as fast the GPU is, whether loading a sample computes all the time, and how
    much of the steps' time may turn out to have been a cold start."""

    ratio: float
    loads_compute: bool = False
    cold: bool = False


class _Totals(NamedTuple):
    step: float
    epoch: float
    run: float
    experiment: float
    limit: str


def checked(known: Known, question: Question) -> Question:
    """`question` if it can be asked; raises UsageError naming what is wrong with it and what would be right."""
    for name in COUNTED:
        value = getattr(question, name)
        if value is not None and value < 1:
            raise UsageError(f"{name.replace('_', ' ')} {value}: it is 1 or more")
    for name in question.knobs:
        if name not in KNOBS:
            raise UsageError(f"no knob called {name!r}; `steptop profiles` lists them")
    shape_of(known, question)
    return question


def shape_of(known: Known, question: Question) -> Shape:
    """Runs, epochs and steps that the question comes to. Raises UsageError for a fold that is not there."""
    runs = known.runs
    if question.folds is not None or question.restarts is not None:
        folds = question.folds if question.folds is not None else tuple(dict.fromkeys(key.fold for key in runs))
        restarts = question.restarts if question.restarts is not None else len({key.restart for key in runs})
        runs = runs_of(known.plan.experiment, folds, restarts, variants_of(runs))
    if question.rest:
        done = {key.at for key in known.finished}
        runs = tuple(key for key in runs if key.at not in done)
    knobs = _knobs(known, question)
    steps = {key.fold: _steps(known, key.fold, question, knobs) for key in runs}
    epochs = question.epochs or next(iter(known.rhythms.values())).epochs
    return Shape(runs=runs, epochs=epochs, steps=steps)


def _knobs(known: Known, question: Question) -> dict[str, Value]:
    return known.knobs | question.knobs


def _steps(known: Known, fold: int, question: Question, knobs: dict[str, Value]) -> int:
    """Of an epoch: as asked for, else all samples once in batches as large as the knobs say."""
    if question.steps_per_epoch is not None:
        return question.steps_per_epoch
    seen = known.rhythms.get(fold) or next(iter(known.rhythms.values()))
    if knobs.get("steps_per_epoch"):
        return int(knobs["steps_per_epoch"])
    names = ("batch_size", "accumulate_steps", "steps_per_epoch")
    if all(knobs.get(name) == known.knobs.get(name) for name in names):
        return seen.steps
    batch, passes = int(knobs["batch_size"]), int(knobs["accumulate_steps"])
    learners = known.learners.get(fold)
    if learners is None:  # a trainer of one's own: as many samples as before
        learners = seen.steps * known.batch * int(known.knobs["accumulate_steps"])
    return ceil(ceil(learners / batch) / passes)


# ---------------------------------------------------------------- a step


def refused(known: Known, question: Question, ratio: Scaling) -> str:
    """Why nothing can be claimed; '' if it can."""
    if not ratio.known:
        return ratio.why
    knobs = _knobs(known, question)
    elsewhere = ratio is not SAME
    changed = {name for name, value in knobs.items() if value != known.knobs.get(name) and name not in BESIDE}
    spread_out = question.gpus > 1 or (question.cores is not None and question.cores != known.cores)
    if known.workload is None and (elsewhere or changed or spread_out):
        return "no claim: its journal does not say where a step goes, or on how many cores; `steptop bench` does"
    if changed & {"precision", "compile", "channels_last", "cache"}:
        names = ", ".join(sorted(changed & {"precision", "compile", "channels_last", "cache"}))
        return f"no claim: another {names} computes or loads differently; `steptop bench --set …` measures it"
    if known.device == "cpu" and question.gpus > 1:
        return "no claim: it computes on the CPU, so there are no GPUs to share its runs out to"
    if known.device == "cpu" and question.cores is not None and question.cores != known.cores:
        return "no claim: it computes on the CPU, and how that grows with cores was not measured"
    if known.workload is not None and elsewhere:
        batch, seen = int(knobs["batch_size"]), known.workload.batches
        if not min(seen) <= batch <= max(seen):
            sizes = " and ".join(str(size) for size in seen)
            return (
                f"no claim: measured at batch {sizes}, and a speed-up at one batch size is not that at {batch}; "
                f"`steptop bench --set batch_size={batch}` here first"
            )
    return ""


def at_once(known: Known, question: Question) -> int:
    """Runs that go on side by side: no more than there are."""
    return max(1, min(question.gpus, len(shape_of(known, question).runs)))


def _faster(known: Known, question: Question, scene: _Scene) -> Workload:
    """The workload on that machine: the GPU's part of computing divided, cores as there are, GPUs sharing them."""
    seen = known.workload
    assert seen is not None
    left = 1.0
    if scene.ratio != 1.0:
        assert known.busy is not None
        left = 1 - known.busy + known.busy / scene.ratio
    return msgspec.structs.replace(
        seen,
        compute_seconds=seen.compute_seconds * left,
        compute_per_sample=seen.compute_per_sample * left,
        load_cpu_seconds=seen.load_seconds if scene.loads_compute else seen.load_cpu_seconds,
        crowding=seen.crowding * at_once(known, question),
        cores=question.cores or seen.cores,
    )


def _step_seconds(known: Known, question: Question, scene: _Scene) -> tuple[float, str, float]:
    """A step, what limits it, and the model's own error (relative, 90 %) where it was asked."""
    mean = known.step.mean - (known.step.below if scene.cold else 0.0)
    knobs = _knobs(known, question)
    if known.workload is None:
        return mean, "", 0.0
    here = predict(known.workload, known.knobs)
    workload = _faster(known, question, scene)
    same = workload == known.workload and all(
        value == known.knobs.get(name) for name, value in knobs.items() if name not in BESIDE
    )
    there = here if same else predict(workload, knobs)
    error = 0.0 if same else max(there.high / there.step_seconds, there.step_seconds / there.low) - 1
    return mean * there.step_seconds / here.step_seconds, there.limit, error


# ---------------------------------------------------------------- runs and experiment


def times(known: Known, question: Question, ratio: Scaling = SAME) -> Times:
    """What the question comes to on hardware that computes `ratio` times as fast. Raises UsageError as `shape_of`."""
    shape = shape_of(known, question)
    why = refused(known, question, ratio)
    if why:
        return Times(why=why)
    if not shape.runs:
        nothing = Range(0.0, 0.0, 0.0, "every run is finished")
        return Times(run=nothing, experiment=nothing, why="every run is finished")
    assert ratio.value is not None
    # Where nobody measured whether loading needs a core, it is taken to, and the range holds that it does not.
    unsure = known.workload is not None and not known.workload.load_cpu_seconds and _shares_cores(known, question)
    usual, best = _Scene(ratio.value, unsure), _Scene(ratio.high, cold=True)
    worst = _Scene(ratio.low, unsure)
    middle, error = _totals(known, question, shape, usual), _step_seconds(known, question, usual)[2]
    quick, slow = _totals(known, question, shape, best), _totals(known, question, shape, worst)
    basis = known.step.basis if ratio is SAME else ratio.why
    spread = known.step.spread / known.step.mean if known.step.mean else 0.0
    beside = _beside(known, question, shape, usual, middle)

    def ranged(name: str, sigma: float) -> Range:
        value, low, high = (getattr(one, name) for one in (middle, quick, slow))
        if value <= 0:
            return Range(value, value, value, basis)
        down = hypot(log(value / min(value, low)) if low > 0 else 5.0, Z90 * sigma, log1p(error))
        up = hypot(log(max(value, high) / value), Z90 * sigma, log1p(error))
        return Range(value, value * exp(-down), value * exp(up), basis)

    # What was measured differs from other runs, and so do those to come; many of them even out.
    one = hypot(spread, BETWEEN_RUNS * sqrt(1 + 1 / known.seen), beside)
    every = hypot(spread, BETWEEN_RUNS * sqrt(1 / len(shape.runs) + 1 / known.seen), beside)
    return Times(
        step=ranged("step", spread),
        epoch=ranged("epoch", hypot(spread, beside)),
        run=ranged("run", one),
        experiment=ranged("experiment", every),
        limit=middle.limit,
        why=ratio.why,
        parts=_parts(known, question, shape, usual),
    )


def _shares_cores(known: Known, question: Question) -> bool:
    return question.gpus > 1 or (question.cores is not None and question.cores != known.cores)


def _totals(known: Known, question: Question, shape: Shape, scene: _Scene) -> _Totals:
    step, limit, _ = _step_seconds(known, question, scene)
    costs = _costs(known, question, scene, step)
    whole: dict[int, float] = {}
    rhythms = {fold: _rhythm(known, question, shape, fold) for fold in dict.fromkeys(key.fold for key in shape.runs)}
    epoch = 0.0
    for fold, rhythm in rhythms.items():
        whole[fold] = _seconds(whole_run(rhythm, step), costs)
        ends = _seconds(rhythm.ends(1, rhythm.epochs), costs) / rhythm.epochs
        epoch = max(epoch, rhythm.steps * step + ends + rhythm.timed(rhythm.steps, step) * costs["checkpoint"].mean)
    each = []
    for key in shape.runs:
        done = _done(known, question, shape, key)
        each.append(_seconds(whole_run(rhythms[key.fold], step, done), costs) if done else whole[key.fold])
    return _Totals(step, epoch, max(whole.values()), makespan(each, question.gpus, known.costs["gap"].mean), limit)


def _done(known: Known, question: Question, shape: Shape, key: RunKey) -> int:
    """Steps of a run that need not be done again: of those that are left, where its epochs stay as long as they are."""
    seen = known.rhythms.get(key.fold)
    if not question.rest or seen is None or seen.steps != shape.steps[key.fold]:
        return 0
    return min(known.done.get(key.at, 0), seen.steps * shape.epochs)


def _rhythm(known: Known, question: Question, shape: Shape, fold: int) -> Rhythm:
    there = fold if fold in known.rhythms else next(iter(known.rhythms))
    return rhythm_with(known, there, question.knobs, shape.epochs, shape.steps[fold])


def _costs(known: Known, question: Question, scene: _Scene, step: float) -> dict[str, Cost]:
    """Unit costs there: what goes through the network scales in its GPU part, loading and all else does not."""
    workers = int(_knobs(known, question).get("val_num_workers", 0))
    costs = dict(known.costs)
    if scene.ratio != 1.0 and known.busy is not None and known.workload is not None:
        load = known.workload.load_seconds
        for name in ("validate", "evaluate", "volume"):
            if name in costs:
                mean = _item(costs[name].mean, load, workers, scene.ratio, known.busy)
                costs[name] = msgspec.structs.replace(costs[name], mean=mean)
    return costs | {"step": Cost(step)}


def _item(seconds: float, load: float, workers: int, ratio: float, busy: float) -> float:
    """A held-out volume: with no workers loaded and then computed, else whichever takes longer."""
    waiting = min(seconds, load) if workers == 0 else min(seconds, load / workers)
    computing = seconds - waiting if workers == 0 else seconds
    if workers and waiting >= 0.85 * seconds:
        return seconds
    there = computing * (1 - busy) + computing * busy / ratio
    return waiting + there if workers == 0 else max(waiting, there)


def _seconds(amounts: Amounts, costs: dict[str, Cost]) -> float:
    return sum(count * costs[name].mean for name, count in amounts.items() if name in costs)


def _beside(known: Known, question: Question, shape: Shape, scene: _Scene, middle: _Totals) -> float:
    """The standard error of what comes beside the steps, as a share of a run."""
    fold = shape.runs[0].fold
    costs = _costs(known, question, scene, middle.step)
    amounts = whole_run(_rhythm(known, question, shape, fold), middle.step)
    variance = sum((count * costs[name].spread) ** 2 for name, count in amounts.items() if name in costs)
    return sqrt(variance) / middle.run if middle.run else 0.0


def _parts(known: Known, question: Question, shape: Shape, scene: _Scene) -> dict[str, float]:
    step, _, _ = _step_seconds(known, question, scene)
    words = {"step": "train", "gap": "between runs", "volume": "reconstruct"}
    parts: dict[str, float] = {}
    for key in shape.runs:
        costs = _costs(known, question, scene, step)
        rhythm, done = _rhythm(known, question, shape, key.fold), _done(known, question, shape, key)
        for name, count in whole_run(rhythm, step, done).items():
            if name in costs and count * costs[name].mean > 0:
                word = words.get(name, name.removesuffix(" (whole)"))
                parts[word] = parts.get(word, 0.0) + count * costs[name].mean
    gaps = (len(shape.runs) - 1) * known.costs["gap"].mean
    return parts | ({"between runs": gaps} if gaps > 0 else {})


def makespan(seconds: Sequence[float], slots: int, gap: float = 0.0) -> float:
    """Until the last of these runs has ended, each begun by the slot that is free first, in their order."""
    free = [0.0] * max(1, min(slots, len(seconds)))
    heapify(free)
    for one in seconds:
        begun = free[0]
        heapreplace(free, begun + one + (gap if begun else 0.0))
    return max(free, default=0.0)


def core_demand(known: Known, question: Question, ratio: float = 1.0) -> tuple[float, int] | None:
    """Cores that all loaders and trainers together would keep busy if they were never short of any, and those there
    are; None where loading was not measured."""
    if known.workload is None:
        return None
    unsure = not known.workload.load_cpu_seconds
    workload = _faster(known, question, _Scene(ratio, unsure))
    free = msgspec.structs.replace(workload, cores=1_000_000)
    knobs = _knobs(known, question)
    seconds = predict(free, knobs).step_seconds / int(knobs.get("accumulate_steps", 1))
    return at_once(known, question) * workload.cpu(int(knobs["batch_size"])) / seconds, workload.cores
