"""What memory a plan would take, on the host and on the device, told without torch."""

from __future__ import annotations

from math import prod
from pathlib import Path

from engine.device_preview import device_bytes
from engine.experiment import Plan
from engine.training.data import cache
from engine.training.data.cases import available_bytes

# What a forked worker costs beside its batches.
WORKER_BYTES = 60 << 20
TIGHT = 0.8
# What MeshNet keeps of a forward pass for the backward pass, bytes a voxel in fp32: so much a channel, so much besides
# (saved tensors counted at 24³ and 48³ for 5, 16 and 26 channels). Half of it in fp16 or bf16.
KEPT_PER_CHANNEL, KEPT_BESIDES = 72, 20


def memory(plan: Plan, kind: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """Bytes that a step on this kind of device and the batches on their way to it take; sentences for what is tight.

    Modelled from shapes and knobs, not measured.
    """
    profile = plan.profile
    batch = int(profile["batch_size"]) * prod(plan.experiment.prepare.shape) * cache.BYTES_PER_VOXEL
    workers = int(profile["num_workers"])
    waiting = workers * int(profile["prefetch_factor"]) * batch
    available = available_bytes()
    taken = {
        "sample": prod(plan.experiment.prepare.shape) * cache.BYTES_PER_VOXEL,
        "waiting_batches": waiting,
        "loader": waiting + batch + workers * WORKER_BYTES,
        "available": available,
    }
    device = device_bytes(plan.device) if kind == "cuda" else None
    kept = _kept_bytes(plan, kind)
    if kept is not None:
        taken["step"] = kept
    if device is not None:
        taken["device"] = device
    shared = Path("/dev/shm")  # noqa: S108 - only its size is asked for
    if workers and shared.is_dir():
        taken["shm_free"] = cache.free_bytes(shared)
    host = taken["loader"] + (taken.get("step", 0) if kind == "cpu" else 0)
    fewer = "fewer num_workers or a smaller prefetch_factor takes less"
    tight = (
        (host, available, "a step, its batches and workers", "of memory", f"{fewer}, or a smaller prepare.shape"),
        (waiting, taken.get("shm_free"), "batches on their way", "of /dev/shm", fewer),
        (kept, device, "a step", "on the device", "a smaller batch_size or precision = fp16 takes less"),
    )
    return taken, tuple(
        f"{who} may take {need / 1e9:.1f} GB, {there / 1e9:.1f} GB {where} are there; {advice}"
        for need, there, who, where, advice in tight
        if need is not None and there is not None and need > TIGHT * there
    )


def _kept_bytes(plan: Plan, kind: str) -> int | None:
    """What one step keeps for its backward pass; None for a model whose layers this does not know."""
    model, precision = plan.experiment.model, str(plan.profile["precision"])
    if model.name != "meshnet":
        return None
    half = precision in ("fp16", "bf16") or (precision == "auto" and kind == "cuda")
    voxels = int(plan.profile["batch_size"]) * prod(plan.experiment.prepare.shape)
    return voxels * (KEPT_PER_CHANNEL * model.channels + KEPT_BESIDES) // (2 if half else 1)
