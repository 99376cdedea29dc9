"""What is known of a training's memory, measured or not: what a budget is worked out from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from statistics import median

import msgspec

from engine.config import label_maps
from engine.config.knob import Value
from engine.config.plan import Plan
from engine.config.prepared import Prepared, Split
from engine.journals.events import PhaseEnded, Sample, Worker
from engine.live.filling import Filling
from engine.live.state import ENDED, ExperimentState, RunState
from engine.live.trend import Trend, memory_trend

# A prepared volume as a sample holds it: image in float32, label in uint8.
BYTES_PER_VOXEL = 5
# 20 tokens and a target.
BYTES_PER_SEQUENCE = 24
# A minute of them.
READINGS = 30


class Loader(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes read while `workers` loader processes of this `context` ran: PSS of the trainer; PSS and USS of a worker,
    their mean. PSS shares common pages out, USS counts only a process's own: with fork RSS would count the dataset once
    for every worker. `cached`: the workers kept every volume they met."""

    workers: int
    context: str
    batch: int
    trainer: int
    pss: float = 0.0
    uss: float = 0.0
    cached: bool = False


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """The most the device's allocator had reserved at this batch size, bytes."""

    batch: int
    bytes: int


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A step's memory at `batch`, bytes, worked out from the network without a device (engine.training.vram).

    `activations`: what a forward pass keeps for the backward pass, the input and passing buffers included; `averaged`:
    the weights averaged over the steps, where the experiment wants them.
    """

    batch: int
    weights: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    averaged: int = 0

    @property
    def fixed(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.averaged

    @property
    def total(self) -> int:
        return self.fixed + self.activations


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """What is known; None where nothing is. Bytes.

    `ram_free`, `shm_free`: what would be free without this training, its share where `shares` runs go on side by side.
    `samples`: volumes of one fold to learn from. `volume_bytes`: of one of them, 0 where a sample is all of it.
    `growth`: bytes per hour the training's memory grows by, for `hours` more or until `growth_at_most` bytes are there.
    """

    sample_bytes: int = 0
    volume_bytes: int = 0
    samples: int = 0
    device: str = "cpu"
    parameters: int = 0
    loader: Loader | None = None
    growth: float | None = None
    growth_at_most: float | None = None
    hours: float | None = None
    shares: int = 1
    ram_free: int | None = None
    shm_free: int | None = None
    vram_total: int | None = None
    vram_others: int = 0
    peaks: tuple[Peak, ...] = ()
    estimate: Estimate | None = None


def sample_bytes(plan: Plan) -> int:
    """One loaded sample, with the maps of its label that the loss is given."""
    experiment = plan.experiment
    if experiment.task == "peptides":
        return BYTES_PER_SEQUENCE
    maps = len(label_maps.needed(experiment.loss)) * label_maps.BYTES_PER_VOXEL
    return prod(experiment.sample_shape) * (BYTES_PER_VOXEL + maps)


def volume_bytes(plan: Plan, kept: Sequence[int] = ()) -> int:
    """One prepared volume as the knob `cache` = ram keeps it, with the maps of its label: where patches are samples,
    all that they are cut from. `kept`: what each of them takes, where that is known: their mean. Of TIFF as stored
    nobody knows the shapes before they are read: a patch, at least."""
    if known := [size for size in kept if size]:
        return -(-sum(known) // len(known))
    experiment, made = plan.experiment, plan.experiment.data.source == "sheets"
    as_stored = not any(experiment.prepare.shape)
    if experiment.task == "peptides" or experiment.patch.whole or (as_stored and not made):
        return sample_bytes(plan)
    maps = len(label_maps.needed(experiment.loss))
    each = 2 if experiment.data.source in ("sheets", "tiff") else BYTES_PER_VOXEL
    return prod(experiment.data.shape if as_stored else experiment.prepare.shape) * (each + maps)


def checkpoint_bytes(estimate: Estimate | None) -> int | None:
    """One checkpoint, but for some tens of kB: weights, those averaged over the steps, and the optimizer's state. None
    where only activations are known."""
    if estimate is None or not estimate.weights:
        return None
    return estimate.weights + estimate.averaged + estimate.optimizer


def kept_of(prepared: Prepared | None, split: Split | None) -> list[int]:
    """What the knob cache = ram keeps of each volume that a fold learns from; 0 where data.json does not say."""
    if prepared is None or split is None:
        return []
    return [prepared.subjects[i].kept_bytes for i in split.train if i < len(prepared.subjects)]


def in_flight(knobs: Mapping[str, Value], item: int) -> int:
    """Bytes of batches that workers have ready, or are handing over, at most."""
    workers = int(knobs["num_workers"])
    return workers * int(knobs["prefetch_factor"]) * int(knobs["batch_size"]) * item if workers else 0


def footprint(
    state: ExperimentState,
    phases: Sequence[PhaseEnded] = (),
    estimate: Estimate | None = None,
    hours: float | None = None,
) -> Footprint:
    """From readings of a training and of test phases: of one of its runs, and what is its share where several go on
    side by side. `hours`: how long it still goes on."""
    run, plan = state.run, state.plan
    knobs = knobs_now(state)
    newest = state.samples[-1] if state.samples else None
    own = sum(worker.pss if worker.pss is not None else worker.rss for worker in newest.workers) if newest else 0
    item = sample_bytes(plan)
    going = max(1, len(_by_trainer(newest))) if newest else 1
    waiting = min(going * in_flight(knobs, item), newest.shm_used) if newest and newest.workers else 0
    total, others = _device(newest, -(-plan.slots // max(1, len(plan.devices))))
    trend = trend_of(state)
    split = next((s for s in state.prepared.splits if run and s.fold == run.key.fold), None) if state.prepared else None
    return Footprint(
        sample_bytes=item,
        volume_bytes=volume_bytes(plan, kept_of(state.prepared, split)),
        samples=len(split.train) if split else 0,
        device="cuda" if run and run.begin and run.begin.device.startswith("cuda") else "cpu",
        parameters=run.begin.parameters if run and run.begin else 0,
        loader=_loader(state.samples, knobs) or _of_phases(phases),
        growth=trend.bytes_per_hour / going if trend.bytes_per_hour is not None else None,
        growth_at_most=trend.at_most / going if trend.at_most is not None else None,
        hours=hours,
        shares=plan.slots,
        ram_free=(newest.ram_available + own) // plan.slots if newest and newest.ram_total else None,
        shm_free=(
            (newest.shm_total - newest.shm_used + waiting) // plan.slots if newest and newest.shm_total else None
        ),
        vram_total=total,
        vram_others=others,
        peaks=_peaks(run, knobs, phases),
        estimate=estimate,
    )


def trend_of(state: ExperimentState) -> Trend:
    """Whether its memory grows, and how long it can."""
    return memory_trend(state.samples, fillings_of(state))


def knobs_now(state: ExperimentState) -> dict[str, Value]:
    """What the present run runs with: the plan's profile, or what took its place in the living training. Of one that
    does not go on what the plan says: so it would begin again."""
    return _knobs(state, state.run)


def _knobs(state: ExperimentState, run: RunState | None) -> dict[str, Value]:
    held = state.plan.profile.knobs
    if run is None or not run.tested:
        return dict(held)
    starting = run.begin is not None and run.begin.attempt < run.attempt
    over = state.plan.test is None and (starting or run.phase in ENDED)
    return dict(held) if over else {**held, **run.tested[-1].knobs}


def fillings_of(state: ExperimentState) -> list[Filling]:
    """Of each run that goes on, all of which share the memory; none before the pace of every one of them is known."""
    runs = [state.runs[place] for place in state.under_way] or [run for run in (state.run,) if run is not None]
    found = [_filling(state, run) for run in runs]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else []


def _filling(state: ExperimentState, run: RunState) -> Filling | None:
    """Of a training whose workers keep what they load (knob cache = ram); None for any other, or before its pace is
    known."""
    prepared, knobs = state.prepared, _knobs(state, run)
    if run.begin is None or prepared is None or knobs["cache"] != "ram" or not run.steps_per_epoch:
        return None
    split = next((split for split in prepared.splits if split.fold == run.key.fold), None)
    if split is None or not split.train:
        return None
    # Workers that begin anew have nothing yet: after a resume, and with a profile taken up since.
    began = max(run.begin.resumed_from_step, run.tested[-1].step if run.tested else 0)
    a_step = int(knobs["batch_size"]) * int(knobs["accumulate_steps"])
    steps_a_pass = len(split.train) / a_step
    epoch_steps = run.epoch_seconds / run.steps_per_epoch if run.epoch_seconds else 0.0
    seconds = epoch_steps or (run.pace.seconds / run.pace.steps if run.pace.steps else 0.0)
    if seconds <= 0:
        return None
    workers = max(1, int(knobs["num_workers"]))
    # What is loaded ahead is kept already.
    ahead = in_flight(knobs, 1) / a_step
    passes = (max(0, run.step - began) + ahead) / steps_a_pass
    if int(knobs["num_workers"]) and not knobs["persistent_workers"]:
        # New workers every epoch: they never keep more than what they are dealt in one.
        workers, passes = 1, run.step_in_epoch / steps_a_pass
    return Filling(
        volumes=len(split.train),
        each=volume_bytes(state.plan, kept_of(prepared, split)),
        workers=workers,
        passes=passes,
        pass_seconds=seconds * steps_a_pass,
    )


def _loader(samples: Sequence[Sample], knobs: Mapping[str, Value]) -> Loader | None:
    """Medians of the newest readings in which a trainer that is still there and all of its workers are: what a worker
    has at one moment depends on how far it is with its batch. None if there are no such readings."""
    count = int(knobs["num_workers"])
    of: dict[int, list[tuple[float, float, float]]] = {}
    for sample in samples[-READINGS:]:
        now = [(trainer.pid, _whole(trainer, workers, count)) for trainer, workers in _by_trainer(sample)]
        of = {pid: [*of.get(pid, ()), one] if one is not None else [] for pid, one in now}
    readings = [one for found in of.values() for one in found]
    if not readings:
        return None
    trainer, pss_each, uss_each = (median(column) for column in zip(*readings, strict=True))
    return Loader(
        workers=count,
        context=str(knobs["multiprocessing_context"]),
        batch=int(knobs["batch_size"]),
        trainer=int(trainer),
        pss=pss_each,
        uss=uss_each,
        cached=knobs["cache"] == "ram",
    )


def _by_trainer(sample: Sample) -> list[tuple[Worker, list[Worker]]]:
    """Each trainer with its loader's processes: the sampler names tree after tree, each with its trainer first."""
    trees: list[tuple[Worker, list[Worker]]] = []
    for one in sample.workers:
        if one.role == "trainer":
            trees.append((one, []))
        elif one.role == "worker" and trees:
            trees[-1][1].append(one)
    return trees


