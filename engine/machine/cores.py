"""What this process may use of the machine: cores, GPUs, processes. A profile's values can be scaled to it."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

import msgspec

from engine.machine import cgroup
from engine.machine.gpu import Gpus, shown

# A loader process has 3 (fork) or 4 (spawn) threads, counted with torch 2.13; a cgroup's `pids` are threads.
TASKS_PER_WORKER = 4
# More only take memory and turns: beyond the cores, workers never loaded CPU-bound samples any faster, and waiting for
# a disk or a network is hidden by a few a core.
MOST_PER_CORE = 4


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """`cores` counts whole ones, at least one: those this process may be scheduled on, or its cgroup's quota of CPU
    time where that is less. `gpus` None: not looked at. `runs`: so many train side by side; `cores` are what one of
    them has, the limits of the group are theirs together."""

    cores: int = 1
    scheduled: int = 1
    quota: cgroup.Limit | None = None
    pids: cgroup.Limit | None = None
    gpus: int | None = None
    runs: int = 1

    def count(self, name: str) -> int:
        """What `cores` or `gpus` stands for in a scaled value."""
        if name == "cores":
            return self.cores
        return gpu_count() if self.gpus is None else self.gpus

    @property
    def said(self) -> str:
        """`2 cores (of 64: cpu.max grants 2.5)`, `1 core (of 64: cpu.max grants 2, for 2 runs)`."""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        if self.quota is not None and self.quota.most < self.scheduled:
            grants = f"{Path(self.quota.file).name} grants {self.quota.most:g}{self.shared}"
            return f"{cores} (of {self.scheduled}: {grants})"
        return cores

    @property
    def shared(self) -> str:
        """Among how many a limit is shared; '' for one alone."""
        return f", for {self.runs} runs" if self.runs > 1 else ""


def machine(proc: Path = cgroup.SELF, root: Path = cgroup.ROOT, scheduled: int | None = None) -> Machine:
    """As it is now. `scheduled`: cores that the scheduler gives; None asks it."""
    scheduled = len(os.sched_getaffinity(0)) if scheduled is None else scheduled
    quota = cgroup.cpus(proc, root)
    cores = scheduled if quota is None else min(scheduled, max(1, int(quota.most)))
    return Machine(cores=cores, scheduled=scheduled, quota=quota, pids=cgroup.pids(proc, root))


def gpu_count(environ: dict[str, str] | None = None) -> int:
    """GPUs this process may use: those the driver names, or fewer where CUDA_VISIBLE_DEVICES says so."""
    names = shown(environ)
    there = Gpus()
    try:
        count = len(there.names())
    finally:
        there.close()
    return count if names is None else min(count, len(names))


def too_many(workers: int, machine: Machine) -> str:
    """Why so many loader processes cannot be, with the arithmetic and what could; '' if they can."""
    if workers <= 0:
        return ""
    quota, pids = machine.quota, machine.pids
    if pids is not None and workers * TASKS_PER_WORKER > pids.free / machine.runs:
        fit = int(pids.free / machine.runs // TASKS_PER_WORKER)
        return (
            f"{workers} workers × {TASKS_PER_WORKER} threads = {workers * TASKS_PER_WORKER}, and the cgroup allows "
            f"{pids.free:.0f} more{machine.shared} ({pids.file}: {pids.most:.0f}, {pids.used:.0f} are there). "
            f"At most {fit}"
        )
    if quota is not None and quota.most < machine.scheduled and workers > ceil(quota.most / machine.runs):
        return (
            f"{workers} workers on {quota.most:g} CPUs of time{machine.shared} ({quota.file}): the whole group, "
            f"trainer included, is halted whenever they have used it up. At most {ceil(quota.most / machine.runs)}"
        )
    most = MOST_PER_CORE * machine.cores
    if workers > most:
        return f"{workers} workers on {machine.said}: more than {MOST_PER_CORE} a core only take memory. At most {most}"
    return ""


def crowded(workers: int, machine: Machine) -> str:
    """What is to be said of more workers than cores; '' if there are none."""
    if workers <= machine.cores:
        return ""
    return (
        f"{workers} workers on {machine.said}: more than cores only help while loading waits for a disk or a network; "
        "each one costs memory all the same"
    )
