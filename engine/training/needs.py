"""What memory a plan would take, on the host and on the device, told before anything of it runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path

from engine.config.plan import Plan
from engine.machine import cgroup, cores
from engine.machine.device_preview import device_memory
from engine.memory.budget import Budget, budget
from engine.memory.footprint import Estimate, Footprint, checkpoint_bytes, in_flight, sample_bytes, volume_bytes
from engine.training.data import cache

# What MeshNet keeps of a forward pass for the backward pass, bytes a voxel in fp32: so much a channel, so much besides
# (saved tensors counted at 24³ and 48³ for 5, 16 and 26 channels). Half of it in fp16 or bf16.
KEPT_PER_CHANNEL, KEPT_BESIDES = 72, 20
SAID = {"over": "does not fit", "tight": "may not fit"}


def known(
    plan: Plan, kind: str, samples: int = 0, estimate: Estimate | None = None, kept: Sequence[int] = ()
) -> Footprint:
    """What there is to go by on this kind of device: shapes and knobs, nothing measured. `estimate` None: the one that
    can be had without torch, for the models whose layers this knows. `kept`: what the knob cache = ram keeps of each
    volume."""
    named = plan.devices or (plan.device,)
    total, used = tightest(map(device_memory, named)) if kind == "cuda" else (None, 0)
    if total is not None:
        total = used + max(0, total - used) // -(-plan.slots // max(1, len(plan.devices)))
    shared = Path("/dev/shm")  # noqa: S108 - only its size is asked for
    free = cache.free_bytes(shared) if shared.is_dir() else None
    return Footprint(
        shares=plan.slots,
        sample_bytes=sample_bytes(plan), volume_bytes=volume_bytes(plan, kept), samples=samples,
        device="cuda" if kind == "cuda" else "cpu",
        ram_free=_share(cgroup.available_bytes(), plan.slots), shm_free=_share(free, plan.slots),
        vram_total=total, vram_others=used, estimate=estimate or counted(plan, kind),
    )


def tightest(memories: Iterable[tuple[int | None, int]]) -> tuple[int | None, int]:
    """Of devices, each with its memory and what is in use of it, the one with the least to spare: any run may come to
    train on it. One of unknown memory is the tightest."""
    return min(memories, key=lambda one: -1 if one[0] is None else max(0, one[0] - one[1]))


def _share(free: int | None, slots: int) -> int | None:
    return None if free is None else free // slots


def memory(plan: Plan, told: Footprint) -> tuple[dict[str, int], Budget]:
    """The figures for a report, and the whole sum with its verdicts."""
    made, knobs = budget(plan.profile.knobs, told), plan.profile.knobs
    figures = {
        "sample": told.sample_bytes, "waiting_batches": in_flight(knobs, told.sample_bytes), "available": told.ram_free,
        "ram": int(made.ram.bytes), "ram_low": int(made.ram.low), "ram_high": int(made.ram.high),
        "checkpoint": checkpoint_bytes(told.estimate), "step": told.estimate.total if told.estimate else None,
        "device": told.vram_total,
        "shm_free": told.shm_free if int(knobs["num_workers"]) else None,
    }
    return {name: size for name, size in figures.items() if size is not None}, made


def told(made: Budget) -> tuple[str, ...]:
    """Each kind of memory in a sentence."""
    there = [resource for resource in made.resources if resource.parts]
    return tuple(f"{resource.name} {resource.verdict}: {resource.sentence}" for resource in there)


def refusals(made: Budget) -> list[str]:
    """What does not fit even if as little is taken as may be, with the arithmetic and what takes less."""
    return [
        f"{resource.name} {SAID['over']}: {resource.sentence}; {made.advice} (--over-budget starts it all the same)"
        for resource in made.resources if resource.verdict == "over"
    ]


def warnings(plan: Plan, made: Budget) -> tuple[str, ...]:
    """What does not fit, or may not, and what takes less; more workers than cores."""
    short = [
        f"{resource.name} {SAID[resource.verdict]}: {resource.sentence}; {made.advice}"
        for resource in made.resources
        if resource.verdict == "tight" or (plan.over_budget and resource.verdict == "over")
    ]
    crowded = cores.crowded(int(plan.profile["num_workers"]), cores.machine())
    return (*short, *([crowded] if crowded else []))


def counted(plan: Plan, kind: str) -> Estimate | None:
    """What one step keeps for its backward pass; None for a model whose layers this does not know."""
    model, precision = plan.experiment.model, str(plan.profile["precision"])
    if model.name != "meshnet":
        return None
    half = precision in ("fp16", "bf16") or (precision == "auto" and kind == "cuda")
    batch = int(plan.profile["batch_size"])
    voxels = batch * prod(plan.experiment.sample_shape)
    kept = voxels * (KEPT_PER_CHANNEL * model.channels + KEPT_BESIDES) // (2 if half else 1)
    return Estimate(batch=batch, activations=kept)
