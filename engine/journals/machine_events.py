"""What the sampler writes about the machine; part of engine.journals.events' union."""

from __future__ import annotations

from typing import Literal

import msgspec

from engine.journals.record import Record


class Gpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One device as NVML sees it; None where it does not say. Bytes, percent, °C, watts. `others_util`: of the time,
    other processes' kernels ran; None too where the own process cannot be told apart (a container's own pids). MHz.
    `held_back`: what keeps the clock down, in words."""

    index: int
    name: str = ""
    util: float | None = None
    others_util: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    own_memory: int | None = None
    temperature: float | None = None
    power: float | None = None
    power_limit: float | None = None
    clock: float | None = None
    held_back: tuple[str, ...] = ()
    error: str = ""


class Worker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process of the run's tree. Bytes; `cpu` in cores. PSS shares pages out, USS counts only its own; both without
    the pages of files."""

    pid: int
    role: Literal["trainer", "worker", "other"] = "worker"
    rss: int = 0
    pss: int | None = None
    uss: int | None = None
    cpu: float = 0.0


class Sample(Record, frozen=True, kw_only=True, tag="sample"):
    """One reading of the machine. Bytes; `cpu` and `own_cpu` in cores; rates per second."""

    cores: int
    cpu: float
    own_cpu: float = 0.0
    ram_total: int = 0
    ram_available: int = 0
    shm_total: int = 0
    shm_used: int = 0
    disk_total: int = 0
    disk_free: int = 0
    disk_read: float | None = None
    disk_write: float | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu_reason: str = ""
    workers: tuple[Worker, ...] = ()