def _whole(trainer: Worker, workers: Sequence[Worker], count: int) -> tuple[float, float, float] | None:
    """PSS of the trainer, mean PSS and USS of its workers; None where not `count` of them are there, or one cannot be
    read."""
    pss = [one.pss for one in workers if one.pss is not None]
    uss = [one.uss for one in workers if one.uss is not None]
    if trainer.pss is None or not len(workers) == len(pss) == len(uss) == count:
        return None
    return trainer.pss, sum(pss) / max(1, count), sum(uss) / max(1, count)


def _of_phases(phases: Sequence[PhaseEnded]) -> Loader | None:
    """From the newest phase that read its processes."""
    for ended in reversed(phases):
        use = ended.use
        if use.trainer_pss is not None and use.worker_pss is not None and use.worker_uss is not None:
            return Loader(
                workers=int(ended.knobs["num_workers"]),
                context=str(ended.knobs["multiprocessing_context"]),
                batch=int(ended.knobs["batch_size"]),
                trainer=use.trainer_pss,
                pss=use.worker_pss,
                uss=use.worker_uss,
                cached=ended.knobs.get("cache") == "ram",
            )
    return None


def _peaks(run: RunState | None, knobs: Mapping[str, Value], phases: Sequence[PhaseEnded]) -> tuple[Peak, ...]:
    """The largest at each batch size, of steps in the same precision."""
    found: dict[int, int] = {}
    for ended in phases:
        if ended.use.vram_reserved and ended.knobs.get("precision") == knobs.get("precision"):
            batch = int(ended.knobs["batch_size"])
            found[batch] = max(found.get(batch, 0), ended.use.vram_reserved)
    if run is not None and run.memory is not None and run.memory.peak_reserved:
        batch = int(knobs["batch_size"])
        found[batch] = max(found.get(batch, 0), run.memory.peak_reserved)
    return tuple(Peak(batch=batch, bytes=most) for batch, most in sorted(found.items()))


def _device(sample: Sample | None, runs: int) -> tuple[int | None, int]:
    """The memory of the GPU this training is on, and what others have of it; as if what those leave were shared out,
    where so many of its `runs` are on one."""
    gpus = sample.gpus if sample is not None else ()
    gpu = next((one for one in gpus if one.own_memory), gpus[0] if gpus else None)
    if gpu is None or gpu.memory_total is None:
        return None, 0
    others = max(0, (gpu.memory_used or 0) - (gpu.own_memory or 0))
    return others + max(0, gpu.memory_total - others) // runs, others
