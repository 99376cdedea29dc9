"""Whether somebody else used the machine while something was measured: what all processes used, less the own tree."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from engine.counts import plural
from engine.journals.phase_events import Use

TICKS = os.sysconf("SC_CLK_TCK")
# Somebody who takes an eighth of a core changes CPU-bound step times by more than 5 %; less is the system's own noise.
DISTURBED_CORES = 0.12
# Kernels of two processes take turns on a GPU: what others get is taken from the step. Percent.
DISTURBED_GPU = 3.0
# Where others and the measured training together use less of the cores than this, they are not in each other's way.
FULL = 0.85
# Who computes less than this is given a core whenever it wants one.
LITTLE = 0.3
USER, NICE, SYSTEM, IRQ, SOFTIRQ, STEAL = 1, 2, 3, 6, 7, 8


class Reading(msgspec.Struct, frozen=True):
    """CPU seconds since boot: of all processes (with what a hypervisor took away), and of each own one."""

    at: float
    busy: float
    own: dict[int, float]


def read(pids: Iterable[int], proc: Path = Path("/proc")) -> Reading:
    """`pids`: the own processes. Raises OSError where there is no /proc."""
    fields = (proc / "stat").read_text().split("\n", 1)[0].split()
    busy = sum(int(fields[i]) for i in (USER, NICE, SYSTEM, IRQ, SOFTIRQ, STEAL) if i < len(fields)) / TICKS
    own = {pid: used for pid in pids if (used := cpu_seconds(pid, proc)) is not None}
    return Reading(time.monotonic(), busy, own)


def cpu_seconds(pid: int, proc: Path = Path("/proc")) -> float | None:
    """Of a process and its children that have ended; None if it is gone."""
    try:
        fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return sum(int(field) for field in fields[11:15]) / TICKS


def foreign_cores(before: Reading, after: Reading) -> float:
    """Cores that others used between two readings. A process that came in between is counted whole as own."""
    seconds = after.at - before.at
    if seconds <= 0:
        return 0.0
    own = sum(used - before.own.get(pid, 0.0) for pid, used in after.own.items())
    return max(0.0, (after.busy - before.busy - own) / seconds)


def own_cores(before: Reading, after: Reading) -> float:
    seconds = after.at - before.at
    return sum(used - before.own.get(pid, 0.0) for pid, used in after.own.items()) / seconds if seconds > 0 else 0.0


def disturbed(cores: float, machine: int, gpu: float | None = None) -> bool:
    """Whether that much spoils a measurement on a machine of so many cores: where many are idle, more does no harm.
    `gpu`: percent of the time that others computed on the GPU."""
    return cores > max(DISTURBED_CORES, 0.02 * machine) or (gpu or 0.0) > DISTURBED_GPU


def crowded(use: Use, cores: int) -> str:
    """Why what was measured meanwhile cannot be relied on; '' if others left it what it needed. `cores`: the machine's,
    where `use` does not say."""
    there = use.cores or cores
    own, foreign = use.own_cores or 0.0, use.foreign_cores or 0.0
    spoilt = disturbed(foreign, there) and own > LITTLE and own + foreign > FULL * there
    if not spoilt and (use.foreign_gpu or 0.0) <= DISTURBED_GPU:
        return ""
    return f"{said(use.foreign_cores, use.foreign_gpu, there)} meanwhile"


def disturbance(use: Use) -> float:
    """For comparing visits: cores and GPUs that others used."""
    return (use.foreign_cores or 0.0) + (use.foreign_gpu or 0.0) / 100


def said(cores: float | None, gpu: float | None, machine: int | None = None) -> str:
    """`other processes used 0.9 of 2 cores and 30 % of the GPU`; without the `machine`'s cores, `0.9 cores`."""
    of = f" of {plural(machine, 'core')}" if machine else " cores"
    used = [f"{cores or 0.0:.1f}{of}"] if (cores or 0.0) > DISTURBED_CORES or (gpu or 0.0) <= DISTURBED_GPU else []
    used += [f"{gpu:.0f} % of the GPU"] if gpu is not None and gpu > DISTURBED_GPU else []
    return f"other processes used {' and '.join(used)}"
